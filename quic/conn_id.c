#include "quic/conn_id.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

static int
compare(const void *a, const void *b)
{
	const ngtcp2_cid *x = a, *y = b;

	if (x->datalen != y->datalen)
		return x->datalen < y->datalen ? -1 : 1;
	return memcmp(x->data, y->data, x->datalen);
}

struct conn_id *
conn_id_find(const struct conn_id_map *map, const ngtcp2_cid *cid)
{
	struct conn_id *const *found = tfind(cid, &map->tree, compare);

	return found != NULL ? *found : NULL;
}

int
conn_id_add(struct conn_id_map *map, struct conn_ids *list,
    struct quic_conn *conn, const ngtcp2_cid *cid)
{
	struct conn_id *id = calloc(1, sizeof(*id)), **found;

	if (id == NULL)
		return -ENOMEM;
	id->cid = *cid;
	id->conn = conn;
	found = tsearch(id, &map->tree, compare);
	if (found == NULL || *found != id) {
		free(id);
		return found == NULL ? -ENOMEM : -EEXIST;
	}
	LIST_INSERT_HEAD(list, id, entry);
	return 0;
}

void
conn_id_free(struct conn_id_map *map, struct conn_id *id)
{
	tdelete(id, &map->tree, compare);
	LIST_REMOVE(id, entry);
	free(id);
}

void
conn_ids_free(struct conn_id_map *map, struct conn_ids *list)
{
	struct conn_id *id;

	while ((id = LIST_FIRST(list)) != NULL)
		conn_id_free(map, id);
}
