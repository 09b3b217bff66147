/*
 * A response head, to HEAD and to another method.  The outcome must be the
 * same when it arrives in two pieces, and what is forwarded must mean to the
 * client what we act upon.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/local/http/rewrite.h"
#include "tests/fuzz/fuzz.h"

/* The first piece has memory of its own, so that a sanitizer sees its end. */
static int
parse_parts(struct http1_response *resp, const char *text, size_t size,
    size_t split, bool head_request)
{
	char *part = malloc(split + 1);
	size_t scanned = 0;
	int rc;

	must(part != NULL);
	memcpy(part, text, split);
	rc = http1_response_parse(resp, part, split, &scanned, head_request);
	if (rc == 0)
		rc = http1_response_parse(resp, text, size, &scanned,
		    head_request);
	free(part);
	return rc;
}

static void
check_rewritten(const struct http1_response *resp, bool head_request, int minor,
    bool keep_alive)
{
	static char out[REWRITE_HEAD_MAX];
	static struct http1_response next;
	enum http1_framing framing = rewrite_framing(resp, minor);
	size_t scanned = 0;
	int len, rc;

	len = rewrite_response(resp, minor, keep_alive, true, out, sizeof(out));
	must(len > 0);
	rc = http1_response_parse(&next, out, (size_t)len, &scanned,
	    head_request);
	if (rc == -EMSGSIZE) /* it grew by the little that it may */
		return;
	must(rc == len && next.status == resp->status);
	must(next.head.framing == framing);
	must(framing != HTTP1_LENGTH || next.head.length == resp->head.length);
	if (resp->status / 100 != 1 && !next.head.odd)
		must(next.head.keep_alive ==
		    (keep_alive && framing != HTTP1_UNTIL_CLOSE));
}

static void
check(const char *text, size_t size, size_t split, bool head_request)
{
	static struct http1_response whole, parts;
	size_t scanned = 0;
	int rc;

	rc = http1_response_parse(&whole, text, size, &scanned, head_request);
	must(rc <= (int)size && (rc < 0) == (whole.head.why[0] != '\0'));
	must(parse_parts(&parts, text, size, split, head_request) == rc);
	if (rc <= 0)
		return;
	must(!head_request || whole.head.framing == HTTP1_NONE);
	for (int minor = 0; minor < 2; minor++) {
		check_rewritten(&whole, head_request, minor, true);
		check_rewritten(&whole, head_request, minor, false);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t split = fuzz_split(data, size);

	check((const char *)data, size, split, false);
	check((const char *)data, size, split, true);
	return 0;
}
