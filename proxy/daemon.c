#include "proxy/daemon.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "proxy/log.h"
#include "proxy/option.h"
#include "proxy/qlog.h"
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

int
daemon_begin(struct config *config, enum config_program program, int argc,
    char **argv)
{
	int rv;

	sandbox_early();
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
		log_info("the system grants %zu KiB of %d KiB for socket "
		    "buffers; for fast paths, raise net.core.rmem_max and "
		    "net.core.wmem_max", granted / 1024,
		    QUIC_SOCKET_BUFFER / 1024);
}

/* ---- The sandbox ---- */

/* Every file, its directory as it is named, and that where it really is. */
#define PATHS_MAX (3 * (CONFIG_OPTIONS_MAX + 1) + 2)

struct paths {
	const char *v[PATHS_MAX];
	char *owned[PATHS_MAX];
	size_t n, nowned;
};

/* A file in / would open everything: its directory stays out. */
static void
add_directory(struct paths *paths, const char *file)
{
	char *path = strdup(file), *slash;

	if (path == NULL)
		return;
	paths->owned[paths->nowned++] = path;
	slash = strrchr(path, '/');
	if (slash == path)
		return;
	if (slash != NULL)
		*slash = '\0';
	paths->v[paths->n++] = slash != NULL ? path : ".";
}

static void
add_file(struct paths *paths, const char *file)
{
	char *real;

	if (file == NULL)
		return;
	paths->v[paths->n++] = file;
	add_directory(paths, file);
	if ((real = realpath(file, NULL)) != NULL)
		add_directory(paths, real);
	free(real);
}

static void
add_files(struct paths *paths, const struct config *config)
{
	const struct config_option *option;

	add_file(paths, config->file);
	for (size_t i = 0;
	    (option = option_at(config->program, i)) != NULL; i++)
		if (option->type != NULL && option->type->readable)
			add_file(paths,
			    *(char **)option_field(option, config));
}

int
daemon_confine(const struct config *config, const char *more,
    const char *const *write, uint64_t keep)
{
	struct paths paths = { .n = 0 };
	struct sandbox_paths sandbox = { paths.v, write };
	int rv;

	add_files(&paths, config);
	paths.v[paths.n++] = more;
	rv = sandbox_enter(&sandbox, keep);
	tell_of_buffers();
	if (rv < 0)
		log_error("cannot give up privileges: %s", strerror(-rv));
	else if (rv > 0)
		log_debug("this kernel has no Landlock");
	for (size_t i = 0; i < paths.nowned; i++)
		free(paths.owned[i]);
	return rv < 0 ? rv : 0;
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
