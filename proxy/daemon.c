#include "proxy/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/config/option.h"
#include "proxy/base/privsep.h"
#include "proxy/base/qlog.h"
#include "proxy/base/run_as.h"
#include "proxy/base/sandbox.h"
#include "proxy/base/seccomp.h"
#include "quic/socket.h"

static void
open_log(const struct config *config)
{
	log_init(option_program_name(config->program),
	    config->quiet ? LOG_QUIET
	    : (int)config->verbose, config->log_format);
}

/*
 * A tunnel takes a descriptor, and select(2), for which the usual limit is so
 * low, is not in use here. Where it cannot be raised, we live with it.
 */
static void
raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/*
 * The first three descriptors, if they are closed, would go to pipes and
 * sockets of the loop, and the log would be written into one of these.
 */
static int
open_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return -errno;
	return 0;
}

/*
 * Whoever starts a daemon may leave files open for it, and a shell of root's
 * leaves those of root. Some are meant, as /dev/fd/63 for --cert is: they stay
 * until everything is read. What the libraries have opened by now closes itself
 * with an exec, which tells it from what has lived through ours.
 */
#define INHERITED_MAX 1024 /* descriptors, the usual limit of a shell */

static bool inherited[INHERITED_MAX];

static void
note_inherited(void)
{
	int flags;

	for (int fd = STDERR_FILENO + 1; fd < INHERITED_MAX; fd++) {
		flags = fcntl(fd, F_GETFD);
		inherited[fd] = flags >= 0 && (flags & FD_CLOEXEC) == 0;
	}
}

static void
close_inherited(void)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null >= 0) {
		(void)dup2(null, STDIN_FILENO);
		close(null);
	}
	for (int fd = STDERR_FILENO + 1; fd < INHERITED_MAX; fd++)
		if (inherited[fd])
			close(fd);
}

/* A mask is inherited, too, and whoever blocks SIGTERM may have forgotten. */
static void
accept_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int
daemon_begin(struct config *config, enum config_program program, int argc,
    char **argv)
{
	int rv;

	if (open_standard() != 0)
		return 1; /* without a place to say so */
	note_inherited();
	accept_signals();
	sandbox_early();
	(void)seccomp_early(); /* if there is no filter, others say so */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* ulimit -f is like a full disk */
	config_init(config, program);
	if ((rv = config_load(config, argc, argv)) != 0) {
		config_free(config);
		return rv > 0 ? 0 : 2;
	}
	raise_descriptors();
	open_log(config);
	return -1;
}

/* Small buffers drop the bursts of long fast paths. */
static void
tell_of_buffers(void)
{
	size_t granted = quic_socket_buffer();

	if (granted < QUIC_SOCKET_BUFFER)
		log_info("socket buffers have %zu KiB instead of %d KiB; for "
		    "fast paths, raise net.core.rmem_max and "
		    "net.core.wmem_max", granted / 1024,
		    QUIC_SOCKET_BUFFER / 1024);
}

/* ---- Files that a reload, a trace or the end needs ---- */

struct paths {
	struct privsep_path v[PRIVSEP_PATHS_MAX];
	size_t n;
};

static void
add_path(struct paths *paths, enum privsep_use use, const char *path)
{
	if (path != NULL && paths->n < PRIVSEP_PATHS_MAX)
		paths->v[paths->n++] = (struct privsep_path){ use, path };
}

static int
start_privsep(const struct config *config, const struct daemon_needs *needs)
{
	const struct config_option *option;
	struct paths paths = { .n = 0 };
	int rv;

	add_path(&paths, PRIVSEP_READ, config->file);
	for (size_t i = 0;
	    (option = option_at(config->program, i)) != NULL; i++)
		if (option->type != NULL && option->type->readable)
			add_path(&paths, PRIVSEP_READ,
			    *(char **)option_field(option, config));
	add_path(&paths, PRIVSEP_READ, needs->cert);
	add_path(&paths, PRIVSEP_READ, needs->key);
	add_path(&paths, PRIVSEP_CREATE, config->qlog);
	add_path(&paths, PRIVSEP_REMOVE, config->control);
	if (paths.n > 0 && (rv = privsep_start(paths.v, paths.n)) != 0) {
		log_error("cannot start the child process that opens files: %s",
		    strerror(-rv));
		return rv;
	}
	return 0;
}

/* ---- The user ---- */

/*
 * A wish that was uttered counts, or the start fails. Without one, root in a
 * container that may not change users is better off with the rest of the
 * sandbox than without the daemon.
 */
static int
become_user(const struct config *config)
{
	struct run_as user;
	int rv;

	if (geteuid() != 0)
		return 0;
	if ((rv = run_as_find(&user, config->run_as)) == 0 && user.uid == 0) {
		log_warn("running as root because of --run-as: root's files "
		    "remain accessible, and an /etc/resolv.conf that is "
		    "replaced is read only after a restart");
		return 0;
	}
	if (rv == 0 && (rv = run_as_become(&user)) == 0)
		return 0;
	if (config->run_as != NULL) {
		log_error("cannot switch to the user %s: %s; grant CAP_SETUID "
		    "and CAP_SETGID, or omit --run-as",
		    config->run_as, strerror(-rv));
		return rv;
	}
	log_warn("running as root without capabilities: cannot switch to the "
	    "user %s (%s); grant CAP_SETUID and CAP_SETGID, or start it as "
	    "another user; an /etc/resolv.conf that is replaced is read only "
	    "after a restart", user.name, strerror(-rv));
	return 0;
}

/* ---- The sandbox ---- */

/* TCP to here is a name server's answer that was too long for UDP. */
#define NAME_SERVER_PORT 53

/*
 * The system's own, with the places that symbolic links lead to: what names are
 * looked up by, the trust store, random numbers for c-ares, and what libuv keeps
 * a descriptor free with.
 */
static const struct sandbox_rule system_rules[] = {
	{ "/etc/ssl/certs", SANDBOX_READ | SANDBOX_LIST },
	{ "/etc/pki", SANDBOX_READ | SANDBOX_LIST },
	{ "/etc/ca-certificates", SANDBOX_READ | SANDBOX_LIST },
	{ "/etc/gnutls", SANDBOX_READ },
	{ "/etc/crypto-policies", SANDBOX_READ },
	{ "/usr/share/ca-certificates", SANDBOX_READ | SANDBOX_LIST },
	{ "/usr/share/pki", SANDBOX_READ | SANDBOX_LIST },
	{ "/usr/share/p11-kit", SANDBOX_READ | SANDBOX_LIST },
	{ "/usr/share/zoneinfo", SANDBOX_READ },
	{ "/usr/local/share/ca-certificates", SANDBOX_READ | SANDBOX_LIST },
	{ "/dev/urandom", SANDBOX_READ },
	{ "/dev/null", SANDBOX_READ },
#ifdef __SANITIZE_ADDRESS__
	{ "/proc/self", SANDBOX_READ | SANDBOX_LIST },
#endif
};

/* What names are looked up by, as it is now: for root, who reads all else. */
static const struct sandbox_rule name_files[] = {
	{ "/etc/resolv.conf", SANDBOX_READ },
	{ "/etc/hosts", SANDBOX_READ },
	{ "/etc/host.conf", SANDBOX_READ },
	{ "/etc/nsswitch.conf", SANDBOX_READ },
	{ "/etc/gai.conf", SANDBOX_READ },
	{ "/etc/services", SANDBOX_READ },
	{ "/etc/localtime", SANDBOX_READ },
};

/*
 * The same with their directories. Whoever changes networks renames a new
 * resolv.conf into place; what root keeps to itself there is closed by its
 * mode.
 */
static const struct sandbox_rule name_directories[] = {
	{ "/etc", SANDBOX_READ },
	{ "/run/systemd/resolve", SANDBOX_READ },
	{ "/run/resolvconf", SANDBOX_READ },
	{ "/run/NetworkManager", SANDBOX_READ },
};

/*
 * Others who change networks have it in a directory of their own, where a link
 * leads: connman, netconfig, WSL. The link may lead there before there is a
 * file, and over other links.
 */
#define RESOLV_CONF "/etc/resolv.conf"

struct link_directories {
	char next[PATH_MAX + sizeof("/etc/")], last[PATH_MAX];
};

/* Cuts the name off; a rule for / would open everything. */
static size_t
add_directory_of(struct sandbox_rule *to, char *path)
{
	char *slash = strrchr(path, '/');

	if (slash == NULL || slash == path)
		return 0;
	*slash = '\0';
	*to = (struct sandbox_rule){ path, SANDBOX_READ };
	return 1;
}

static size_t
add_link_directories(struct sandbox_rule *to, struct link_directories *where)
{
	char link[PATH_MAX];
	ssize_t len = readlink(RESOLV_CONF, link, sizeof(link) - 1);
	size_t n;

	if (len <= 0)
		return 0;
	link[len] = '\0';
	snprintf(where->next, sizeof(where->next), "%s%s",
	    link[0] == '/' ? "" : "/etc/", link);
	n = add_directory_of(to, where->next);
	if (realpath(RESOLV_CONF, where->last) != NULL)
		n += add_directory_of(to + n, where->last);
	return n;
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LINK_RULES_MAX 2
#define RULES_MAX (COUNT(system_rules) + COUNT(name_files) + \
	COUNT(name_directories) + LINK_RULES_MAX)

static size_t
add_rules(struct sandbox_rule *to, const struct sandbox_rule *from, size_t n)
{
	memcpy(to, from, n * sizeof(*from));
	return n;
}

static void
warn_missing(const struct sandbox_missing *missing)
{
	if (missing->files != 0) {
		log_warn("Landlock is not available (%s), so access to files "
		    "and to TCP is not restricted; it requires Linux 5.13 and "
		    "\"landlock\" in the kernel's lsm= list",
		    strerror(-missing->files));
		return;
	}
	if (missing->network != 0)
		log_warn("this kernel's Landlock cannot restrict TCP; it "
		    "requires Linux 6.7");
	if (missing->scope != 0)
		log_warn("this kernel's Landlock cannot restrict signals and "
		    "abstract Unix sockets; it requires Linux 6.12");
}

static void
filter_calls(void)
{
	int rv = seccomp_daemon();

	if (rv > 0)
		log_info("the seccomp filter is off because this build has "
		    "sanitizers");
	else if (rv < 0)
		log_warn("seccomp is not available (%s), so system calls are "
		    "not restricted", strerror(-rv));
}

static int
enter_sandbox(const struct daemon_needs *needs)
{
	struct sandbox_rule rules[RULES_MAX];
	struct link_directories where;
	struct sandbox sandbox = { .rules = rules,
		.connect_port = needs->connects ? SANDBOX_ANY_PORT
						: NAME_SERVER_PORT,
		.capabilities = needs->capabilities };
	struct sandbox_missing missing;
	int rv;

	sandbox.nrules = add_rules(rules, system_rules, COUNT(system_rules));
	sandbox.nrules += add_rules(rules + sandbox.nrules, name_files,
	    COUNT(name_files));
	if (geteuid() != 0) {
		sandbox.nrules += add_rules(rules + sandbox.nrules,
		    name_directories, COUNT(name_directories));
		sandbox.nrules += add_link_directories(rules + sandbox.nrules,
		    &where);
	}
	if ((rv = sandbox_enter(&sandbox, &missing)) != 0) {
		log_error("cannot drop privileges: %s", strerror(-rv));
		return rv;
	}
	warn_missing(&missing);
	filter_calls();
	return 0;
}

int
daemon_confine(const struct config *config, const struct daemon_needs *needs)
{
	int rv;

	close_inherited();
	log_notify_prepare();
	rv = start_privsep(config, needs);
	if (rv == 0)
		rv = become_user(config);
	if (rv == 0)
		rv = enter_sandbox(needs);
	if (rv == 0)
		tell_of_buffers();
	return rv;
}

/* ---- Reloads ---- */

static void
log_lines(char *text, bool failed)
{
	char *line;

	while ((line = strsep(&text, "\n")) != NULL) {
		if (line[0] == '\0')
			continue;
		if (failed)
			log_error(DAEMON_NOT_RELOADED "%s", line);
		else
			log_warn("%s", line);
	}
}

int
daemon_reload(struct config *fresh, const struct config *old)
{
	char *text = NULL;
	size_t len;
	FILE *err = open_memstream(&text, &len);
	int rv;

	if (err == NULL) {
		log_error(DAEMON_NOT_RELOADED "%s", strerror(errno));
		return -EINVAL;
	}
	rv = config_reload(fresh, old, err);
	fclose(err);
	log_lines(text, rv != 0);
	free(text);
	return rv;
}

void
daemon_replace(struct config *config, const struct config *fresh)
{
	config_free(config);
	*config = *fresh;
	open_log(config);
	qlog_reloaded();
	log_info("the configuration is reloaded");
}
