#ifndef CULVERT_PROXY_LOCAL_HTTP_RESPONSE_H
#define CULVERT_PROXY_LOCAL_HTTP_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "proxy/http1/http1.h"
#include "proxy/local/http/body.h"
#include "proxy/local/http/request.h"
#include "quic/quic.h"

/*
 * The response to one request, on its way from the stream that leads to the
 * origin to the client's TCP connection: interim heads, the final head and the
 * body, framed anew for the client.  proxy/local/http/exchange.c drives it.
 */

/*
 * Pieces of content in one write: 1 MiB at most, so that credit flows
 * meanwhile, and enough that an origin's small chunks share a system call.
 */
#define RESPONSE_PIECES_MAX 16

/*
 * A write: the head, the size of the chunk, its content and its end, each of
 * which may be absent.  Content stays in the stream until it is written.
 */
struct response_batch {
	uv_buf_t bufs[2 + RESPONSE_PIECES_MAX + 1];
	size_t pieces;	/* of content, from the third buffer on */
	size_t content; /* bytes of it */
	size_t len;	/* bytes of all buffers */
	size_t consume; /* bytes of the stream that are done with then */
	char *head;
	char *trailer; /* the end, if it is more than the usual one */
	char size[CHUNKED_HEAD_MAX];
};

struct response {
	/* For the owner to read. */
	bool seen;	    /* the origin has sent something, ... */
	bool foreign;	    /* which is no part of an answer to this request */
	bool answered;	    /* the final head is on its way to the client */
	bool client_stays;  /* ... and says that its connection stays open */
	bool origin_stays;  /* the origin said so of its own, which ... */
	bool pinned;	    /* ... is authenticated for this client: pinned.h */
	bool handshake;	    /* ... or the client has begun to do so */
	enum http1_framing framing; /* of the final response to the client */
	bool switched;	    /* 101: what the stream has is not HTTP */
	bool lost;	    /* the client does not take it */
	bool writing;	    /* on_written will come: the memory must stay */
	const char *why;    /* after RESPONSE_FAILED, until the next begins */
	bool via;	    /* for the owner to set: heads name the proxy */
	bool reused;	    /* ... and another stream is tried after this */
	uint64_t written;   /* bytes that the client's kernel took, ever */

	/* Private. */
	uv_tcp_t *tcp;
	void (*on_written)(void *arg);
	void *arg;
	struct quic_stream *stream;
	const struct request *request; /* that it answers */
	char *gathered; /* a head that is not contiguous in the stream */
	size_t gathered_len, gathered_size, scanned;
	int interim; /* the status of the last interim response, or 0 */
	char fault[HTTP1_WHY_MAX + 112]; /* for why */
	struct body body;
	bool ended;		    /* the last byte is in the batch */
	const char *why_then;	    /* for why, when the batch is written */
	struct response_batch batch;
	uv_write_t write;
};

enum response_state {
	RESPONSE_GOES_ON, /* pump again when the stream is readable */
	RESPONSE_DONE,	  /* all of it is written, or all of 101 */
	RESPONSE_FAILED	  /* it will not be completed: see why */
};

/*
 * Readies *r, which is zeroed, for responses to the client on `tcp`, one after
 * another.  `on_written` comes from the loop when a write that had to wait is
 * over, successful or not: pump again, if there is still something to pump.
 */
void response_init(struct response *r, uv_tcp_t *tcp,
    void (*on_written)(void *arg), void *arg);

/* Frees what it owns.  Not while r->writing. */
void response_fini(struct response *r);

/*
 * Forgets the last response and expects the one to `request`, which stays where
 * it is meanwhile.  Not while r->writing.
 */
void response_begin(struct response *r, const struct request *request);

/*
 * Says where the response comes from, or with NULL that the stream is gone.
 * What came from an earlier stream is forgotten, if it was no answer, since
 * another may be tried; and it is not r->pinned, unless the owner knows
 * better and says so.
 *
 * While r->writing, NULL means that the client's handle must be closed before
 * the loop goes on, as the bytes being written went with the stream.
 */
void response_from(struct response *r, struct quic_stream *stream);

/*
 * Writes what the stream has, as far as the client takes it; bytes go back to
 * the stream as credit once they are written, and no more are taken while a
 * write is under way.
 */
enum response_state response_pump(struct response *r);

#endif
