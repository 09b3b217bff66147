#include "proxy/base/pem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/base/privsep.h"

static int
complain(char error[QUIC_ERROR_MAX], const char *path, const char *why)
{
	snprintf(error, QUIC_ERROR_MAX, "%.*s: %s", QUIC_ERROR_MAX / 2, path,
	    why);
	return -EINVAL;
}

int
pem_load(struct quic_pem *pem, const char *path, char error[QUIC_ERROR_MAX])
{
	size_t len = 0;
	ssize_t n = 0;
	char *text;
	int fd, rv;

	*pem = (struct quic_pem){ NULL, 0 };
	if (path == NULL)
		return 0;
	if ((fd = privsep_open(path)) < 0)
		return complain(error, path, privsep_strerror(-fd));
	if ((text = malloc(PEM_FILE_MAX + 1)) == NULL) {
		close(fd);
		return complain(error, path, strerror(ENOMEM));
	}
	while (len <= PEM_FILE_MAX &&
	    (n = read(fd, text + len, PEM_FILE_MAX + 1 - len)) > 0)
		len += (size_t)n;
	rv = n < 0 ? errno : 0;
	close(fd);
	*pem = (struct quic_pem){ text, len };
	if (rv == 0 && len > 0 && len <= PEM_FILE_MAX)
		return 0;
	pem_free(pem);
	if (rv != 0)
		return complain(error, path, strerror(rv));
	return complain(error, path,
	    len == 0 ? "the file is empty" : "the file is too large");
}

/* The end of the line "-----BEGIN [X509 | TRUSTED] CERTIFICATE-----". */
#define CERTIFICATE "CERTIFICATE-----"

int
pem_load_ca(struct quic_pem *pem, const char *path, char error[QUIC_ERROR_MAX])
{
	int rv = pem_load(pem, path, error);

	if (rv != 0 || path == NULL ||
	    memmem(pem->data, pem->len, CERTIFICATE, strlen(CERTIFICATE)) !=
		NULL)
		return rv;
	pem_free(pem);
	return complain(error, path,
	    "the file contains no certificate; it "
	    "must contain PEM certificates of trusted authorities");
}

void
pem_free(struct quic_pem *pem)
{
	if (pem->data != NULL)
		explicit_bzero((void *)(uintptr_t)pem->data, pem->len);
	free((void *)(uintptr_t)pem->data);
	*pem = (struct quic_pem){ NULL, 0 };
}

/* ---- The generated key ---- */

#define NAME "culvert-edge" /* the subject of the certificate */

/* Has the directory entry of a file written to the disk, too. */
static void
sync_directory(const char *path)
{
	char dir[PEM_OWN_PATH_MAX];
	int fd;

	snprintf(dir, sizeof(dir), "%s", path);
	*strrchr(dir, '/') = '\0';
	if ((fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return;
	(void)fsync(fd);
	close(fd);
}

/* Replaces a file atomically, also with regard to a power failure. */
static int
store(const char *path, const char *text, mode_t mode,
    char error[QUIC_ERROR_MAX])
{
	char beside[PEM_OWN_PATH_MAX + 8];
	size_t len = strlen(text);
	int fd, rv = 0;

	snprintf(beside, sizeof(beside), "%s.XXXXXX", path);
	if ((fd = mkostemp(beside, O_CLOEXEC)) < 0)
		return complain(error, path, strerror(errno));
	errno = EIO;
	if (fchmod(fd, mode) != 0 || write(fd, text, len) != (ssize_t)len ||
	    fsync(fd) != 0 || rename(beside, path) != 0) {
		rv = complain(error, path, strerror(errno));
		unlink(beside);
	}
	close(fd);
	if (rv == 0)
		sync_directory(path);
	return rv;
}

/* Makes a directory and its parents. */
static int
make_directories(char *path)
{
	for (char *at = path + 1;; at++) {
		char c = *at;

		if (c != '/' && c != '\0')
			continue;
		*at = '\0';
		if (mkdir(path, 0700) != 0 && errno != EEXIST)
			return -errno;
		if ((*at = c) == '\0')
			return 0;
	}
}

static int
own_directory(char path[PEM_PATH_MAX], char error[QUIC_ERROR_MAX])
{
	const char *given = getenv("STATE_DIRECTORY");
	const char *xdg = getenv("XDG_STATE_HOME");
	const char *home = getenv("HOME");

	if (given != NULL && given[0] == '/')
		snprintf(path, PEM_PATH_MAX, "%s", given);
	else if (xdg != NULL && xdg[0] == '/')
		snprintf(path, PEM_PATH_MAX, "%s/culvert-edge", xdg);
	else if (home != NULL && home[0] == '/')
		snprintf(path, PEM_PATH_MAX, "%s/.local/state/culvert-edge",
		    home);
	else
		return complain(error, "--self-signed",
		    "the key has no directory; set STATE_DIRECTORY or HOME");
	return 0;
}

int
pem_own_paths(char cert[PEM_OWN_PATH_MAX], char key[PEM_OWN_PATH_MAX],
    char error[QUIC_ERROR_MAX])
{
	char dir[PEM_PATH_MAX];
	int rv = own_directory(dir, error);

	if (rv != 0)
		return rv;
	snprintf(cert, PEM_OWN_PATH_MAX, "%s/cert.pem", dir);
	snprintf(key, PEM_OWN_PATH_MAX, "%s/key.pem", dir);
	return 0;
}

static int
make_pair(const char *cert_path, const char *key_path,
    char error[QUIC_ERROR_MAX])
{
	char dir[PEM_PATH_MAX], *cert, *key;
	int rv;

	if ((rv = own_directory(dir, error)) != 0)
		return rv;
	if ((rv = make_directories(dir)) != 0)
		return complain(error, dir, strerror(-rv));
	if (quic_tls_self_signed(NAME, time(NULL), &cert, &key) != 0)
		return complain(error, key_path, "the key cannot be generated");
	if ((rv = store(key_path, key, 0600, error)) == 0)
		rv = store(cert_path, cert, 0644, error);
	explicit_bzero(key, strlen(key));
	free(key);
	free(cert);
	return rv;
}

/* ---- Repairs ---- */

/* Returns 0; 1 if the file is missing or empty; or -EINVAL. */
static int
load_own(struct quic_pem *pem, const char *path, char error[QUIC_ERROR_MAX])
{
	struct stat st;
	int rv = privsep_stat(path, &st);

	*pem = (struct quic_pem){ NULL, 0 };
	if (rv == -ENOENT || (rv == 0 && st.st_size == 0))
		return 1;
	return pem_load(pem, path, error);
}

/* The same warning as for --key. */
static void
warn_exposed(const char *path)
{
	struct stat st;

	if (privsep_stat(path, &st) == 0 && (st.st_mode & S_IROTH) != 0)
		log_warn("%s contains a private key, and every user of this "
			 "machine can read it; use \"chmod o= %s\"",
		    path, path);
}

/*
 * The certificate is missing, or does not match the key. A new one for the same
 * key has the same pin. If it cannot be saved, the next start makes another.
 */
static int
renew_cert(struct quic_pem *cert, const struct quic_pem *key,
    const char *cert_path, const char *key_path, char error[QUIC_ERROR_MAX])
{
	char *text, why[QUIC_ERROR_MAX];
	int rv = quic_tls_sign_again(NAME, time(NULL), key, &text);

	if (rv != 0)
		return complain(error, key_path,
		    rv == -EINVAL
			? "the file is not a private key; restore it, or remove it "
			  "to generate a new key with a new pin"
			: strerror(-rv));
	pem_free(cert);
	*cert = (struct quic_pem){ text, strlen(text) };
	if (store(cert_path, text, 0644, why) != 0)
		log_warn("a new certificate was generated for the existing key "
			 "but cannot be saved: %s; the pin is unchanged",
		    why);
	else
		log_warn(
		    "%s was missing, damaged or for another key; a new "
		    "certificate was generated for the existing key, and the "
		    "pin is unchanged",
		    cert_path);
	return 0;
}

/* The first start, or the key is missing: then clients need the new pin. */
static int
make_key(const char *cert_path, const char *key_path, bool had_cert,
    char error[QUIC_ERROR_MAX])
{
	int rv = make_pair(cert_path, key_path, error);

	if (rv == 0 && had_cert)
		log_warn("%s was missing; a new key was generated, and clients "
			 "must use the new pin",
		    key_path);
	return rv;
}

int
pem_self_signed(struct quic_pem *cert, struct quic_pem *key,
    char error[QUIC_ERROR_MAX])
{
	char cert_path[PEM_OWN_PATH_MAX], key_path[PEM_OWN_PATH_MAX];
	int rv, has_cert;

	*cert = *key = (struct quic_pem){ NULL, 0 };
	if ((rv = pem_own_paths(cert_path, key_path, error)) != 0)
		return rv;
	if ((has_cert = load_own(cert, cert_path, error)) < 0)
		return has_cert;
	if ((rv = load_own(key, key_path, error)) == 0)
		warn_exposed(key_path);
	if (rv == 0 && quic_tls_match(cert, key) != 0)
		return renew_cert(cert, key, cert_path, key_path, error);
	if (rv <= 0)
		return rv;
	pem_free(cert);
	if ((rv = make_key(cert_path, key_path, has_cert == 0, error)) != 0)
		return rv;
	if ((rv = pem_load(cert, cert_path, error)) == 0)
		rv = pem_load(key, key_path, error);
	return rv;
}
