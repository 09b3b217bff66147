/*
 * The header sections of requests and responses, field by field.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "quic/internal.h"

/* Initial bytes: for an authority, credentials and a few fields. */
#define HEAD_FIRST 512

/* ---- The buffer ---- */

/* Makes room for `n` more bytes of text. It may move s->head. */
static int
head_grow(struct quic_stream *s, size_t n)
{
	struct header_section *head = s->head;
	size_t size = head != NULL ? head->size : HEAD_FIRST;

	if (head != NULL && head->size - head->len >= n)
		return 0;
	if (head != NULL && QUIC_HEADER_SECTION_MAX - head->len < n)
		return -EMSGSIZE;
	while (head != NULL && size - head->len < n)
		size *= 2;
	head = memory_realloc(s->conn, head, sizeof(*head) + size);
	if (head == NULL)
		return -ENOMEM;
	if (s->head == NULL)
		head->n = head->len = 0;
	head->size = size;
	s->head = head;
	return 0;
}

/* Appends a string that nghttp3 has checked, except for a NUL. */
static int
head_store(struct quic_stream *s, nghttp3_rcbuf *rcbuf)
{
	nghttp3_vec v = nghttp3_rcbuf_get_buf(rcbuf);
	char *to;
	int rv;

	if (memchr(v.base, '\0', v.len) != NULL)
		return -EINVAL;
	if ((rv = head_grow(s, v.len + 1)) != 0)
		return rv;
	to = s->head->text + s->head->len;
	memcpy(to, v.base, v.len);
	to[v.len] = '\0';
	s->head->len += v.len + 1;
	return 0;
}

struct quic_header_section
header_section_view(const struct header_section *head,
    struct quic_field fields[QUIC_FIELDS_MAX])
{
	const char *text = head->text;

	for (size_t i = 0; i < head->n; i++) {
		fields[i].name = text;
		fields[i].value = text += strlen(text) + 1;
		text += strlen(text) + 1;
	}
	return (struct quic_header_section){ fields, head->n };
}

const char *
quic_header_section_find(const struct quic_header_section *head,
    const char *name)
{
	for (size_t i = 0; i < head->n; i++)
		if (strcmp(head->fields[i].name, name) == 0)
			return head->fields[i].value;
	return NULL;
}

/* ---- Callbacks of nghttp3 ---- */

int
header_section_begin(nghttp3_conn *h3, int64_t id, void *user, void *stream)
{
	struct quic_conn *conn = user;
	struct quic_stream *s = stream != NULL ? stream
					       : conn->h3_reader.stream;

	if (s == NULL || (s->pending & PENDING_ABORTED) != 0)
		return 0;
	nghttp3_conn_set_stream_user_data(h3, id, s);
	if (head_grow(s, 0) != 0)
		return NGHTTP3_ERR_CALLBACK_FAILURE;
	s->head->n = s->head->len = 0;
	return 0;
}

/* Without s->head the rest of the fields is ignored, and so is their end. */
static void
refuse_head(struct quic_stream *s)
{
	memory_release(s->conn, s->head);
	s->head = NULL;
	stream_abort(s, QUIC_H3_EXCESSIVE_LOAD);
	ngtcp2_conn_shutdown_stream(s->conn->quic, 0, s->id,
	    QUIC_H3_EXCESSIVE_LOAD);
}

int
header_section_field(nghttp3_conn *h3, int64_t id, int32_t token,
    nghttp3_rcbuf *name, nghttp3_rcbuf *value, uint8_t flags, void *user,
    void *stream)
{
	struct quic_stream *s = stream;

	(void)h3, (void)id, (void)token, (void)flags, (void)user;
	if (s == NULL || s->head == NULL)
		return 0;
	if (s->head->n == QUIC_FIELDS_MAX || head_store(s, name) != 0 ||
	    head_store(s, value) != 0)
		refuse_head(s);
	else
		s->head->n++;
	return 0;
}

int
header_section_end(nghttp3_conn *h3, int64_t id, int fin, void *user,
    void *stream)
{
	struct quic_conn *conn = user;
	struct quic_stream *s = stream;
	struct quic_field fields[QUIC_FIELDS_MAX];
	struct quic_header_section head;
	const char *status;

	(void)h3, (void)id, (void)fin;
	if (s == NULL || s->head == NULL)
		return 0;
	if (!conn_is_server(conn)) {
		head = header_section_view(s->head, fields);
		/* A tunnel needs no interim response. */
		status = quic_header_section_find(&head, ":status");
		if (status == NULL || status[0] == '1')
			return 0;
	}
	pending_request_remove(s);
	stream_pend(s, PENDING_HEAD);
	return 0;
}
