#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "proxy/base/control_path.h"

const char *
control_path_default(char buf[CONTROL_PATH_SIZE])
{
	const char *dir = getenv("XDG_RUNTIME_DIR");
	int len;

	if (dir != NULL && dir[0] == '/') {
		len = snprintf(buf, CONTROL_PATH_SIZE,
		    "%s/culvert/control.sock", dir);
		if (len > 0 && (size_t)len < CONTROL_PATH_SIZE)
			return buf;
	}
	snprintf(buf, CONTROL_PATH_SIZE, "/run/culvert/control.sock");
	return buf;
}

int
control_path_make_directory(const char *path)
{
	char dir[CONTROL_PATH_SIZE];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	if ((slash = strrchr(dir, '/')) == NULL || slash == dir)
		return 0;
	*slash = '\0';
	return mkdir(dir, 0755) == 0 || errno == EEXIST ? 0 : -errno;
}

int
control_path_address(const char *path, struct sockaddr_un *address)
{
	if (path[0] == '\0')
		return -ENOENT;
	if (strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	strcpy(address->sun_path, path);
	return 0;
}

int
control_path_connect(const char *path, unsigned timeout_s)
{
	struct timeval timeout = { .tv_sec = timeout_s };
	struct sockaddr_un address;
	int fd, error;

	error = control_path_address(path, &address);
	if (error != 0)
		return error;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) ==
	    0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}
