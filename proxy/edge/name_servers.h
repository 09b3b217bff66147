#ifndef CULVERT_PROXY_EDGE_NAME_SERVERS_H
#define CULVERT_PROXY_EDGE_NAME_SERVERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "proxy/edge/dns_channel.h"

/*
 * The name servers that a file or a list names, the hosts file, and which of
 * the servers are silent: a dead one costs time once, and not for each name.
 */

/* As many as the configuration may name; more of a file are not asked. */
#define NAME_SERVERS_MAX 16

/* Milliseconds after which a silent server is tried again, also_next another. */
#define NAME_SERVER_PROBE_MS 5000

#define NAME_SERVERS_HOSTS "/etc/hosts"

/* What tells a file from the one that was there before. */
struct file_stamp {
	int error; /* of stat(2): there is no file */
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified, changed;
};

/* Private, but for the channel. */
struct name_server {
	struct dns_channel *channel;
	bool silent;	   /* asked, and has not answered anything since */
	uint64_t answered_ms; /* when it answered last */
	uint64_t probe_ms; /* silent: when it is tried again */
};

struct name_servers {
	struct dns_channel *hosts;
	struct name_server v[NAME_SERVERS_MAX];
	unsigned n;
	struct file_stamp conf_stamp, hosts_stamp; /* of what was read; private */
};

/*
 * Reads the files and opens the channels. `conf` is in the format of
 * resolv.conf(5); `list` ("127.0.0.1:5353,[::1]:53") is asked in place of the
 * servers of the file when it is not NULL. Returns 0 or a negative errno.
 */
int name_servers_open(struct name_servers *, uv_loop_t *, const char *conf,
    const char *list);

/* Closes the channels; see dns_channel_free(). */
void name_servers_close(struct name_servers *);

/* Whether one of the files is another one now. */
bool name_servers_changed(const struct name_servers *, const char *conf);

/*
 * The server to ask next, of those whose bits are not set in `asked`; -1 when
 * there is none. `*also_next` says that it was silent and is only tried again: the
 * next one is to be asked at the same time.
 */
int name_servers_next(struct name_servers *, unsigned asked, uint64_t now,
    bool *also_next);

/* A server has answered, whatever it was; or not what it was asked then. */
void name_server_answered(struct name_server *, uint64_t now);
void name_server_timed_out(struct name_server *, uint64_t asked, uint64_t now);

#endif
