#include "proxy/base/tunnel_kind.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

int
tunnel_kind_parse(enum tunnel_kind *kind, const char *method,
    const char *protocol)
{
	if (method == NULL || strcmp(method, "CONNECT") != 0 ||
	    protocol != NULL)
		return -EPROTONOSUPPORT;
	*kind = TUNNEL_TCP;
	return 0;
}
