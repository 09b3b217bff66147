/*
 * The front ends for SOCKS5 and SOCKS4: socks.c parses, and this file carries
 * its events to the client core and its answers to the client. The session is a
 * struct socks, until the tunnel is open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/local/client_internal.h"
#include "proxy/local/socks.h"

/* For the reason in socks->why, unless the log has a line already. */
static void
write_last(struct client *c)
{
	struct socks *socks = c->session;

	client_write_last(c, socks->out, socks->outlen, socks->why);
}

static void
write_answer(struct client *c)
{
	struct socks *socks = c->session;

	if (client_write(c, socks->out, socks->outlen))
		socks_sent(socks);
	else
		client_close(c, "the client disconnected");
}

static void
check(struct client *c)
{
	const struct socks *socks = c->session;
	struct credentials credentials;

	snprintf(credentials.user, sizeof(credentials.user), "%s", socks->user);
	snprintf(credentials.password, sizeof(credentials.password), "%s",
	    socks->password);
	client_check_password(c, &credentials);
	explicit_bzero(&credentials, sizeof(credentials));
}

static bool
begin(struct client *c)
{
	if ((c->session = malloc(sizeof(struct socks))) == NULL) {
		client_close(c, "out of memory");
		return false;
	}
	socks_init(c->session,
	    c->clients->users != NULL && !c->source.over_limit);
	return true;
}

static bool
socks_step(struct client *c)
{
	struct socks *socks;
	enum socks_event event;
	size_t used;

	if (c->session == NULL && !begin(c))
		return false;
	socks = c->session;
	event = socks_feed(socks, (uint8_t *)c->buf, c->len, &used);
	client_consume(c, used);
	switch (event) {
	case SOCKS_NEED_MORE:
	case SOCKS_SEND:
		/* The rest of the buffer may add to the same write. */
		if (c->len == 0)
			write_answer(c);
		return c->len > 0;
	case SOCKS_AUTHENTICATE:
		check(c);
		return true;
	case SOCKS_CONNECT:
		client_tunnel_open(c, &socks->target);
		return true;
	case SOCKS_CLOSE:
		break;
	}
	write_last(c);
	return false;
}

/*
 * The answer to a password is either success or failure (RFC 1929). After an
 * overload it is success, and then the request for a tunnel is refused.
 */
static void
socks_checked(struct client *c, enum users_verdict verdict)
{
	c->overloaded = verdict == USERS_OVERLOAD;
	if (socks_authenticated(c->session, verdict != USERS_WRONG) ==
	    SOCKS_CLOSE)
		write_last(c);
	else if (c->len == 0)
		write_answer(c);
}

static bool
socks_opened(struct client *c)
{
	struct socks *socks = c->session;
	bool ok;

	socks_reply(socks, SOCKS_SUCCEEDED);
	ok = client_write(c, socks->out, socks->outlen);
	free(socks);
	c->session = NULL;
	return ok;
}

static void
socks_refused(struct client *c, const struct connect_error *error)
{
	client_log_end(c, error->text + error->cause);
	socks_reply(c->session, socks_code_of(error));
	write_last(c);
}

/* A password that is still being checked is wiped. */
static void
socks_end(struct client *c)
{
	if (c->session != NULL)
		socks_authenticated(c->session, false);
	free(c->session);
	c->session = NULL;
}

const struct frontend frontend_socks4 = {
	.name = "socks4",
	.step = socks_step,
	.checked = socks_checked,
	.opened = socks_opened,
	.refused = socks_refused,
	.end = socks_end,
};

const struct frontend frontend_socks5 = {
	.name = "socks5",
	.step = socks_step,
	.checked = socks_checked,
	.opened = socks_opened,
	.refused = socks_refused,
	.end = socks_end,
};
