#include "proxy/local/upstream/repair_history.h"

#include <stdio.h>
#include <string.h>

static bool
is_path(const struct repair_path *path, const char *network, const char *edge)
{
	return path->used != 0 && strcmp(path->network, network) == 0 &&
	    strcmp(path->edge, edge) == 0;
}

void
repair_history_note(struct repair_history *m, const char *network,
    const char *edge, const struct quic_repair *repair)
{
	struct repair_path *path = &m->paths[0];

	for (size_t i = 0; i < REPAIR_PATHS_MAX; i++) {
		if (is_path(&m->paths[i], network, edge)) {
			path = &m->paths[i];
			break;
		}
		if (m->paths[i].used < path->used)
			path = &m->paths[i]; /* the oldest, if there is none */
	}
	snprintf(path->network, sizeof(path->network), "%s", network);
	snprintf(path->edge, sizeof(path->edge), "%s", edge);
	path->repair = *repair;
	path->used = ++m->uses;
}

struct quic_repair
repair_history_find(const struct repair_history *m, const char *network,
    const char *edge)
{
	for (size_t i = 0; i < REPAIR_PATHS_MAX; i++)
		if (is_path(&m->paths[i], network, edge))
			return m->paths[i].repair;
	return (struct quic_repair){ 0, 0 };
}
