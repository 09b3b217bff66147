/*
 * A body in the chunked coding.  It must come out the same decoded whole and
 * in two pieces, and again when its content is coded by us.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/chunked.h"
#include "tests/fuzz/fuzz.h"

struct outcome {
	uint8_t *content; /* as large as the input */
	size_t len;
	size_t consumed;
	int rc;
};

static void
feed(struct chunked *c, struct outcome *o, const uint8_t *in, size_t size)
{
	const uint8_t *data;
	size_t consumed, len;

	while (size > 0 && o->rc == 0) {
		o->rc = chunked_feed(c, in, size, &consumed, &data, &len);
		must(consumed > 0 && consumed <= size);
		must(data >= in && data + len <= in + consumed);
		memcpy(o->content + o->len, data, len);
		o->len += len;
		o->consumed += consumed;
		in += consumed;
		size -= consumed;
	}
	must(o->rc == 0 || o->rc == 1 || o->rc == -EBADMSG);
}

static void
run(struct outcome *o, const uint8_t *data, size_t size, size_t split)
{
	struct chunked c;

	*o = (struct outcome){ .content = malloc(size + 1) };
	must(o->content != NULL);
	chunked_init(&c);
	feed(&c, o, data, split);
	feed(&c, o, data + split, size - split);
}

static void
check_format(const struct outcome *o)
{
	struct outcome again = { .content = malloc(o->len + 1) };
	char head[CHUNKED_HEAD_MAX];
	struct chunked c;

	must(again.content != NULL);
	chunked_init(&c);
	if (o->len > 0) {
		feed(&c, &again, (uint8_t *)head, chunked_format(head, o->len));
		feed(&c, &again, o->content, o->len);
		feed(&c, &again, (const uint8_t *)"\r\n", 2);
	}
	feed(&c, &again, (const uint8_t *)CHUNKED_LAST, strlen(CHUNKED_LAST));
	must(again.rc == 1 && again.len == o->len);
	must(memcmp(again.content, o->content, o->len) == 0);
	free(again.content);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole, parts;
	size_t split = fuzz_split(data, size);

	run(&whole, data, size, 0);
	run(&parts, data, size, split);
	must(whole.rc == parts.rc && whole.consumed == parts.consumed);
	must(whole.len == parts.len);
	must(memcmp(whole.content, parts.content, whole.len) == 0);
	check_format(&whole);
	free(whole.content);
	free(parts.content);
	return 0;
}
