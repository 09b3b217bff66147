/*
 * The trailer section of a request and of a response.  What is passed on must
 * be a section to the strictest reader: the decoder and the parser of requests
 * take it, with the fields that it has and none that belongs to one hop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/http1/chunked.h"
#include "proxy/local/http/trailer.h"
#include "tests/fuzz/fuzz.h"

static const char last[] = "0\r\n";

/* Gathers a section in two pieces.  Returns whether it is whole. */
static bool
gather(struct trailer *t, bool response, const uint8_t *data, size_t size)
{
	size_t at = 0, used, len, split = fuzz_split(data, size);
	const uint8_t *content;
	struct chunked c;
	int rc = 0;

	chunked_init(&c, response);
	must(chunked_feed(&c, (const uint8_t *)last, strlen(last), &used,
		 &content, &len) == 0);
	must(used == strlen(last) && c.in_trailer);
	while (rc == 0 && at < size) {
		rc = chunked_feed(&c, data + at,
		    (at < split ? split : size) - at, &used, &content, &len);
		must(len == 0 && c.in_trailer);
		must(trailer_add(t, data + at, used) == 0);
		at += used;
	}
	return rc == 1;
}

static void
check_written(const char *fields, size_t len)
{
	static const char *const never[] = { "connection", "content-length",
		"host", "transfer-encoding", "x-hop" };
	char *text = malloc(strlen(last) + len + 2);
	static struct http1_head head;
	const uint8_t *content;
	struct chunked c;
	size_t used, n;
	int rc;

	must(text != NULL);
	memcpy(text, last, strlen(last));
	memcpy(text + strlen(last), fields, len);
	memcpy(text + strlen(last) + len, "\r\n", 2);
	chunked_init(&c, false);
	must(chunked_feed(&c, (uint8_t *)text, strlen(last), &used, &content,
		 &n) == 0);
	rc = chunked_feed(&c, (uint8_t *)text + used, len + 2, &used, &content,
	    &n);
	must(rc == 1 || len > CHUNKED_TRAILER_MAX); /* it grew a little */
	must(http1_trailer_parse(&head, text + strlen(last), len + 2, false) ==
	    0);
	must(!head.odd && head.nfields > 0);
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		must(http1_find(&head, never[i]) == NULL);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http1_head head = { .framing = HTTP1_CHUNKED,
		.noptions = 1 };
	struct trailer t = { .len = 0 };
	char *fields;
	size_t len;
	int rc;

	head.options[0] = SLICE("X-Hop");
	for (int response = 0; response < 2; response++) {
		head.response = response;
		trailer_begin(&t, &head);
		if (!gather(&t, response, data, size))
			continue;
		rc = trailer_write(&t, &fields, &len);
		must(rc == 0 || (rc == -EBADMSG && !response));
		if (rc == 0 && fields != NULL)
			check_written(fields, len);
		if (rc == 0)
			free(fields);
	}
	trailer_fini(&t);
	return 0;
}
