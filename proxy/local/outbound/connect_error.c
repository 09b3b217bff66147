#include "proxy/local/outbound/connect_error.h"

#include <stdio.h>
#include <string.h>

void
connect_error_set(struct connect_error *e, enum connect_error_type type,
    const char *text)
{
	e->type = type;
	e->edge_status = 0;
	e->cause = 0;
	snprintf(e->text, sizeof(e->text), "%s", text);
}

void
connect_error_set_target(struct connect_error *e, const struct target *to,
    enum connect_error_type type, const char *text)
{
	char target[TARGET_STRLEN];

	target_format(to, target, sizeof(target));
	e->type = type;
	e->edge_status = 0;
	e->cause = strlen(target) + strlen(": ");
	snprintf(e->text, sizeof(e->text), "%s: %s", target, text);
}
