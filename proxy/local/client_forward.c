/*
 * The front end of clients that speak no protocol of the proxy: they came to an
 * address that is forwarded to one target, and their first byte is the
 * target's.
 */
#include "proxy/local/client_internal.h"

/* The state is never NEGOTIATING. */
static bool
forward_step(struct client *c)
{
	(void)c;
	return false;
}

static bool
forward_opened(struct client *c)
{
	return !c->closing;
}

/* Without a protocol only a reset says that there is no tunnel. */
static void
forward_refused(struct client *c, const struct connect_error *error)
{
	client_log_end(c, error->text + error->cause);
	c->relay.cut_short = true;
	client_close(c, "there is no tunnel");
}

const struct frontend frontend_forward = {
	.name = "forward",
	.step = forward_step,
	.opened = forward_opened,
	.refused = forward_refused,
};

void
client_forward(struct client *c, const struct target *target)
{
	c->frontend = &frontend_forward;
	client_tunnel_open(c, target);
}
