#ifndef CULVERT_PROXY_LOCAL_OUTBOUND_REFUSE_OUTBOUND_H
#define CULVERT_PROXY_LOCAL_OUTBOUND_REFUSE_OUTBOUND_H

#include <uv.h>

#include "proxy/local/outbound/outbound.h"

/* An outbound that refuses every request, after a millisecond. */
struct refuse_outbound;

/* Says why: fills the error, as connect_error_set_target() does. */
typedef void
refuse_explain(void *arg, const struct target *target, struct connect_error *);

/* 0 or -ENOMEM. */
int refuse_outbound_new(struct refuse_outbound **, uv_loop_t *,
    refuse_explain *explain, void *arg);

/* To open tunnels with; valid until it is freed. */
struct outbound *refuse_outbound_get(struct refuse_outbound *);

/*
 * Refuses the requests that wait, within this call, and frees when the loop has
 * closed the handle. No request may come any more. NULL is a no-op.
 */
void refuse_outbound_free(struct refuse_outbound *);

#endif
