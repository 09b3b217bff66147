#ifndef CULVERT_PROXY_BASE_PEM_H
#define CULVERT_PROXY_BASE_PEM_H

#include "quic/quic.h"

/* Files of keys and certificates, as text in memory. */

/* Bytes of a file: a system's whole CA bundle takes a quarter of this. */
#define PEM_FILE_MAX (1024 * 1024)

/*
 * Reads a file; pem_free() releases it. A NULL path gives an empty text.
 * Returns 0, or -EINVAL with a sentence in `error` that names the file.
 */
int pem_load(struct quic_pem *, const char *path, char error[QUIC_ERROR_MAX]);

/* The same for a file of CAs, which must contain a certificate. */
int
pem_load_ca(struct quic_pem *, const char *path, char error[QUIC_ERROR_MAX]);

/* Wipes and frees; a no-op if empty. */
void pem_free(struct quic_pem *);

#define PEM_PATH_MAX 4096 /* bytes, with the NUL: PATH_MAX of Linux */

/* The same for a file in a directory whose path has PEM_PATH_MAX bytes. */
#define PEM_OWN_PATH_MAX (PEM_PATH_MAX + 16)

/*
 * The paths of the key pair that an edge has generated for itself. Returns 0,
 * or -EINVAL with a sentence in `error`.
 */
int pem_own_paths(char cert[PEM_OWN_PATH_MAX], char key[PEM_OWN_PATH_MAX],
    char error[QUIC_ERROR_MAX]);

/*
 * Loads the key pair that an edge has generated for itself, or generates and
 * stores one: key.pem and cert.pem in $STATE_DIRECTORY (systemd.exec(5)), else
 * in culvert-edge below $XDG_STATE_HOME or ~/.local/state. Returns 0, or
 * -EINVAL with a sentence in `error`.
 */
int pem_self_signed(struct quic_pem *cert, struct quic_pem *key,
    char error[QUIC_ERROR_MAX]);

#endif
