/*
 * A request head.  The outcome must be the same when it arrives in two pieces,
 * and what is forwarded must mean the same to the next parser.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/local/http/rewrite.h"
#include "tests/fuzz/fuzz.h"

/* The first piece has memory of its own, so that a sanitizer sees its end. */
static int
parse_parts(struct http1_request *req, const char *text, size_t size,
    size_t split)
{
	char *part = malloc(split + 1);
	size_t scanned = 0;
	int rc;

	must(part != NULL);
	memcpy(part, text, split);
	rc = http1_request_parse(req, part, split, &scanned);
	if (rc == 0)
		rc = http1_request_parse(req, text, size, &scanned);
	free(part);
	return rc;
}

static void
check_same(const struct http1_request *a, const struct http1_request *b)
{
	must(a->form == b->form && a->path.len == b->path.len);
	must(a->head.nfields == b->head.nfields);
	must(a->head.framing == b->head.framing);
	must(a->head.length == b->head.length);
	must(a->head.keep_alive == b->head.keep_alive);
	must(a->authority.port == b->authority.port);
	must(strcmp(a->authority.host, b->authority.host) == 0);
}

static void
check_rewritten(const struct http1_request *req)
{
	static char out[REWRITE_HEAD_MAX];
	static struct http1_request next;
	size_t scanned = 0;
	int len, rc;

	len = rewrite_request(req, true, out, sizeof(out));
	must(len > 0 || len == -ELOOP);
	if (len < 0)
		return;
	rc = http1_request_parse(&next, out, (size_t)len, &scanned);
	if (rc == -EMSGSIZE) /* it grew by the little that it may */
		return;
	must(rc == len);
	must(next.form == HTTP1_ORIGIN || next.form == HTTP1_ASTERISK);
	must(next.head.framing == req->head.framing);
	must(next.head.length == req->head.length);
	must(next.authority.port == req->authority.port);
	must(strcmp(next.authority.host, req->authority.host) == 0);
	must(next.head.keep_alive);
	must(next.upgrade == rewrite_upgrades(req));
	must(http1_find(&next.head, "proxy-authorization") == NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http1_request whole, parts;
	size_t scanned = 0, split = fuzz_split(data, size);
	int rc;

	rc = http1_request_parse(&whole, (const char *)data, size, &scanned);
	must(rc <= (int)size && (rc < 0) == (whole.head.why[0] != '\0'));
	must(rc >= 0 || http1_error_status(rc) != 500);
	must(parse_parts(&parts, (const char *)data, size, split) == rc);
	if (rc <= 0)
		return 0;
	if (split < (size_t)rc)
		check_same(&whole, &parts);
	if (whole.form == HTTP1_ABSOLUTE)
		check_rewritten(&whole);
	return 0;
}
