#ifndef CULVERT_PROXY_BASE_PEM_H
#define CULVERT_PROXY_BASE_PEM_H

#include "quic/quic.h"

/* Files of keys and certificates, as text in memory. */

/* Bytes of a file: the CA bundle of a whole system is a quarter of this. */
#define PEM_FILE_MAX (1024 * 1024)

/*
 * Reads a file, to be released by pem_free(). A NULL path gives an empty text.
 * 0, or -EINVAL with a sentence that names the file in `error`.
 */
int pem_load(struct quic_pem *, const char *path, char error[QUIC_ERROR_MAX]);

/* The same for a file of authorities, in which there must be certificates. */
int pem_load_ca(struct quic_pem *, const char *path,
    char error[QUIC_ERROR_MAX]);

/* Wipes and frees; empty is fine. */
void pem_free(struct quic_pem *);

#define PEM_PATH_MAX 4096 /* bytes, with the NUL: PATH_MAX of Linux */

/* The same of a file in a directory that may be as long. */
#define PEM_OWN_PATH_MAX (PEM_PATH_MAX + 16)

/*
 * Where an edge keeps the key pair that it has made for itself. 0, or -EINVAL
 * with a sentence in `error`.
 */
int pem_own_paths(char cert[PEM_OWN_PATH_MAX], char key[PEM_OWN_PATH_MAX],
    char error[QUIC_ERROR_MAX]);

/*
 * Loads the key pair that an edge has made for itself, or makes and keeps one
 * on the first call: key.pem and cert.pem in $STATE_DIRECTORY
 * (systemd.exec(5)), else in culvert-edge below $XDG_STATE_HOME or
 * ~/.local/state. 0, or -EINVAL with a sentence in `error`.
 */
int pem_self_signed(struct quic_pem *cert, struct quic_pem *key,
    char error[QUIC_ERROR_MAX]);

#endif
