#ifndef CULVERT_PROXY_LOCAL_PAC_H
#define CULVERT_PROXY_LOCAL_PAC_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/local/outbound/route_rules.h"

/*
 * Proxy auto-configuration: the function with which browsers choose a proxy. It
 * decides as the rules do, so that what goes direct anyway does not pass
 * through the proxy. Pure.
 */

/* Bytes of the function. If the rules need more, the rest is left to culvert. */
#define PAC_MAX (32 * 1024)

struct pac {
	const char *listener; /* "127.0.0.1:1080" */
	bool password;	      /* browsers send none in SOCKS: HTTP alone */
	bool all;	      /* private names, too, if no rule covers them */
	const struct route_rules *rules; /* NULL: none */
};

/* Writes the function with its NUL. Returns its length. */
size_t pac_write(const struct pac *, char out[PAC_MAX]);

#endif
