/*
 * The child that opens files. The daemon starts it when everything is open. It
 * runs as the same user, but keeps only the rights to reach the paths of its
 * list. It waits for requests and for the end of the daemon.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "proxy/base/privsep_message.h"
#include "proxy/base/sandbox.h"
#include "proxy/base/seccomp.h"

/*
 * Seconds that the daemon, and with it every tunnel, waits for a file: longer
 * than any local disk takes, so the file is on a network that is down.
 */
#define ANSWER_TIMEOUT_S 5

/* More descriptors than a daemon has open at its start. */
#define FILES_MAX 1024

/* The name in top(1) and ps(1); the kernel keeps 15 bytes. */
#define CHILD_NAME "culvert-privsep"

#define BIT(capability) (UINT64_C(1) << (capability))

static struct privsep_path list[PRIVSEP_PATHS_MAX];
static size_t nlist;

/* ---- The child's sandbox ---- */

/* For the path itself, its target, and the links among its directories. */
#define RULES_PER_PATH 8

struct rules {
	struct sandbox_rule v[PRIVSEP_PATHS_MAX * RULES_PER_PATH];
	size_t n;
};

static void
add_rule(struct rules *rules, const char *path, unsigned rights)
{
	char *copy = strdup(path); /* never freed */

	if (copy != NULL && rules->n < sizeof(rules->v) / sizeof(rules->v[0]))
		rules->v[rules->n++] = (struct sandbox_rule){ copy, rights };
}

/* Adds the directory of a file, but never /, which would allow everything. */
static void
add_directory(struct rules *rules, const char *file, size_t len,
    unsigned rights)
{
	char path[PATH_MAX];

	while (len > 0 && file[len - 1] != '/')
		len--;
	while (len > 0 && file[len - 1] == '/')
		len--;
	if (file[0] == '/' && len == 0)
		return;
	if (len >= sizeof(path))
		return;
	memcpy(path, len > 0 ? file : ".", len > 0 ? len : 1);
	path[len > 0 ? len : 1] = '\0';
	add_rule(rules, path, rights);
}

/*
 * Adds the directory of each symbolic link on the path: an administrator
 * replaces such a link to switch to another directory.
 */
static void
add_links(struct rules *rules, const char *file)
{
	char path[PATH_MAX];
	struct stat st;

	for (size_t i = 1; file[i] != '\0' && i < sizeof(path); i++) {
		if (file[i] != '/')
			continue;
		memcpy(path, file, i);
		path[i] = '\0';
		if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
			add_directory(rules, file, i, SANDBOX_READ);
	}
}

static void
add_file(struct rules *rules, const char *file)
{
	char *real = realpath(file, NULL);

	add_rule(rules, file, SANDBOX_READ);
	add_directory(rules, file, strlen(file), SANDBOX_READ);
	add_links(rules, file);
	if (real != NULL)
		add_directory(rules, real, strlen(real), SANDBOX_READ);
	free(real);
}

/*
 * Failures are not reported: the daemon warns about the same kernel features.
 */
static void
confine(void)
{
	static struct rules rules;
	struct sandbox_missing missing;
	struct sandbox sandbox = { .capabilities = BIT(CAP_DAC_READ_SEARCH) };

	for (size_t i = 0; i < nlist; i++) {
		if (list[i].use == PRIVSEP_READ) {
			add_file(&rules, list[i].path);
			continue;
		}
		sandbox.capabilities |= BIT(CAP_DAC_OVERRIDE);
		if (list[i].use == PRIVSEP_CREATE)
			add_rule(&rules, list[i].path, SANDBOX_CREATE);
		else
			add_directory(&rules, list[i].path,
			    strlen(list[i].path), SANDBOX_REMOVE);
	}
	sandbox.rules = rules.v;
	sandbox.nrules = rules.n;
	(void)sandbox_enter(&sandbox, &missing);
	(void)seccomp_privsep();
}

/* ---- The child's work ---- */

/* A file name of characters that are harmless in a shell and in a log. */
static bool
is_name(const char name[NAME_MAX + 1])
{
	size_t len = strnlen(name, NAME_MAX + 1);

	return len > 0 && len <= NAME_MAX && name[0] != '.' &&
	    strspn(name,
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		"0123456789._-") == len;
}

static int
serve(const struct privsep_request *request)
{
	const struct privsep_path *path;

	if (request->path >= nlist)
		return -EINVAL;
	path = &list[request->path];
	switch (path->use) {
	case PRIVSEP_READ:
		/* Do not block if the file has become a FIFO. */
		return privsep_do_open(path->path, O_NONBLOCK);
	case PRIVSEP_CREATE:
		return is_name(request->name)
		    ? privsep_do_create(path->path, request->name)
		    : -EINVAL;
	case PRIVSEP_REMOVE:
		return privsep_do_remove(path->path, request->dev,
		    request->ino);
	}
	return -EINVAL;
}

/* Replies with `rv`, the return value of the operation. */
static bool
answer(int socket, int rv)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct privsep_reply reply = { rv < 0 ? rv : 0 };
	struct iovec iov = { &reply, sizeof(reply) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	bool sent;

	if (rv > 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.header = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(rv)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS
		};
		memcpy(CMSG_DATA(&control.header), &rv, sizeof(rv));
	}
	sent = sendmsg(socket, &msg, MSG_NOSIGNAL) == sizeof(reply);
	if (rv > 0)
		close(rv);
	return sent;
}

static void
ignore_signals(void)
{
	static const int ignored[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP,
		SIGUSR1, SIGUSR2, SIGPIPE };
	sigset_t none;

	/* They are meant for the daemon, in whose process group we are. */
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Keeps one descriptor, as number 3; the first three become /dev/null. */
static int
close_others(int socket)
{
	int null = open("/dev/null", O_RDWR);

	if (null >= 0)
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
	dup2(socket, 3);
	/* Linux before 5.9 does not have it; few are open this early. */
	if (close_range(4, ~0U, 0) != 0)
		for (int fd = 4; fd < FILES_MAX; fd++)
			close(fd);
	return 3;
}

static _Noreturn void
run(int socket)
{
	struct privsep_request request;
	ssize_t n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, CHILD_NAME);
	ignore_signals();
	socket = close_others(socket);
	confine();
	do {
		n = recv(socket, &request, sizeof(request), 0);
		if (n == sizeof(request) && !answer(socket, serve(&request)))
			break;
	} while (n == sizeof(request) || (n < 0 && errno == EINTR));
	_exit(0);
}

/* ---- Start ---- */

static int
copy_paths(const struct privsep_path *paths, size_t n)
{
	if (n > PRIVSEP_PATHS_MAX)
		return -E2BIG;
	for (nlist = 0; nlist < n; nlist++) {
		list[nlist] = paths[nlist];
		if ((list[nlist].path = strdup(paths[nlist].path)) == NULL)
			return -ENOMEM;
	}
	return 0;
}

int
privsep_start(const struct privsep_path *paths, size_t n)
{
	struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };
	int sockets[2], rv = copy_paths(paths, n);
	sigset_t all, before;
	pid_t pid;

	if (rv != 0)
		return rv;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0)
		return -errno;
	/* No zombie if the child ends early: the daemon never waits for it. */
	signal(SIGCHLD, SIG_IGN);
	/* A signal to the child must not run a handler of the daemon there. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	if ((pid = fork()) == 0)
		run(sockets[1]);
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(sockets[1]);
	if (pid < 0) {
		rv = -errno;
		close(sockets[0]);
		return rv;
	}
	setsockopt(sockets[0], SOL_SOCKET, SO_RCVTIMEO, &timeout,
	    sizeof(timeout));
	privsep_attach(sockets[0], pid, list, nlist);
	return 0;
}
