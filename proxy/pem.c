#include "proxy/pem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proxy/privsep.h"

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
	ssize_t n;
	char *text;
	int fd;

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
	close(fd);
	*pem = (struct quic_pem){ text, len };
	if (len > 0 && len <= PEM_FILE_MAX)
		return 0;
	pem_free(pem);
	return complain(error, path, len == 0 ? "the file is empty"
					      : "the file is too large");
}

void
pem_free(struct quic_pem *pem)
{
	if (pem->data != NULL)
		explicit_bzero((void *)(uintptr_t)pem->data, pem->len);
	free((void *)(uintptr_t)pem->data);
	*pem = (struct quic_pem){ NULL, 0 };
}

/* ---- A key of our own ---- */

static int
store(const char *path, const char *text, mode_t mode,
    char error[QUIC_ERROR_MAX])
{
	size_t len = strlen(text);
	int fd, rv = 0;

	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
	    mode);
	if (fd < 0)
		return complain(error, path, strerror(errno));
	if (write(fd, text, len) != (ssize_t)len || fsync(fd) != 0)
		rv = complain(error, path, strerror(errno));
	close(fd);
	return rv;
}

/* Makes every directory on the way to `path`, and it. */
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
		    "neither STATE_DIRECTORY nor HOME says where to keep it");
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
	if (quic_tls_self_signed("culvert-edge", time(NULL), &cert, &key) != 0)
		return complain(error, key_path, "the key cannot be made");
	if ((rv = store(key_path, key, 0600, error)) == 0)
		rv = store(cert_path, cert, 0644, error);
	explicit_bzero(key, strlen(key));
	free(key);
	free(cert);
	return rv;
}

int
pem_self_signed(struct quic_pem *cert, struct quic_pem *key,
    char error[QUIC_ERROR_MAX])
{
	char cert_path[PEM_OWN_PATH_MAX], key_path[PEM_OWN_PATH_MAX];
	struct stat st;
	int rv;

	*cert = *key = (struct quic_pem){ NULL, 0 };
	if ((rv = pem_own_paths(cert_path, key_path, error)) != 0)
		return rv;
	if ((privsep_stat(cert_path, &st) == -ENOENT ||
	    privsep_stat(key_path, &st) == -ENOENT) &&
	    (rv = make_pair(cert_path, key_path, error)) != 0)
		return rv;
	if ((rv = pem_load(cert, cert_path, error)) == 0)
		rv = pem_load(key, key_path, error);
	return rv;
}
