#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/privsep_message.h"

/* Our own errors: errnos that no call on files returns. */
#define NOT_LISTED EBADSLT
#define CHILD_GONE EOWNERDEAD

/* The daemon's view of the child. */
static struct {
	bool attached;
	int fd; /* -1: it has ended */
	pid_t pid;
	const struct privsep_path *paths;
	size_t npaths;
} child;

/* ---- Operations ---- */

int
privsep_do_open(const char *path, int flags)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | flags);

	return fd >= 0 ? fd : -errno;
}

int
privsep_do_create(const char *directory, const char *name)
{
	char path[PATH_MAX];
	int fd, len;

	len = snprintf(path, sizeof(path), "%s/%s", directory, name);
	if (len < 0 || (size_t)len >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	return fd >= 0 ? fd : -errno;
}

int
privsep_do_remove(const char *path, uint64_t dev, uint64_t ino)
{
	struct stat file;

	if (lstat(path, &file) != 0)
		return -errno;
	if (!S_ISSOCK(file.st_mode) || file.st_dev != dev || file.st_ino != ino)
		return -ESTALE;
	return unlink(path) == 0 ? 0 : -errno;
}

/* ---- Calls to the child ---- */

void
privsep_attach(int fd, pid_t pid, const struct privsep_path *paths, size_t n)
{
	child.attached = true;
	child.fd = fd;
	child.pid = pid;
	child.paths = paths;
	child.npaths = n;
}

/* Returns the number of a path in the list, or -1. */
static int
find(enum privsep_use use, const char *path, size_t len)
{
	for (size_t i = 0; i < child.npaths; i++)
		if (child.paths[i].use == use &&
		    strncmp(child.paths[i].path, path, len) == 0 &&
		    child.paths[i].path[len] == '\0')
			return (int)i;
	return -1;
}

/* Receives a reply: returns 0 or a descriptor, or a negative errno. */
static int
receive(void)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct privsep_reply reply;
	struct iovec iov = { &reply, sizeof(reply) };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg;
	ssize_t n;
	int fd = 0;

	while ((n = recvmsg(child.fd, &msg, MSG_CMSG_CLOEXEC)) < 0 &&
	    errno == EINTR)
		continue;
	if (n != sizeof(reply))
		return -CHILD_GONE;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg != NULL && cmsg->cmsg_level == SOL_SOCKET &&
	    cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return reply.error != 0 ? reply.error : fd;
}

/*
 * A child that does not reply in time is abandoned: its late reply would be
 * taken for that to the next request.
 */
static int
call(const struct privsep_request *request)
{
	int rv = -CHILD_GONE;

	if (child.fd < 0)
		return rv;
	if (send(child.fd, request, sizeof(*request), MSG_NOSIGNAL) ==
	    sizeof(*request))
		rv = receive();
	if (rv == -CHILD_GONE) {
		close(child.fd);
		child.fd = -1;
	}
	return rv;
}

/* A reply without its descriptor: this process has no free descriptor. */
static int
call_for_file(const struct privsep_request *request)
{
	int fd = call(request);

	return fd != 0 ? fd : -EMFILE;
}

int
privsep_open(const char *path)
{
	struct privsep_request request = { 0 };
	int number;

	if (!child.attached)
		return privsep_do_open(path, 0);
	if ((number = find(PRIVSEP_READ, path, strlen(path))) < 0)
		return -NOT_LISTED;
	request.path = (uint32_t)number;
	return call_for_file(&request);
}

int
privsep_stat(const char *path, struct stat *file)
{
	int fd, rv;

	/* Do not open it: a FIFO can be opened and read only once. */
	if (!child.attached)
		return access(path, R_OK) == 0 && stat(path, file) == 0
		    ? 0
		    : -errno;
	if ((fd = privsep_open(path)) < 0)
		return fd;
	rv = fstat(fd, file) == 0 ? 0 : -errno;
	close(fd);
	return rv;
}

int
privsep_create(const char *path)
{
	const char *slash = strrchr(path, '/');
	struct privsep_request request = { 0 };
	char directory[PATH_MAX];
	int number;

	if (slash == NULL || slash == path ||
	    (size_t)(slash - path) >= sizeof(directory) ||
	    strlen(slash + 1) >= sizeof(request.name))
		return -ENAMETOOLONG;
	snprintf(directory, sizeof(directory), "%.*s", (int)(slash - path),
	    path);
	if (!child.attached)
		return privsep_do_create(directory, slash + 1);
	if ((number = find(PRIVSEP_CREATE, directory, strlen(directory))) < 0)
		return -NOT_LISTED;
	request.path = (uint32_t)number;
	strcpy(request.name, slash + 1);
	return call_for_file(&request);
}

int
privsep_remove(const char *path, const struct stat *socket)
{
	struct privsep_request request = { .dev = socket->st_dev,
		.ino = socket->st_ino };
	int number;

	if (!child.attached)
		return privsep_do_remove(path, request.dev, request.ino);
	if ((number = find(PRIVSEP_REMOVE, path, strlen(path))) < 0)
		return -NOT_LISTED;
	request.path = (uint32_t)number;
	return call(&request);
}

void
privsep_stop(void)
{
	char byte;
	ssize_t n;

	if (!child.attached || child.fd < 0)
		return;
	shutdown(child.fd, SHUT_WR);
	while ((n = recv(child.fd, &byte, sizeof(byte), 0)) < 0 &&
	    errno == EINTR)
		continue;
	/* Wait for this child only: a shell may have left us others. */
	if (n == 0)
		(void)waitpid(child.pid, NULL, 0);
	close(child.fd);
	child.fd = -1;
}

const char *
privsep_strerror(int error)
{
	switch (error) {
	case NOT_LISTED:
		return "it was not configured at the start, and other files "
		       "can no longer be opened; restart to use it";
	case CHILD_GONE:
		return "the child process that opens files has died or does "
		       "not respond; restart to recover";
	default:
		return strerror(error);
	}
}
