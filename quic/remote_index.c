#include "quic/remote_index.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>

#include "quic/internal.h"

#define KEY_LEN 20 /* bytes: family, port and address */

/* The key is first: look-ups compare nothing else. */
struct remote {
	uint8_t key[KEY_LEN];
	struct remote_conns conns;
};

static void
set_key(struct remote *remote, const struct sockaddr_storage *ss)
{
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)ss;
	const struct sockaddr_in *sin = (const struct sockaddr_in *)ss;
	uint8_t *key = remote->key;

	memset(key, 0, KEY_LEN);
	key[0] = (uint8_t)ss->ss_family;
	if (ss->ss_family == AF_INET6) {
		memcpy(key + 1, &sin6->sin6_port, 2);
		memcpy(key + 3, &sin6->sin6_addr, 16);
	} else {
		memcpy(key + 1, &sin->sin_port, 2);
		memcpy(key + 3, &sin->sin_addr, 4);
	}
}

static int
compare(const void *a, const void *b)
{
	const struct remote *x = a, *y = b;

	return memcmp(x->key, y->key, KEY_LEN);
}

void
remote_leave(struct remote_index *remotes, struct quic_conn *conn)
{
	struct remote *remote = conn->server.remote.at;

	if (remote == NULL)
		return;
	conn->server.remote.at = NULL;
	LIST_REMOVE(conn, server.remote.entry);
	if (!LIST_EMPTY(&remote->conns))
		return;
	tdelete(remote, &remotes->tree, compare);
	free(remote);
}

void
remote_join(struct remote_index *remotes, struct quic_conn *conn)
{
	struct remote *remote, **found;

	remote_leave(remotes, conn);
	if ((remote = calloc(1, sizeof(*remote))) == NULL)
		return;
	set_key(remote, &conn->path.current.remote);
	found = tsearch(remote, &remotes->tree, compare);
	if (found == NULL || *found != remote)
		free(remote);
	if (found == NULL)
		return;
	conn->server.remote.at = *found;
	LIST_INSERT_HEAD(&conn->server.remote.at->conns, conn,
	    server.remote.entry);
}

const struct remote_conns *
remote_find(const struct remote_index *remotes,
    const struct sockaddr_storage *ss)
{
	struct remote key, *const *found;

	set_key(&key, ss);
	found = tfind(&key, &remotes->tree, compare);
	return found != NULL ? &(*found)->conns : NULL;
}
