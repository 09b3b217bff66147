#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/control/control_client.h"
#include "proxy/base/control_path.h"
#include "proxy/http1/http1.h"

/* Seconds without a byte after which the request fails. */
#define TIMEOUT_S 5

/* Bytes of an answer: twice what 65536 tunnels with the longest names need. */
#define ANSWER_MAX (64 * 1024 * 1024)

/* Initial bytes of the answer's buffer; it doubles from there. */
#define ANSWER_FIRST 16384

/* All bytes of the answer; the slices of the head point into it. */
struct answer {
	char *data;
	size_t len, size;
};

static int
send_request(int fd, const char *request)
{
	char text[256];
	int len = snprintf(text, sizeof(text),
	    "%s HTTP/1.1\r\nHost: culvert\r\nConnection: close\r\n\r\n",
	    request);

	/* So short a text is sent whole or not at all. */
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

/* Fills answer, whose data the caller frees, also after an error. */
static int
fetch(const char *path, const char *request, struct answer *answer)
{
	int fd, error;

	fd = control_path_connect(path, TIMEOUT_S);
	if (fd < 0)
		return fd;
	error = send_request(fd, request);
	if (error == 0)
		error = read_answer(fd, answer);
	close(fd);
	return error;
}

/*
 * Parses the answer.  Returns 0, -EPIPE if it is truncated, or -EPROTO if it is
 * not an answer of culvert's.
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

/* ---- Errors ---- */

static void
explain(const char *path, int error, char text[CONTROL_CLIENT_ERROR_MAX])
{
	switch (-error) {
	case ENOENT:
	case ECONNREFUSED:
		snprintf(text, CONTROL_CLIENT_ERROR_MAX,
		    "culvert is not "
		    "running (no answer at %s: %s)",
		    path, strerror(-error));
		break;
	case EAGAIN:
		snprintf(text, CONTROL_CLIENT_ERROR_MAX,
		    "culvert does not "
		    "answer within %d s at %s",
		    TIMEOUT_S, path);
		break;
	case EPIPE:
	case ECONNRESET:
		snprintf(text, CONTROL_CLIENT_ERROR_MAX,
		    "culvert at %s closed "
		    "the connection before it had answered",
		    path);
		break;
	case EPROTO:
	case EMSGSIZE:
		snprintf(text, CONTROL_CLIENT_ERROR_MAX,
		    "the process that "
		    "answers at %s is not culvert",
		    path);
		break;
	default:
		snprintf(text, CONTROL_CLIENT_ERROR_MAX,
		    "cannot query culvert "
		    "at %s: %s",
		    path, strerror(-error));
	}
}

static void
explain_refusal(int status, const json_t *object,
    char text[CONTROL_CLIENT_ERROR_MAX])
{
	const char *why = json_string_value(json_object_get(object, "error"));

	snprintf(text, CONTROL_CLIENT_ERROR_MAX, "culvert answers %d: %s",
	    status, why != NULL ? why : http1_reason(status));
}

json_t *
control_request(const char *path, const char *request,
    char error[CONTROL_CLIENT_ERROR_MAX])
{
	struct answer answer = { 0 };
	json_t *object = NULL;
	int status = 0, rv;

	rv = fetch(path, request, &answer);
	if (rv == 0)
		rv = parse_answer(&answer, &status, &object);
	free(answer.data);
	if (rv != 0)
		explain(path, rv, error);
	else if (status == 200)
		return object;
	else
		explain_refusal(status, object, error);
	json_decref(object);
	return NULL;
}
