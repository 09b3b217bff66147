/*
 * What a client of SOCKS and we say to each other, until it has its tunnel.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/local/client_internal.h"
#include "proxy/local/socks.h"

void
client_socks_say_last(struct client *c)
{
	client_say_last(c, c->socks->out, c->socks->outlen, c->socks->why);
}

void
client_socks_say(struct client *c)
{
	if (client_say(c, c->socks->out, c->socks->outlen))
		socks_sent(c->socks);
	else
		client_close(c, "the client disconnected");
}

static void
check_socks(struct client *c)
{
	struct credentials credentials;

	snprintf(credentials.user, sizeof(credentials.user), "%s",
	    c->socks->user);
	snprintf(credentials.password, sizeof(credentials.password), "%s",
	    c->socks->password);
	client_check(c, &credentials);
	explicit_bzero(&credentials, sizeof(credentials));
}

static bool
begin_socks(struct client *c)
{
	if ((c->socks = malloc(sizeof(*c->socks))) == NULL) {
		client_close(c, "out of memory");
		return false;
	}
	socks_init(c->socks, c->host->users != NULL && !c->origin.crowded);
	return true;
}

bool
client_socks_step(struct client *c)
{
	enum socks_event event;
	size_t used;

	if (c->socks == NULL && !begin_socks(c))
		return false;
	event = socks_feed(c->socks, (uint8_t *)c->buf, c->len, &used);
	client_drop(c, used);
	switch (event) {
	case SOCKS_NEED_MORE:
	case SOCKS_SEND:
		/* What is here may be answered as well: in one write. */
		if (c->len == 0)
			client_socks_say(c);
		return c->len > 0;
	case SOCKS_AUTHENTICATE:
		check_socks(c);
		return true;
	case SOCKS_CONNECT:
		client_tunnel_open(c, &c->socks->target);
		return true;
	case SOCKS_CLOSE:
		break;
	}
	client_socks_say_last(c);
	return false;
}
