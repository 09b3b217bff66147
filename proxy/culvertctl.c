/*
 * culvertctl: asks a running culvert.
 *
 * One command is one request on the control socket, and one answer that ends
 * with the connection.  Exit status: 0, 1 when there is no answer, 2 for a
 * command that makes no sense.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#include "proxy/control_path.h"
#include "proxy/http1.h"
#include "proxy/report.h"

/* Seconds without a byte, after which culvert is taken for stuck. */
#define TIMEOUT_S 5

/* Bytes of an answer: 65536 tunnels with the longest names fit twice over. */
#define ANSWER_MAX (64 * 1024 * 1024)

/* Bytes that the answer's buffer begins with; it doubles from there. */
#define ANSWER_FIRST 16384

/* As the control socket writes numbers. */
#define JSON_FORMAT (JSON_INDENT(2) | JSON_REAL_PRECISION(15))

static const struct command {
	const char *name;
	const char *request; /* the start line without the version */
	void (*report)(const json_t *answer, FILE *stream);
	const char *help;
} commands[] = {
	{ "status", "GET /status", report_status,
	    "how the connection to the edge is" },
	{ "tunnels", "GET /tunnels", report_tunnels,
	    "the clients that are here, a line for each" },
	{ "mtu", "GET /mtu", report_mtu,
	    "what is known of the path MTU" },
	{ "reprobe", "POST /reprobe", report_reprobe,
	    "look for a larger path MTU now" },
	{ "reconnect", "POST /reconnect", report_reconnect,
	    "drop the connection and make a new one" },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* Everything that was read; the spans of the head point into it. */
struct answer {
	char *data;
	size_t len, size;
};

/* ---- The answer ---- */

static int
send_request(int fd, const struct command *command)
{
	char text[256];
	int len = snprintf(text, sizeof(text),
	    "%s HTTP/1.1\r\nHost: culvert\r\nConnection: close\r\n\r\n",
	    command->request);

	/* So short a text is taken whole or not at all. */
	return send(fd, text, (size_t)len, MSG_NOSIGNAL) == len ? 0 : -errno;
}

static int
grow(struct answer *answer)
{
	size_t size = answer->size > 0 ? 2 * answer->size : ANSWER_FIRST;
	char *data;

	if (answer->len < answer->size)
		return 0;
	if (size > ANSWER_MAX)
		return -EMSGSIZE;
	data = realloc(answer->data, size);
	if (data == NULL)
		return -ENOMEM;
	answer->data = data;
	answer->size = size;
	return 0;
}

static int
read_answer(int fd, struct answer *answer)
{
	ssize_t n;
	int error;

	do {
		if ((error = grow(answer)) != 0)
			return error;
		n = read(fd, answer->data + answer->len,
		    answer->size - answer->len);
		if (n > 0)
			answer->len += (size_t)n;
	} while (n > 0 || (n < 0 && errno == EINTR));
	return n < 0 ? -errno : 0;
}

/* Fills answer, whose data the caller frees also after an error. */
static int
fetch(const char *path, const struct command *command, struct answer *answer)
{
	int fd, error;

	fd = control_path_connect(path, TIMEOUT_S);
	if (fd < 0)
		return fd;
	error = send_request(fd, command);
	if (error == 0)
		error = read_answer(fd, answer);
	close(fd);
	return error;
}

/*
 * Gives the object that the answer carries.  -EPIPE: the answer is not
 * complete; -EPROTO: it is not of the kind that culvert gives.
 */
static int
parse_answer(const struct answer *answer, int *status, json_t **object)
{
	struct http1_response response;
	size_t scanned = 0, left;
	int len;

	len = http1_response_parse(&response, answer->data, answer->len,
	    &scanned, false);
	if (len == 0)
		return -EPIPE;
	if (len < 0 || response.head.framing != HTTP1_LENGTH)
		return -EPROTO;
	left = answer->len - (size_t)len;
	if (left < response.head.length)
		return -EPIPE;
	*status = response.status;
	*object = json_loadb(answer->data + len, (size_t)response.head.length,
	    0, NULL);
	return *object != NULL ? 0 : -EPROTO;
}

/* ---- What people see ---- */

static void
explain(const char *path, int error)
{
	fputs("culvertctl: ", stderr);
	switch (-error) {
	case ENOENT:
	case ECONNREFUSED:
		fprintf(stderr, "culvert is not running (no answer at %s: %s)",
		    path, strerror(-error));
		break;
	case EAGAIN:
		fprintf(stderr, "culvert does not answer within %d s at %s",
		    TIMEOUT_S, path);
		break;
	case EPIPE:
	case ECONNRESET:
		fprintf(stderr, "culvert hung up before its answer at %s",
		    path);
		break;
	case EPROTO:
	case EMSGSIZE:
		fprintf(stderr, "what answers at %s is not culvert", path);
		break;
	default:
		fprintf(stderr, "cannot ask culvert at %s: %s", path,
		    strerror(-error));
	}
	putc('\n', stderr);
}

static int
show(const struct command *command, bool as_json, int status,
    const json_t *object)
{
	const char *why = json_string_value(json_object_get(object, "error"));

	if (status != 200) {
		fprintf(stderr, "culvertctl: culvert answers %d: %s\n", status,
		    why != NULL ? why : http1_reason(status));
		return 1;
	}
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
run(const struct command *command, const char *path, bool as_json)
{
	struct answer answer = { 0 };
	json_t *object = NULL;
	int status, error, rv = 1;

	error = fetch(path, command, &answer);
	if (error == 0)
		error = parse_answer(&answer, &status, &object);
	if (error == 0)
		rv = show(command, as_json, status, object);
	else
		explain(path, error);
	json_decref(object);
	free(answer.data);
	return rv;
}

/* ---- The command line ---- */

static void
print_usage(FILE *stream)
{
	fputs("usage: culvertctl [-hV] [--control path] [--json] ", stream);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(stream, "%s%s", i > 0 ? " | " : "", commands[i].name);
	putc('\n', stream);
}

static void
print_help(void)
{
	char path[CONTROL_PATH_SIZE];

	print_usage(stdout);
	printf("\n"
	       "      --control path   socket of the culvert to ask (%s)\n"
	       "      --json           print the answer as it came\n"
	       "  -h, --help           print this and exit\n"
	       "  -V, --version        print the version and exit\n"
	       "\n", control_path_default(path));
	for (size_t i = 0; i < COMMANDS; i++)
		printf("  %-20s %s\n", commands[i].name, commands[i].help);
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

/* Returns the one command of the words that are no options, or NULL. */
static const struct command *
parse_words(int nwords, char *const *words)
{
	const struct command *command;

	command = nwords > 0 ? find_command(words[0]) : NULL;
	if (command != NULL && nwords == 1)
		return command;
	if (command != NULL)
		fprintf(stderr, "culvertctl: one command at a time\n");
	print_usage(stderr);
	return NULL;
}

int
main(int argc, char **argv)
{
	enum { CONTROL = 256, JSON }; /* past all letters */
	static const struct option options[] = {
		{ "control", required_argument, NULL, CONTROL },
		{ "json", no_argument, NULL, JSON },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 }
	};
	char buf[CONTROL_PATH_SIZE];
	const char *path = control_path_default(buf);
	const struct command *command;
	bool as_json = false;
	int c;

	opterr = 0; /* it would print values */
	while ((c = getopt_long(argc, argv, "hV", options, NULL)) != -1) {
		switch (c) {
		case CONTROL:
			path = optarg;
			break;
		case JSON:
			as_json = true;
			break;
		case 'h':
			print_help();
			return 0;
		case 'V':
			printf("culvertctl %s\n", CULVERT_VERSION);
			return 0;
		default:
			fprintf(stderr, "culvertctl: unknown option, or one "
			    "without its value\n");
			print_usage(stderr);
			return 2;
		}
	}
	command = parse_words(argc - optind, argv + optind);
	return command != NULL ? run(command, path, as_json) : 2;
}
