/*
 * The front end that refuses TLS: `https://` in the proxy setting of a browser
 * or of curl leads here. The client would show no page, so the answer is an
 * alert, and the explanation is in the log.
 */
#include "proxy/base/addr.h"
#include "proxy/base/log.h"
#include "proxy/local/client_internal.h"

/* Milliseconds between two warnings, at least. */
#define WARN_INTERVAL_MS 60000

static void
warn(struct client *c)
{
	uint64_t now = uv_now(c->clients->loop);
	char peer[ADDR_STRLEN];

	if (c->clients->tls_warned_ms != 0 &&
	    now - c->clients->tls_warned_ms <= WARN_INTERVAL_MS)
		return;
	c->clients->tls_warned_ms = now;
	log_warn("%s speaks TLS to this port, which speaks plain HTTP and "
		 "SOCKS: its proxy setting must say http://, not https://",
	    addr_format((const struct sockaddr *)&c->source.peer, peer));
}

static bool
tls_step(struct client *c)
{
	/* A fatal unexpected_message (RFC 8446 §6). */
	static const uint8_t alert[] = { 21, 3, 3, 0, 2, 2, 10 };

	warn(c);
	client_write_last(c, alert, sizeof(alert),
	    "it speaks TLS to a port for plain HTTP and SOCKS");
	return false;
}

const struct frontend frontend_tls = { .step = tls_step };
