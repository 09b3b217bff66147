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
	    config->quiet ? LOG_QUIET : (int)config->verbose,
	    config->log_format);
}

/*
 * A tunnel takes a descriptor. The usual limit is low only because of
 * select(2), which is not used here. A failure is ignored.
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
 * If the first three descriptors were closed, sockets of the loop would get
 * their numbers, and the log would be written into one of them.
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
 * A daemon inherits open files, and from root's shell files of root. Some are
 * intended, such as /dev/fd/63 for --cert, so they stay open until everything
 * is read. Descriptors that libraries have opened by now are close-on-exec,
 * which distinguishes them from inherited ones.
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

/* The signal mask is inherited, too; a parent may have left SIGTERM blocked. */
static void
accept_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The sandbox would keep it from being opened later. */
static void
load_ipsec_mb(const struct config *config)
{
	char text[QUIC_ERROR_MAX];

	if (config->no_ipsec_mb)
		return;
	(void)quic_ipsec_mb_load(text);
	log_info("%s", text);
}

int
daemon_begin(struct config *config, enum config_program program, int argc,
    char **argv)
{
	int rv;

	if (open_standard() != 0)
		return 1; /* there is no descriptor for a message */
	note_inherited();
	accept_signals();
	sandbox_early();
	(void)seccomp_early(); /* daemon_confine() warns without seccomp */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* write(2) fails instead, with EFBIG */
	config_init(config, program);
	if ((rv = config_load(config, argc, argv)) != 0) {
		config_free(config);
		return rv > 0 ? 0 : 2;
	}
	raise_descriptors();
	open_log(config);
	load_ipsec_mb(config);
	return -1;
}

/* On paths with a high bandwidth-delay product, small buffers lose packets. */
static void
report_small_buffers(void)
{
	size_t granted = quic_socket_buffer();

	if (granted < QUIC_SOCKET_BUFFER)
		log_info("socket buffers have %zu KiB instead of %d KiB; for "
			 "fast paths, raise net.core.rmem_max and "
			 "net.core.wmem_max",
		    granted / 1024, QUIC_SOCKET_BUFFER / 1024);
}

/* ---- Files for reloads, traces and the exit ---- */

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
	const char *file;
	struct paths paths = { .n = 0 };
	int rv;

	add_path(&paths, PRIVSEP_READ, config->file);
	for (size_t i = 0; (option = option_at(config->program, i)) != NULL;
	     i++)
		if (option->type != NULL && option->type->readable)
			add_path(&paths, PRIVSEP_READ,
			    *(char **)option_field(option, config));
	add_path(&paths, PRIVSEP_READ, needs->cert);
	add_path(&paths, PRIVSEP_READ, needs->key);
	for (size_t i = 0;
	     needs->file != NULL && (file = needs->file(needs->arg, i)) != NULL;
	     i++)
		add_path(&paths, PRIVSEP_READ, file);
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
 * If --run-as is given, it must work or the start fails. Without it, a daemon
 * in a container where root cannot switch users runs as root, with the rest of
 * the sandbox.
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
	log_warn(
	    "running as root without capabilities: cannot switch to the "
	    "user %s (%s); grant CAP_SETUID and CAP_SETGID, or start it as "
	    "another user; an /etc/resolv.conf that is replaced is read only "
	    "after a restart",
	    user.name, strerror(-rv));
	return 0;
}

/* ---- The sandbox ---- */

/* TCP to this port is for answers of name servers that UDP cannot carry. */
#define NAME_SERVER_PORT 53

/*
 * Files of the system, with common targets of their symbolic links: those for
 * name resolution, the trust store, random numbers for c-ares, and the file
 * with which libuv reserves a descriptor.
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

/* For root: only the files of name resolution, since root can read all. */
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
 * The same with their directories, since network managers rename a new
 * resolv.conf into place. Private files of root there are protected by their
 * mode.
 */
static const struct sandbox_rule name_directories[] = {
	{ "/etc", SANDBOX_READ },
	{ "/run/systemd/resolve", SANDBOX_READ },
	{ "/run/resolvconf", SANDBOX_READ },
	{ "/run/NetworkManager", SANDBOX_READ },
};

/*
 * Other network managers (connman, netconfig, WSL) keep the file in a directory
 * of their own, to which /etc/resolv.conf links, perhaps through further links
 * and before the file exists.
 */
#define RESOLV_CONF "/etc/resolv.conf"

struct link_directories {
	char next[PATH_MAX + sizeof("/etc/")], last[PATH_MAX];
};

/* Removes the file name; never leaves /, which would allow everything. */
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
#define RULES_MAX \
	(COUNT(system_rules) + COUNT(name_files) + COUNT(name_directories) + \
	    LINK_RULES_MAX)

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
		log_warn(
		    "Landlock is not available (%s), so access to files "
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
			 "not restricted",
		    strerror(-rv));
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
		report_small_buffers();
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
