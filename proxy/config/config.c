#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/config/config.h"
#include "proxy/base/control_path.h"
#include "proxy/config/flags.h"
#include "proxy/config/option.h"
#include "proxy/base/privsep.h"
#include "proxy/base/run_as.h"
#include "proxy/config/config_source.h"

void
config_init(struct config *config, enum config_program program)
{
	const struct config_option *option;
	char path[CONTROL_PATH_SIZE];

	memset(config, 0, sizeof(*config));
	config->program = program;
	config->out = stdout;
	config->err = stderr;
	for (size_t i = 0; (option = option_at(program, i)) != NULL; i++) {
		if (option->fallback != NULL)
			option->type->set(option_field(option, config),
			    option->fallback);
	}
	if (program == CONFIG_CULVERT)
		value_socket.set(&config->control, control_path_default(path));
}

void
config_free(struct config *config)
{
	const struct config_option *option;

	for (size_t i = 0; (option = option_at(config->program, i)) != NULL;
	     i++) {
		if (option->type != NULL)
			value_clear(option->type, option_field(option, config));
	}
	memset(config->origin, 0, sizeof(config->origin));
	free(config->file);
	config->file = NULL;
}

int
config_parse(struct config *config, const char *text, size_t len,
    const char *name)
{
	struct source source = { .config = config,
		.origin = CONFIG_FILE,
		.name = name };

	source_read_text(&source, text, len);
	return source.errors == 0 ? 0 : -EINVAL;
}

/* ---- Checks of the whole ---- */

static struct source
command_source(struct config *config)
{
	return (struct source){ .config = config,
		.origin = CONFIG_COMMAND,
		.name = option_program_name(config->program) };
}

static enum config_origin
origin_of(const struct config *config, const char *name)
{
	size_t i;

	if (option_find(config->program, name, &i) == NULL)
		return CONFIG_DEFAULT;
	return config->origin[i];
}

/* A user that can read a hash can try passwords at any rate. */
static void
warn_exposed(const struct config *config, const char *path, const char *what)
{
	struct stat st;

	if (privsep_stat(path, &st) == 0 &&
	    (st.st_mode & (S_IROTH | S_IWOTH)) != 0)
		fprintf(config->err,
		    "%s: warning: %s contains %s, and every "
		    "user of this machine can %s it; use \"chmod o= %s\"\n",
		    option_program_name(config->program), path, what,
		    (st.st_mode & S_IROTH) != 0 ? "read" : "replace", path);
}

/* Returns the secret that the file of an option contains, or NULL. */
static const char *
secret_of(const struct config_option *option)
{
	static const struct {
		const char *name, *what;
	} secrets[] = {
		{ "users", "hashes of passwords" },
		{ "listen-users", "hashes of passwords" },
		{ "user-file", "a password" },
		{ "key", "a private key" },
	};

	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
		if (strcmp(option->name, secrets[i].name) == 0)
			return secrets[i].what;
	return NULL;
}

static void
check_files(struct source *source)
{
	struct config *config = source->config;
	const struct config_option *option;
	const char *path, *what;
	struct stat st;
	int rv;

	for (size_t i = 0; (option = option_at(config->program, i)) != NULL;
	     i++) {
		if (option->type == NULL || !option->type->readable)
			continue;
		path = *(char **)option_field(option, config);
		if (path == NULL)
			continue;
		if ((rv = privsep_stat(path, &st)) != 0)
			source_complain(source,
			    "--%s: the file cannot be "
			    "read: %s",
			    option->name, privsep_strerror(-rv));
		else if ((what = secret_of(option)) != NULL)
			warn_exposed(config, path, what);
	}
}

bool
config_listens_locally(const struct config *config)
{
	for (unsigned i = 0; i < config->listen.n; i++)
		if (!addr_is_loopback((const struct sockaddr *)&config->listen
					  .v[i]))
			return false;
	return true;
}

/* There is nobody to ask for a password, and only one target to reach. */
static void
check_forwards(const struct source *source)
{
	const struct config *config = source->config;
	char name[ADDR_STRLEN];

	for (unsigned i = 0; i < config->forward.n; i++) {
		const struct sockaddr *addr =
		    (const struct sockaddr *)&config->forward.v[i].listen;

		if (!addr_is_loopback(addr))
			fprintf(config->err,
			    "%s: warning: --forward: other machines can reach "
			    "%s, and its target without a password\n",
			    option_program_name(config->program),
			    addr_format(addr, name));
	}
}

/* Without users, every host that reaches a listener could use the edge. */
static void
check_listeners(struct source *source)
{
	const struct config *config = source->config;
	char text[ADDR_STRLEN];

	if (config->listen_users != NULL)
		return;
	for (unsigned i = 0; i < config->listen.n; i++) {
		const struct sockaddr *addr =
		    (const struct sockaddr *)&config->listen.v[i];

		if (!addr_is_loopback(addr))
			source_complain(source,
			    "--listen: other machines can "
			    "reach %s; this requires --listen-users",
			    addr_format(addr, text));
	}
}

static void
check_user(struct source *source)
{
	struct config *config = source->config;
	struct source file = { .config = config,
		.origin = source->origin,
		.name = config->user_file };
	struct stat st;

	/* If it cannot be read, check_files() has printed that. */
	if (config->user_file == NULL ||
	    privsep_stat(config->user_file, &st) != 0)
		return;
	if (origin_of(config, "user") != CONFIG_DEFAULT) {
		source_complain(source,
		    "--user and --user-file cannot be combined");
		return;
	}
	source_read_user(&file);
	source->errors += file.errors;
}

static void
check_culvert(struct source *source)
{
	const struct config *config = source->config;

	if (config->edge.n == 0 && !config->embedded_edge)
		source_complain(source,
		    "no edge is configured; name one with "
		    "--edge, or use --embedded-edge");
	if (config->edge.n > 0 && config->embedded_edge)
		source_complain(source,
		    "--edge and --embedded-edge cannot be combined");
	if ((config->allow.n > 0 || config->deny.n > 0) &&
	    !config->embedded_edge)
		source_complain(source,
		    "--allow and --deny require "
		    "--embedded-edge; any other edge has its own rules");
	if (config->interface != NULL && config->embedded_edge)
		source_complain(source,
		    "--interface and --embedded-edge "
		    "cannot be combined: the embedded edge is on loopback");
	if (config->edge_timeout < CONFIG_EDGE_TIMEOUT_LEAST)
		source_complain(source, "--edge-timeout %u is below %d",
		    config->edge_timeout, CONFIG_EDGE_TIMEOUT_LEAST);
	if (config->mtu_max != 0 && config->mtu_min > config->mtu_max)
		source_complain(source, "--mtu-min %u is above --mtu-max %u",
		    config->mtu_min, config->mtu_max);
	if (config->control == NULL)
		source_complain(source, "--control: out of memory");
	check_listeners(source);
	check_forwards(source);
	check_user(source);
}

static void
check_culvert_edge(struct source *source)
{
	const struct config *config = source->config;

	if (config->self_signed && config->cert != NULL)
		source_complain(source,
		    "--self-signed and --cert cannot be combined");
	if (!config->self_signed && config->cert == NULL)
		source_complain(source,
		    "no certificate is configured; use "
		    "--cert and --key, or --self-signed to generate them");
	if (config->open && config->users != NULL)
		source_complain(source,
		    "--open and --users cannot be combined");
	if (!config->open && config->users == NULL)
		source_complain(source,
		    "no users are configured; name their "
		    "file with --users, or serve everyone with --open");
}

int
config_check(struct config *config)
{
	struct source source = command_source(config);

	if ((config->cert == NULL) != (config->key == NULL))
		source_complain(&source, "--cert and --key require each other");
	check_files(&source);
	if (config->program == CONFIG_CULVERT)
		check_culvert(&source);
	else
		check_culvert_edge(&source);
	return source.errors == 0 ? 0 : -EINVAL;
}

/* Only at the start: the sandbox makes the user database unreachable. */
static void
check_run_as(struct source *source)
{
	const char *name = source->config->run_as;
	struct run_as user;
	int rv;

	if (name == NULL)
		return;
	if ((rv = run_as_find(&user, name)) == -ENOENT)
		source_complain(source,
		    "--run-as: the user '%s' does not "
		    "exist on this machine",
		    name);
	else if (rv != 0)
		source_complain(source, "--run-as: %s: %s", name,
		    strerror(-rv));
	else if (geteuid() != 0 && !run_as_is_us(&user))
		source_complain(source,
		    "--run-as: only root can switch to the "
		    "user '%s'; start as root or as that user, or omit this "
		    "option",
		    name);
}

static void
load_file(struct source *source, const char *path)
{
	struct config *config = source->config;
	struct source file = { .config = config,
		.origin = CONFIG_FILE,
		.name = path };

	if ((config->file = strdup(path)) == NULL)
		source_complain(source, "out of memory");
	source_read_file(&file);
	source->errors += file.errors;
	if (origin_of(config, "user") == CONFIG_FILE)
		warn_exposed(config, path, "a password");
}

/*
 * The whole is checked last, and only if each value is valid by itself:
 * otherwise one mistake would be reported twice.
 */
int
config_load(struct config *config, int argc, char **argv)
{
	struct source source = command_source(config);
	struct flags flags;

	flags_init(&flags, config->program, argc, argv);
	if (flags_first_pass(&flags, &source))
		return 1;
	if (source.errors > 0)
		return -EINVAL;
	if (flags.file != NULL && access(flags.file, R_OK) != 0)
		source_complain(&source,
		    "--config: the file cannot be read: "
		    "%s",
		    strerror(errno));
	else if (flags.file != NULL)
		load_file(&source, flags.file);
	flags_second_pass(&flags, &source);
	check_run_as(&source);
	if (source.errors > 0 || config_check(config) != 0)
		return -EINVAL;
	if (!flags.check)
		return 0;
	fprintf(config->out, "%s: configuration OK\n",
	    option_program_name(config->program));
	return 1;
}

/* ---- Reload ---- */

static void
take(struct source *source, const struct config *old,
    const struct config_option *option, size_t i)
{
	if (value_copy(option->type, option_field(option, source->config),
		option_field(option, old)) != 0)
		source_complain(source, "--%s: out of memory", option->name);
	source->config->origin[i] = old->origin[i];
}

static bool
differs(const struct config_option *option, const struct config *a,
    const struct config *b)
{
	return !value_equal(option->type, option_field(option, a),
	    option_field(option, b));
}

/* Keeps the values of the command line, and those that cannot change. */
static void
take_over(struct source *source, const struct config *old)
{
	const struct config *config = source->config;
	const struct config_option *option;

	for (size_t i = 0; (option = option_at(old->program, i)) != NULL; i++) {
		if (option->type == NULL)
			continue;
		if (old->origin[i] == CONFIG_COMMAND)
			take(source, old, option, i);
		else if (option_is_fixed(option) &&
		    differs(option, config, old)) {
			/* A file with errors may not mean the change. */
			if (source->errors == 0)
				fprintf(config->err,
				    "%s: a change of '%s' "
				    "requires a restart\n",
				    source->name, option->name);
			take(source, old, option, i);
		}
	}
}

/*
 * The check comes last, since it must see the values that will be in force: a
 * listener that stays open to the network must not lose its users.
 */
int
config_reload(struct config *fresh, const struct config *old, FILE *err)
{
	struct source source;

	config_init(fresh, old->program);
	fresh->err = err;
	source = command_source(fresh);
	if (old->file != NULL)
		load_file(&source, old->file);
	take_over(&source, old);
	if (source.errors == 0 && config_check(fresh) == 0) {
		fresh->err = old->err;
		return 0;
	}
	config_free(fresh);
	return -EINVAL;
}
