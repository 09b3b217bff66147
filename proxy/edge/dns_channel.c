#include "proxy/edge/dns_channel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

/*
 * c-ares opens and closes its own sockets and reports them by
 * on_socket_state(); each gets a poll handle, a watch. One timer runs at the
 * time that c-ares requests. Both only call ares_process_fd().
 */

/* Attempts per query: a packet may be lost. */
#define TRIES 2

/*
 * Milliseconds. To find the next time-out, c-ares may search all queries, so
 * ares_timeout(3) is called only when the timer has fired, and not too often.
 * No time-out of c-ares is shorter than the longer of these two, so a query
 * that is sent while the timer runs is handled in time.
 */
#define TIMER_MIN_MS 20
#define TIMER_MAX_MS 250

/* ares_get_servers_csv(3) is newer than Debian 12. */
#define HAS_SERVERS_CSV 0x011800

/* The longest "[ADDRESS]:PORT%ZONE"; the default port. */
#define SERVER_STRLEN (INET6_ADDRSTRLEN + IF_NAMESIZE + sizeof("[]:65535%"))
#define DNS_PORT 53

struct dns_channel {
	uv_loop_t *loop;
	uv_timer_t timer;
	ares_channel ares;
	bool is_dns;		/* queries a server, not the hosts file */
	char zone[IF_NAMESIZE]; /* of the server's address; empty: none */
	LIST_HEAD(, watch) watches;
	unsigned handles; /* open ones, the timer included */
};

struct watch {
	uv_poll_t poll;
	ares_socket_t fd;
	struct dns_channel *channel;
	LIST_ENTRY(watch) entry;
};

/* ---- The loop ---- */

static void
release(struct dns_channel *c)
{
	if (--c->handles == 0)
		free(c);
}

static void on_timer(uv_timer_t *timer);

/* Sets the timer as c-ares requests. */
static void
arm(struct dns_channel *c)
{
	struct timeval tv;
	uint64_t ms;

	if (ares_timeout(c->ares, NULL, &tv) == NULL) {
		uv_timer_stop(&c->timer);
		return;
	}
	ms = (uint64_t)tv.tv_sec * 1000 + (uint64_t)tv.tv_usec / 1000 + 1;
	uv_timer_start(&c->timer, on_timer,
	    ms > TIMER_MIN_MS ? ms : TIMER_MIN_MS, 0);
}

/* Sets the timer early enough for a new query: too early does no harm. */
static void
arm_early(struct dns_channel *c)
{
	if (!uv_is_active((uv_handle_t *)&c->timer) ||
	    uv_timer_get_due_in(&c->timer) > TIMER_MAX_MS)
		uv_timer_start(&c->timer, on_timer, TIMER_MAX_MS, 0);
}

/* A query may have timed out. */
static void
on_timer(uv_timer_t *timer)
{
	struct dns_channel *c = timer->data;

	ares_process_fd(c->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm(c);
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	struct dns_channel *c = w->channel;

	/* c-ares finds the error itself, by reading or by writing. */
	if (status < 0)
		events = UV_READABLE | UV_WRITABLE;
	ares_process_fd(c->ares,
	    (events & UV_READABLE) != 0 ? w->fd : ARES_SOCKET_BAD,
	    (events & UV_WRITABLE) != 0 ? w->fd : ARES_SOCKET_BAD);
	arm_early(c);
}

static void
on_watch_closed(uv_handle_t *handle)
{
	struct watch *w = handle->data;

	release(w->channel);
	free(w);
}

static void
on_timer_closed(uv_handle_t *handle)
{
	release(handle->data);
}

static struct watch *
watch_new(struct dns_channel *c, ares_socket_t fd)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (w == NULL || uv_poll_init(c->loop, &w->poll, fd) < 0) {
		free(w);
		return NULL;
	}
	w->poll.data = w;
	w->channel = c;
	w->fd = fd;
	LIST_INSERT_HEAD(&c->watches, w, entry);
	c->handles++;
	return w;
}

static struct watch *
watch_find(const struct dns_channel *c, ares_socket_t fd)
{
	struct watch *w;

	LIST_FOREACH(w, &c->watches, entry)
		if (w->fd == fd)
			break;
	return w;
}

static void
on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
	struct dns_channel *c = data;
	struct watch *w = watch_find(c, fd);
	int events = (readable ? UV_READABLE : 0) |
	    (writable ? UV_WRITABLE : 0);

	if (w == NULL && events != 0)
		w = watch_new(c, fd);
	/* Without a watch the query on this socket times out. */
	if (w == NULL)
		return;
	if (events != 0) {
		uv_poll_start(&w->poll, events, on_poll);
		return;
	}
	LIST_REMOVE(w, entry);
	uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

/* ---- Servers ---- */

#if ARES_VERSION >= HAS_SERVERS_CSV
int
dns_channel_servers(const char *conf, char **servers)
{
	char *path = strdup(conf);
	struct ares_options options = { .resolvconf_path = path };
	ares_channel ares;
	int status;

	if (path == NULL)
		return -ENOMEM;
	status = ares_init_options(&ares, &options, ARES_OPT_RESOLVCONF);
	free(path);
	if (status != ARES_SUCCESS)
		return status == ARES_ENOMEM ? -ENOMEM : -EIO;
	*servers = ares_get_servers_csv(ares);
	ares_destroy(ares);
	return *servers != NULL ? 0 : -ENOMEM;
}

static int
set_server(struct dns_channel *c, const char *server)
{
	return ares_set_servers_ports_csv(c->ares, server);
}
#else
/*
 * An older c-ares skips servers with a zone, such as fe80::1%eth0, which
 * routers announce. So the file is read here, and the sockets for such servers
 * are bound to the interface.
 */
#define DEFAULT_SERVER "127.0.0.1" /* resolv.conf(5) */

/* Writes a server of the file in the format of a list; returns its length. */
static size_t
write_server(char out[SERVER_STRLEN], const char *text)
{
	char address[INET6_ADDRSTRLEN];
	size_t len = strcspn(text, "%");
	struct in6_addr in6;
	struct in_addr in;

	if (len >= sizeof(address))
		return 0;
	memcpy(address, text, len);
	address[len] = '\0';
	if (inet_pton(AF_INET6, address, &in6) == 1)
		len = (size_t)snprintf(out, SERVER_STRLEN, "[%s]:%d%s", address,
		    DNS_PORT, text + len);
	else if (inet_pton(AF_INET, text, &in) == 1)
		len = (size_t)snprintf(out, SERVER_STRLEN, "%s", text);
	else
		len = 0;
	return len < SERVER_STRLEN ? len : 0;
}

/* A line is "nameserver ADDRESS", maybe with more addresses or a comment. */
static void
write_servers(FILE *out, char *line)
{
	static const char word[] = "nameserver", blanks[] = " \t,\r\n";
	char server[SERVER_STRLEN], *rest = NULL, *text;

	line[strcspn(line, "#;")] = '\0';
	if ((text = strtok_r(line, blanks, &rest)) == NULL ||
	    strcmp(text, word) != 0)
		return;
	while ((text = strtok_r(NULL, blanks, &rest)) != NULL)
		if (write_server(server, text) > 0)
			fprintf(out, "%s%s", ftell(out) > 0 ? "," : "", server);
}

int
dns_channel_servers(const char *conf, char **servers)
{
	size_t size, room = 0;
	FILE *file = fopen(conf, "re"), *out;
	char *line = NULL;

	if (file == NULL && errno == ENOMEM)
		return -ENOMEM;
	out = open_memstream(servers, &size);
	while (out != NULL && file != NULL && getline(&line, &room, file) > 0)
		write_servers(out, line);
	free(line);
	if (file != NULL)
		fclose(file);
	if (out == NULL)
		return -ENOMEM;
	if (ftell(out) == 0)
		fputs(DEFAULT_SERVER, out);
	if (fclose(out) == 0)
		return 0;
	free(*servers);
	return -ENOMEM;
}

/* SO_BINDTODEVICE needs no privilege since Linux 5.7. */
static int
on_socket(ares_socket_t fd, int type, void *data)
{
	const struct dns_channel *c = data;
	char name[IF_NAMESIZE];
	unsigned index = (unsigned)strtoul(c->zone, NULL, 10);

	(void)type;
	snprintf(name, sizeof(name), "%s", c->zone);
	if (if_nametoindex(name) == 0 && if_indextoname(index, name) == NULL)
		return -1;
	return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name,
	    (socklen_t)strlen(name));
}

static int
set_server(struct dns_channel *c, const char *server)
{
	char address[SERVER_STRLEN];
	size_t len = strcspn(server, "%");

	if (server[len] == '%') {
		snprintf(c->zone, sizeof(c->zone), "%s", server + len + 1);
		ares_set_socket_configure_callback(c->ares, on_socket, c);
	}
	snprintf(address, sizeof(address), "%.*s", (int)len, server);
	return ares_set_servers_ports_csv(c->ares, address);
}
#endif

/* ---- Life cycle ---- */

static int
open_ares(struct dns_channel *c, char *conf, const char *server)
{
	static char file[] = "f", dns[] = "b";
	struct ares_options options = {
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES |
		    ARES_FLAG_NOCHECKRESP,
		.timeout = DNS_CHANNEL_TIMEOUT_MS,
		.tries = TRIES,
		.lookups = server != NULL ? dns : file,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = c,
		.resolvconf_path = conf,
	};
	int status;

	status = ares_init_options(&c->ares, &options,
	    ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
		ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB |
		ARES_OPT_RESOLVCONF);
	if (status != ARES_SUCCESS)
		return status == ARES_ENOMEM ? -ENOMEM : -EIO;
	if (server == NULL)
		return 0;
	status = set_server(c, server);
	if (status == ARES_SUCCESS)
		return 0;
	ares_destroy(c->ares);
	return status == ARES_ENOMEM ? -ENOMEM : -EINVAL;
}

int
dns_channel_new(struct dns_channel **channel, uv_loop_t *loop, const char *conf,
    const char *server)
{
	struct dns_channel *c = calloc(1, sizeof(*c));
	char *path = strdup(conf);
	int rv = -ENOMEM;

	if (c != NULL && path != NULL) {
		c->loop = loop;
		c->is_dns = server != NULL;
		LIST_INIT(&c->watches);
		rv = open_ares(c, path, server);
	}
	free(path);
	if (rv != 0) {
		free(c);
		return rv;
	}
	uv_timer_init(loop, &c->timer);
	c->timer.data = c;
	c->handles = 1;
	*channel = c;
	return 0;
}

/*
 * Addresses keep the order of the answer: to sort them (RFC 6724), c-ares would
 * open a socket for each, and a hostile answer has thousands.
 */
void
dns_channel_query(struct dns_channel *channel, const char *name, int family,
    ares_addrinfo_callback done, void *arg)
{
	const struct ares_addrinfo_hints hints = {
		.ai_family = family,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = channel->is_dns ? ARES_AI_NOSORT : 0,
	};

	ares_getaddrinfo(channel->ares, name, NULL, &hints, done, arg);
	arm_early(channel);
}

void
dns_channel_free(struct dns_channel *channel)
{
	if (channel == NULL)
		return;
	ares_destroy(channel->ares);
	uv_close((uv_handle_t *)&channel->timer, on_timer_closed);
}
