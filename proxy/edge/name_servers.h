#ifndef CULVERT_PROXY_EDGE_NAME_SERVERS_H
#define CULVERT_PROXY_EDGE_NAME_SERVERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "proxy/edge/dns_channel.h"

/*
 * The name servers of a file or a list, the hosts file, and which of the
 * servers do not respond: a dead one costs time once, not for each name.
 */

/* As many as the configuration may have; further ones of a file are unused. */
#define NAME_SERVERS_MAX 16

/* Milliseconds after which a silent server is tried again, with another. */
#define NAME_SERVER_PROBE_MS 5000

#define NAME_SERVERS_HOSTS "/etc/hosts"

/* Identifies a version of a file: it differs after any change. */
struct file_stamp {
	int error; /* of stat(2), such as ENOENT */
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified, changed;
};

/* Private except for the channel. */
struct name_server {
	struct dns_channel *channel;
	bool silent;	      /* the last query to it had no answer in time */
	uint64_t answered_ms; /* time of its last answer */
	uint64_t probe_ms;    /* if silent: time of the next attempt */
};

struct name_servers {
	struct dns_channel *hosts;
	struct name_server v[NAME_SERVERS_MAX];
	unsigned n;
	struct file_stamp conf_stamp, hosts_stamp; /* as read; private */
};

/*
 * Reads the files and opens the channels. `conf` is in the format of
 * resolv.conf(5); `list` ("127.0.0.1:5353,[::1]:53"), unless it is NULL,
 * replaces the servers of the file. Returns 0 or a negative errno.
 */
int name_servers_open(struct name_servers *, uv_loop_t *, const char *conf,
    const char *list);

/* Closes the channels; see dns_channel_free(). */
void name_servers_close(struct name_servers *);

/* Whether one of the files has changed. */
bool name_servers_changed(const struct name_servers *, const char *conf);

/*
 * Returns the server to query next, of those whose bits are not set in `tried`;
 * -1 if there is none. `*also_next` is set if it was silent and this is only a
 * new attempt: the caller queries the next one at the same time.
 */
int name_servers_next(struct name_servers *, unsigned tried, uint64_t now,
    bool *also_next);

/* A server answered, with any status; a query of the time `sent` did not. */
void name_server_answered(struct name_server *, uint64_t now);
void name_server_timed_out(struct name_server *, uint64_t sent, uint64_t now);

#endif
