#include "proxy/edge/name_servers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- The files ---- */

static struct file_stamp
stamp_of(const char *path)
{
	struct stat st = { 0 };
	int error = stat(path, &st) == 0 ? 0 : errno;

	return (struct file_stamp){ .error = error,
		.device = st.st_dev,
		.inode = st.st_ino,
		.size = st.st_size,
		.modified = st.st_mtim,
		.changed = st.st_ctim };
}

static bool
same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool
same_stamp(const struct file_stamp *a, const struct file_stamp *b)
{
	return a->error == b->error && a->device == b->device &&
	    a->inode == b->inode && a->size == b->size &&
	    same_time(&a->modified, &b->modified) &&
	    same_time(&a->changed, &b->changed);
}

bool
name_servers_changed(const struct name_servers *servers, const char *conf)
{
	struct file_stamp now_conf = stamp_of(conf),
			  now_hosts = stamp_of(NAME_SERVERS_HOSTS);

	return !same_stamp(&now_conf, &servers->conf_stamp) ||
	    !same_stamp(&now_hosts, &servers->hosts_stamp);
}

/* ---- Channels ---- */

static int
open_each(struct name_servers *servers, uv_loop_t *loop, const char *conf,
    char *list)
{
	char *rest = list, *name;
	int rv;

	while (servers->n < NAME_SERVERS_MAX &&
	    (name = strsep(&rest, ",")) != NULL) {
		rv = dns_channel_new(&servers->v[servers->n].channel, loop,
		    conf, name);
		if (rv != 0)
			return rv;
		servers->n++;
	}
	return 0;
}

static int
open_list(struct name_servers *servers, uv_loop_t *loop, const char *conf,
    const char *list)
{
	char *copy = strdup(list);
	int rv = copy != NULL ? open_each(servers, loop, conf, copy) : -ENOMEM;

	free(copy);
	return rv;
}

static int
open_file(struct name_servers *servers, uv_loop_t *loop, const char *conf)
{
	char *list;
	int rv = dns_channel_servers(conf, &list);

	if (rv != 0)
		return rv;
	rv = open_each(servers, loop, conf, list);
	ares_free_string(list);
	return rv;
}

int
name_servers_open(struct name_servers *servers, uv_loop_t *loop,
    const char *conf, const char *list)
{
	int rv;

	memset(servers, 0, sizeof(*servers));
	/* Before reading: a change in the meantime causes another reading. */
	servers->conf_stamp = stamp_of(conf);
	servers->hosts_stamp = stamp_of(NAME_SERVERS_HOSTS);
	rv = dns_channel_new(&servers->hosts, loop, conf, NULL);
	if (rv == 0)
		rv = list != NULL ? open_list(servers, loop, conf, list)
				  : open_file(servers, loop, conf);
	if (rv != 0)
		name_servers_close(servers);
	return rv;
}

void
name_servers_close(struct name_servers *servers)
{
	dns_channel_free(servers->hosts);
	for (unsigned i = 0; i < servers->n; i++)
		dns_channel_free(servers->v[i].channel);
}

/* ---- Silent servers ---- */

static bool
is_any_alive(const struct name_servers *servers, unsigned tried)
{
	for (unsigned i = 0; i < servers->n; i++)
		if ((tried & 1U << i) == 0 && !servers->v[i].silent)
			return true;
	return false;
}

int
name_servers_next(struct name_servers *servers, unsigned tried, uint64_t now,
    bool *also_next)
{
	bool alive = is_any_alive(servers, tried);

	for (unsigned i = 0; i < servers->n; i++) {
		struct name_server *s = &servers->v[i];

		if ((tried & 1U << i) != 0 ||
		    (alive && s->silent && now < s->probe_ms))
			continue;
		*also_next = alive && s->silent;
		if (s->silent)
			s->probe_ms = now + NAME_SERVER_PROBE_MS;
		return (int)i;
	}
	return -1;
}

void
name_server_answered(struct name_server *s, uint64_t now)
{
	s->answered_ms = now;
	s->silent = false;
}

void
name_server_timed_out(struct name_server *s, uint64_t sent, uint64_t now)
{
	if (s->silent || s->answered_ms >= sent)
		return;
	s->silent = true;
	s->probe_ms = now + NAME_SERVER_PROBE_MS;
}
