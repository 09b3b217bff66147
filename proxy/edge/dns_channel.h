#ifndef CULVERT_PROXY_EDGE_DNS_CHANNEL_H
#define CULVERT_PROXY_EDGE_DNS_CHANNEL_H

#include <ares.h>
#include <uv.h>

/*
 * A c-ares channel on a libuv loop. Each has one name server, or none and the
 * hosts file: which server is asked, and how long it has, is not c-ares' to
 * decide, whose versions differ in that.
 */
struct dns_channel;

/*
 * Makes a channel for a server in the format of ares_set_servers_ports_csv(3);
 * for NULL one that reads the hosts file. `conf` is a file in the format of
 * resolv.conf(5), for its options. Returns 0; or -EIO when the file cannot be
 * read, -EINVAL when `server` is none, or -ENOMEM.
 */
int dns_channel_new(
    struct dns_channel **, uv_loop_t *, const char *conf, const char *server);

/*
 * The servers of such a file in the format of ares_set_servers_ports_csv(3), to
 * be freed by ares_free_string(). Returns 0, -EIO or -ENOMEM.
 */
int dns_channel_servers(const char *conf, char **servers);

/*
 * Asks for the addresses of one family, or AF_UNSPEC, of `name`, without search
 * domains. `done` is called once, perhaps from inside this call, with a status
 * of ares_getaddrinfo(3): also SERVFAIL, REFUSED and the like. A server that is
 * silent has DNS_CHANNEL_TIMEOUT_MS and one more try.
 */
#define DNS_CHANNEL_TIMEOUT_MS 1000
void dns_channel_ask(struct dns_channel *, const char *name, int family,
    ares_addrinfo_callback done, void *arg);

/*
 * Ends what is asked with ARES_EDESTRUCTION, from inside this call, and closes
 * every handle; the memory goes with the last one. Not from inside `done`. NULL
 * is a no-op.
 */
void dns_channel_free(struct dns_channel *);

#endif
