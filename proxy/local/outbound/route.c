#include "proxy/local/outbound/route.h"

struct outbound *
route(const struct routes *routes, unsigned listener,
    const struct target *target)
{
	(void)listener, (void)target;
	return routes->edges;
}
