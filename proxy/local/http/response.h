#ifndef CULVERT_PROXY_LOCAL_HTTP_RESPONSE_H
#define CULVERT_PROXY_LOCAL_HTTP_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "proxy/base/stream.h"
#include "proxy/http1/http1.h"
#include "proxy/local/http/body.h"
#include "proxy/local/http/request.h"

/*
 * The response to one request, between the stream to the origin and the
 * client's TCP connection: interim responses, the final header section and the
 * body, framed anew for the client. exchange.c drives it.
 */

/*
 * Pieces of content in one write: 1 MiB at most, so that flow control credit
 * goes back meanwhile, and enough that small chunks share a system call.
 */
#define RESPONSE_PIECES_MAX 16

/*
 * A write: the header section, the size of the chunk, its content and its end,
 * each of which may be absent. Content stays in the stream until it is written.
 */
struct response_batch {
	uv_buf_t bufs[2 + RESPONSE_PIECES_MAX + 1];
	size_t pieces;	/* of content, from the third buffer on */
	size_t content; /* bytes of it */
	size_t len;	/* bytes of all buffers */
	size_t consume; /* bytes of the stream to consume afterwards */
	char *head;
	char *trailer; /* the end, if it has a trailer section */
	char size[CHUNKED_HEAD_MAX];
};

struct response {
	/* For the owner to read. */
	bool received;		/* the origin has sent something, ... */
	bool unrelated;		/* ... but no response to this request */
	bool answered;		/* the final response is on its way */
	bool declined;		/* ... in place of 100, see response.c */
	bool repeat;		/* ... by 417: the request may come again */
	bool client_keep_alive; /* ... and keeps the client's connection */
	bool origin_keep_alive; /* ... and the origin's, which ... */
	bool pinned;	/* ... is authenticated for this client: pinned.h */
	bool handshake; /* ... or the client has begun to do so */
	enum http1_framing framing; /* of the final response to the client */
	bool switched;		    /* 101: what the stream has is not HTTP */
	bool client_lost;	    /* the client does not take it */
	bool writing;	  /* on_written follows: the memory must stay */
	const char *why;  /* after RESPONSE_FAILED, until the next begins */
	bool via;	  /* for the owner to set: Via names the proxy */
	bool reused;	  /* ... and another stream is tried after this one */
	uint64_t written; /* bytes that the client's kernel took, ever */

	/* Private. */
	uv_tcp_t *tcp;
	void (*on_written)(void *arg);
	void *arg;
	struct stream *stream;
	const struct request *request; /* that it answers */
	char *gathered; /* a header section that came in pieces */
	size_t gathered_len, gathered_size, scanned;
	int interim; /* the status of the last interim response, or 0 */
	char fault[HTTP1_WHY_MAX + 112]; /* for why */
	struct body body;
	bool ended;		  /* the last byte is in the batch */
	const char *deferred_why; /* for why, when the batch is written */
	struct response_batch batch;
	uv_write_t write;
};

enum response_state {
	RESPONSE_PENDING, /* pump again when the stream is readable */
	RESPONSE_DONE,	  /* all of it is written, or all of 101 */
	RESPONSE_FAILED	  /* it stays incomplete: see why */
};

/*
 * Prepares *r, which is zeroed, for responses to the client on `tcp`, one after
 * another. `on_written` fires from the loop when a write that had to wait is
 * over, successful or not: pump again, if there is still something to pump.
 */
void response_init(struct response *r, uv_tcp_t *tcp,
    void (*on_written)(void *arg), void *arg);

/* Frees what it owns. Not while r->writing. */
void response_fini(struct response *r);

/*
 * Drops the last response and expects the one to `request`, which stays where
 * it is meanwhile. Not while r->writing.
 */
void response_begin(struct response *r, const struct request *request);

/*
 * Sets the stream that the response comes from; NULL: it is gone. What came
 * from an earlier stream is dropped unless r->answered, since another stream
 * may be tried; and r->pinned becomes false, which the owner may change.
 *
 * After NULL while r->writing the client's handle must be closed before the
 * loop goes on, as the bytes being written went with the stream.
 */
void response_set_stream(struct response *r, struct stream *stream);

/*
 * Writes what the stream has, as far as the client takes it. The stream gets
 * credit for bytes once they are written, and no more are taken while a write
 * is under way.
 */
enum response_state response_pump(struct response *r);

#endif
