/*
 * culvertctl: queries and controls a running culvert.
 *
 * Exit status: 0, 1 without an answer, 2 after a wrong command line.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "proxy/base/addr.h"
#include "proxy/control/control_client.h"
#include "proxy/base/control_path.h"
#include "proxy/control/report.h"
#include "proxy/control/watch_screen.h"

/* With the precision of the control socket. */
#define JSON_FORMAT (JSON_INDENT(2) | JSON_REAL_PRECISION(15))

static const struct command {
	const char *name, *operand; /* as usage prints it, or NULL */
	const char *request;	    /* the start line without the version */
	void (*report)(const json_t *answer, FILE *stream); /* or NULL: watch */
	const char *help;
} commands[] = {
	{ "status", NULL, "GET /status", report_status,
	    "the state of the connection to the edge" },
	{ "tunnels", NULL, "GET /tunnels", report_tunnels,
	    "the clients and their tunnels, one line each" },
	{ "mtu", NULL, "GET /mtu", report_mtu,
	    "the state of path MTU discovery" },
	{ "route", "host[:port]", "GET /route?", report_route,
	    "which rule covers a target, and where it goes" },
	{ "reprobe", NULL, "POST /reprobe", report_reprobe,
	    "search for a larger path MTU now" },
	{ "reconnect", NULL, "POST /reconnect", report_reconnect,
	    "close the connection and open a new one" },
	{ "watch", NULL, NULL, NULL, "the status, refreshed, with rates" },
};

/* Bytes of a start line, with a target. */
#define REQUEST_MAX (32 + TARGET_STRLEN)

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* Options without a letter: numbers above all letters. */
enum { CONTROL = 256, JSON };

/* The values of the options. */
struct settings {
	const char *path; /* of the control socket */
	bool as_json;
	bool has_watch_options;
	uint64_t interval_ms;
	uint64_t count;
	const char *target; /* of route */
};

/* ---- Commands ---- */

static int
show(const struct command *command, bool as_json, const json_t *object)
{
	if (as_json) {
		json_dumpf(object, stdout, JSON_FORMAT);
		putchar('\n');
	} else
		command->report(object, stdout);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	fprintf(stderr, "culvertctl: cannot write: %s\n", strerror(errno));
	return 1;
}

static int
query(const struct command *command, const struct settings *settings)
{
	char error[CONTROL_CLIENT_ERROR_MAX];
	char request[REQUEST_MAX];
	json_t *object;
	int rv;

	snprintf(request, sizeof(request), "%s%s", command->request,
	    settings->target);
	object = control_request(settings->path, request, error);
	if (object == NULL) {
		fprintf(stderr, "culvertctl: %s\n", error);
		return 1;
	}
	rv = show(command, settings->as_json, object);
	json_decref(object);
	return rv;
}

static int
run(const struct command *command, const struct settings *settings)
{
	struct watch_screen_settings watched = { .path = settings->path,
		.interval_ms = settings->interval_ms,
		.count = settings->count,
		.as_json = settings->as_json };

	return command->report != NULL ? query(command, settings)
				       : watch_screen(&watched);
}

/* ---- The command line ---- */

static const char *
operand_of(const struct command *command)
{
	return command->operand != NULL ? command->operand : "";
}

#define USAGE_INDENT 18
#define USAGE_WIDTH 80 /* columns of a terminal */

static void
print_usage(FILE *stream)
{
	int column = USAGE_INDENT, len;
	char word[64];

	fprintf(stream,
	    "usage: culvertctl [-hV] [-i seconds] [-n count] "
	    "[--control path] [--json]\n%*s",
	    USAGE_INDENT, "");
	for (size_t i = 0; i < COMMANDS; i++) {
		len = snprintf(word, sizeof(word), "%s%s%s%s", commands[i].name,
		    commands[i].operand != NULL ? " " : "",
		    operand_of(&commands[i]), i + 1 < COMMANDS ? " |" : "");
		if (column + len > USAGE_WIDTH) {
			fprintf(stream, "\n%*s", USAGE_INDENT, "");
			column = USAGE_INDENT;
		}
		column += fprintf(stream, "%s%s",
		    column > USAGE_INDENT ? " " : "", word);
	}
	putc('\n', stream);
}

static void
print_help(void)
{
	char path[CONTROL_PATH_SIZE];

	print_usage(stdout);
	printf("\n"
	       "      --control path      control socket of culvert (%s)\n"
	       "      --json              print JSON\n"
	       "  -i, --interval seconds  watch: time between refreshes (1)\n"
	       "  -n, --count count       watch: number of refreshes\n"
	       "  -h, --help              print this and exit\n"
	       "  -V, --version           print the version and exit\n"
	       "\n",
	    control_path_default(path));
	for (size_t i = 0; i < COMMANDS; i++)
		printf("  %s %-*s %s\n", commands[i].name,
		    22 - (int)strlen(commands[i].name),
		    operand_of(&commands[i]), commands[i].help);
}

static const struct command *
find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	fprintf(stderr, "culvertctl: unknown command; -h lists them\n");
	return NULL;
}

static const char *
check_target(const char *text)
{
	struct target target;

	if (target_parse(&target, text, strlen(text), 1) == 0)
		return text;
	fprintf(stderr,
	    "culvertctl: the target is not HOST or HOST:PORT; an "
	    "IPv6 address needs brackets\n");
	return NULL;
}

/* Returns the command among the arguments after the options, or NULL. */
static const struct command *
parse_words(struct settings *settings, int nwords, char *const *words)
{
	const struct command *command;

	command = nwords > 0 ? find_command(words[0]) : NULL;
	if (command != NULL && command->operand == NULL && nwords == 1)
		return command;
	if (command != NULL && command->operand != NULL && nwords == 2) {
		settings->target = check_target(words[1]);
		return settings->target != NULL ? command : NULL;
	}
	if (command != NULL)
		fprintf(stderr, "culvertctl: %s\n",
		    command->operand != NULL ? "route takes one target"
					     : "one command at a time");
	print_usage(stderr);
	return NULL;
}

/*
 * Reads seconds, which may have decimals, as milliseconds. Returns false if the
 * text is not a number or out of range.
 */
static bool
parse_interval(const char *text, uint64_t *ms)
{
	char *end;
	double value = strtod(text, &end) * 1000;

	if (end == text || *end != '\0' ||
	    !(value >= WATCH_SCREEN_INTERVAL_MIN_MS) ||
	    value > WATCH_SCREEN_INTERVAL_MAX_MS)
		return false;
	*ms = (uint64_t)value;
	return true;
}

static bool
parse_count(const char *text, uint64_t *count)
{
	char *end;

	errno = 0;
	*count = strtoull(text, &end, 10);
	return isdigit((unsigned char)text[0]) && *end == '\0' && errno == 0 &&
	    *count > 0;
}

static int
complain(const char *what)
{
	fprintf(stderr, "culvertctl: %s\n", what);
	print_usage(stderr);
	return 2;
}

/* Returns -1 to go on, or the exit status. */
static int
take_option(struct settings *settings, int c)
{
	switch (c) {
	case CONTROL:
		settings->path = optarg;
		return -1;
	case JSON:
		settings->as_json = true;
		return -1;
	case 'i':
		settings->has_watch_options = true;
		return parse_interval(optarg, &settings->interval_ms)
		    ? -1
		    : complain("--interval: the value is not a number of "
			       "seconds from 0.1 to 86400");
	case 'n':
		settings->has_watch_options = true;
		return parse_count(optarg, &settings->count)
		    ? -1
		    : complain("--count: the value is not a positive number");
	case 'h':
		print_help();
		return 0;
	case 'V':
		printf("culvertctl %s\n", CULVERT_VERSION);
		return 0;
	default:
		return complain("unknown option, or one without its value");
	}
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "count", required_argument, NULL, 'n' },
		{ "control", required_argument, NULL, CONTROL },
		{ "json", no_argument, NULL, JSON },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 }
	};
	struct settings settings = { .interval_ms = WATCH_SCREEN_INTERVAL_MS,
		.target = "" };
	char buf[CONTROL_PATH_SIZE];
	const struct command *command;
	int c, rv;

	settings.path = control_path_default(buf);
	opterr = 0; /* getopt_long(3) would print values */
	while ((c = getopt_long(argc, argv, "hi:n:V", options, NULL)) != -1) {
		if ((rv = take_option(&settings, c)) >= 0)
			return rv;
	}
	command = parse_words(&settings, argc - optind, argv + optind);
	if (command == NULL)
		return 2;
	if (settings.has_watch_options && command->report != NULL)
		return complain("--interval and --count are for watch");
	return run(command, &settings);
}
