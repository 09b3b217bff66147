/*
 * A body in the chunked coding, of a request and of a response.  It must come
 * out the same decoded whole and in two pieces, and again when its content is
 * coded by us; and what is good in a request is the same in a response.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/http1/chunked.h"
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
run(struct outcome *o, bool response, const uint8_t *data, size_t size,
    size_t split)
{
	struct chunked c;

	*o = (struct outcome){ .content = malloc(size + 1) };
	must(o->content != NULL);
	chunked_init(&c, response);
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
	chunked_init(&c, false);
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

static void
check_same(const struct outcome *a, const struct outcome *b)
{
	must(a->rc == b->rc && a->consumed == b->consumed);
	must(a->len == b->len);
	must(memcmp(a->content, b->content, a->len) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole[2], parts;
	size_t split = fuzz_split(data, size);

	for (int response = 0; response < 2; response++) {
		run(&whole[response], response, data, size, 0);
		run(&parts, response, data, size, split);
		check_same(&whole[response], &parts);
		check_format(&whole[response]);
		free(parts.content);
	}
	if (whole[0].rc >= 0)
		check_same(&whole[0], &whole[1]);
	free(whole[0].content);
	free(whole[1].content);
	return 0;
}
