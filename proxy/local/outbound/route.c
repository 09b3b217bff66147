#include "proxy/local/outbound/route.h"

#include <stdio.h>

struct outbound *
route(const struct routes *routes, unsigned listener,
    const struct target *target)
{
	struct route_rule rule;

	(void)listener;
	if (routes->rules == NULL ||
	    !route_rules_find(routes->rules, target, &rule))
		return routes->edges;
	switch (rule.action) {
	case ROUTE_DIRECT:
		return routes->direct;
	case ROUTE_BLOCK:
		return routes->block;
	case ROUTE_TUNNEL:
	case ROUTE_EDGE: /* there are no such rules yet: see culvert.c */
		break;
	}
	return routes->edges;
}

void
route_explain(const struct routes *routes, const struct target *target,
    struct connect_error *error)
{
	char text[CONNECT_ERROR_TEXT_MAX];
	struct route_rule rule;

	/* The rules may have been replaced since. */
	if (routes->rules == NULL ||
	    !route_rules_find(routes->rules, target, &rule))
		rule = (struct route_rule){ .file = "the rules" };
	snprintf(text, sizeof(text), "a rule of culvert blocks it (%s:%u)",
	    rule.file, rule.line);
	connect_error_set_target(error, target, CONNECT_ERROR_RULE, text);
}
