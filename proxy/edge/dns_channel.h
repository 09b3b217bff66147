#ifndef CULVERT_PROXY_EDGE_DNS_CHANNEL_H
#define CULVERT_PROXY_EDGE_DNS_CHANNEL_H

#include <ares.h>
#include <uv.h>

/*
 * A c-ares channel on a libuv loop. Each has one name server, or none and the
 * hosts file: the resolver chooses servers and time-outs itself, since versions
 * of c-ares differ in how they do it.
 */
struct dns_channel;

/*
 * Makes a channel for a server in the format of ares_set_servers_ports_csv(3),
 * or for NULL one that reads the hosts file. The options are those of the file
 * `conf` (resolv.conf(5)). Returns 0; -EIO if the file cannot be read; -EINVAL
 * if `server` is not valid; or -ENOMEM.
 */
int dns_channel_new(struct dns_channel **, uv_loop_t *, const char *conf,
    const char *server);

/*
 * Reads the servers of such a file in the format of
 * ares_set_servers_ports_csv(3); ares_free_string() frees them. Returns 0, -EIO
 * or -ENOMEM.
 */
int dns_channel_servers(const char *conf, char **servers);

/*
 * Looks up the addresses of one family, or AF_UNSPEC, of `name`, without search
 * domains. `done` is called once, perhaps from inside this call, with a status
 * of ares_getaddrinfo(3), which may be SERVFAIL, REFUSED and so on. A query
 * times out after DNS_CHANNEL_TIMEOUT_MS and is sent twice.
 */
#define DNS_CHANNEL_TIMEOUT_MS 1000
void dns_channel_query(struct dns_channel *, const char *name, int family,
    ares_addrinfo_callback done, void *arg);

/*
 * Ends all queries with ARES_EDESTRUCTION, from inside this call, and closes
 * every handle; the last one frees the memory. Must not be called from `done`.
 * NULL is a no-op.
 */
void dns_channel_free(struct dns_channel *);

#endif
