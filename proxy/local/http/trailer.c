#include "proxy/local/http/trailer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/local/http/rewrite.h"

/* Bytes of a section at first: a checksum, or the two fields of gRPC. */
#define TEXT_FIRST 256

/* Bytes that a rewritten section may have for one that came. */
#define GROWTH 2

static void
copy_options(struct trailer *t, const struct http1_head *head)
{
	size_t len = 0;

	for (size_t i = 0; i < head->noptions; i++)
		len += head->options[i].len + 1;
	if (len == 0 || (t->options = malloc(len)) == NULL) {
		t->options_len = len;
		return;
	}
	for (size_t i = 0; i < head->noptions; i++) {
		struct slice name = head->options[i];

		memcpy(t->options + t->options_len, name.p, name.len);
		t->options_len += name.len;
		t->options[t->options_len++] = ',';
	}
}

void
trailer_begin(struct trailer *t, const struct http1_head *head)
{
	trailer_fini(t);
	t->response = head->response;
	if (head->framing == HTTP1_CHUNKED)
		copy_options(t, head);
}

void
trailer_fini(struct trailer *t)
{
	free(t->options);
	free(t->text);
	memset(t, 0, sizeof(*t));
}

int
trailer_add(struct trailer *t, const void *data, size_t len)
{
	size_t size = t->size > 0 ? t->size : TEXT_FIRST;
	char *grown;

	if (len == 0)
		return 0;
	if (t->options == NULL && t->options_len > 0)
		return -ENOMEM;
	while (size < t->len + len)
		size *= 2;
	if (size > t->size) {
		if ((grown = realloc(t->text, size)) == NULL)
			return -ENOMEM;
		t->text = grown;
		t->size = size;
	}
	memcpy(t->text + t->len, data, len);
	t->len += len;
	return 0;
}

int
trailer_write(const struct trailer *t, char **out, size_t *len)
{
	struct slice options = { t->options, t->options_len };
	struct http1_head head;
	int rv;

	*out = NULL;
	*len = 0;
	if (t->len <= strlen("\r\n"))
		return 0;
	rv = http1_trailer_parse(&head, t->text, t->len, t->response);
	if (rv < 0)
		return -EBADMSG;
	if ((*out = malloc(GROWTH * t->len)) == NULL)
		return -ENOMEM;
	rv = rewrite_trailer(&head, options, *out, GROWTH * t->len);
	if (rv > 0) {
		*len = (size_t)rv;
		return 0;
	}
	free(*out);
	*out = NULL;
	return 0;
}
