#include "proxy/base/malloc_trim.h"

#include <malloc.h>

static void
on_quiet(uv_timer_t *timer)
{
	(void)timer;
	malloc_trim(0);
}

void
malloc_trim_init(struct malloc_trim *trim, uv_loop_t *loop)
{
	uv_timer_init(loop, &trim->timer);
	uv_unref((uv_handle_t *)&trim->timer);
}

void
malloc_trim_quiet(struct malloc_trim *trim)
{
	if (!uv_is_closing((uv_handle_t *)&trim->timer))
		uv_timer_start(&trim->timer, on_quiet, MALLOC_TRIM_DELAY_MS, 0);
}

void
malloc_trim_busy(struct malloc_trim *trim)
{
	uv_timer_stop(&trim->timer);
}

void
malloc_trim_close(struct malloc_trim *trim, uv_close_cb on_closed)
{
	uv_close((uv_handle_t *)&trim->timer, on_closed);
}
