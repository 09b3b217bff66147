#ifndef CULVERT_PROXY_CONFIG_CONFIG_H
#define CULVERT_PROXY_CONFIG_CONFIG_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include "proxy/base/addr.h"
#include "proxy/http1/http1.h"
#include "proxy/base/log.h"
#include "proxy/base/address_rule.h"
#include "quic/quic.h"

/*
 * proxy/config turns flags and an INI file into values: the options, their
 * types, and the checks of each value and of the whole.  The programs and
 * daemon.[ch] use it; the other parts of proxy/ receive settings of their own.
 * It uses proxy/base, and of proxy/http1 and quic/ only constants and types.
 *
 * This is the configuration as checked values.  option.h has the table of all
 * options.
 */

/* Bytes of a configuration file: a limit in case the path is a mistake. */
#define CONFIG_FILE_MAX (1024 * 1024)

/* Addresses to listen on: each takes a socket; one or two are usual. */
#define CONFIG_LISTEN_MAX 16

/* Edges in order of preference: failover reaches no more of them in time. */
#define CONFIG_EDGE_MAX 8

/* Ranges allowed or denied: every dial searches them linearly. */
#define CONFIG_RANGE_MAX 256

/* Octets of a user's name or password, as in SOCKS5 (RFC 1929 2). */
#define CONFIG_USER_MAX 255

/* IP bytes: a 1200-byte QUIC datagram (RFC 9000 14) in IPv4; IP's maximum. */
#define CONFIG_MTU_LEAST 1228
#define CONFIG_MTU_MOST 65535

/* Connections to one edge: each has room for 100 tunnels as a rule. */
#define CONFIG_CONNECTIONS_MOST 16
#define CONFIG_SPREAD_AUTO 4

/* Tunnels of one connection, at most: QUIC would allow 2^60. */
#define CONFIG_STREAMS_MOST 65536

/* The port of an edge that is given without one (RFC 9114 3.1). */
#define CONFIG_EDGE_PORT 443

/* Seconds of any time-out: a day, longer than any useful value. */
#define CONFIG_SECONDS_MOST 86400

/* Clients, dials or handshakes: more than any machine of today can serve. */
#define CONFIG_NUMBER_MOST 10000000

/* Bytes of a request's head: browsers need the least; the most is defensive. */
#define CONFIG_HEAD_LEAST 4096
#define CONFIG_HEAD_MOST HTTP1_HEAD_MAX

/* Options of one program, those without a key included; a test counts them. */
#define CONFIG_OPTIONS_MAX 64

/* Seconds: with less, one or two lost packets would end a connection. */
#define CONFIG_EDGE_TIMEOUT_LEAST 2

enum config_program { CONFIG_CULVERT, CONFIG_CULVERT_EDGE };

/* The source of a value: each one overrides those before it. */
enum config_origin { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_COMMAND };

/* The values are in the order in which they were given; n is their number. */
struct config_addrs {
	unsigned n;
	struct sockaddr_storage v[CONFIG_LISTEN_MAX];
};

/* Forwards: each takes a socket, as an address to listen on does. */
#define CONFIG_FORWARD_MAX 16

struct config_forwards {
	unsigned n;
	struct config_forward {
		struct sockaddr_storage listen;
		struct target target;
	} v[CONFIG_FORWARD_MAX];
};

struct config_targets {
	unsigned n;
	struct target v[CONFIG_EDGE_MAX];
};

struct config_pins {
	unsigned n;
	uint8_t v[QUIC_PINS_MAX][QUIC_PIN_LEN];
};

/* Rules that rule_parse reads. */
struct config_ranges {
	unsigned n;
	char v[CONFIG_RANGE_MAX][RULE_STRLEN];
};

/* Without control characters; the name also without ':' (RFC 7617 2). */
struct config_user {
	char name[CONFIG_USER_MAX + 1]; /* empty: no user is given */
	char password[CONFIG_USER_MAX + 1];
};

/*
 * Each field has the name of its option, which the manual pages explain.
 * Strings are NULL if they were not given, and belong to the struct.
 */
struct config {
	/* Set by config_init; a test may replace the streams. */
	enum config_program program;
	FILE *out;  /* output of -h, -V and -n */
	FILE *err;  /* errors and warnings, one line each */
	char *file; /* the path given with -f, or NULL */

	/* Both programs. */
	struct config_addrs listen; /* at least one */
	char *cert; /* PEM file; the client's, or the edge's own */
	char *key;
	unsigned mtu_max; /* IP bytes; 0: 1500 */
	enum quic_cc cc;
	bool no_repair;
	bool no_ipsec_mb;
	char *qlog;   /* directory */
	char *run_as; /* user, or NULL: see run_as_find() */
	unsigned verbose;
	bool quiet; /* overrides verbose: LOG_QUIET */
	enum log_format log_format;
	struct config_ranges allow; /* culvert: only with embedded_edge */
	struct config_ranges deny;
	size_t memory_max;     /* bytes, from QUIC_MEMORY_MIN */
	unsigned head_timeout; /* seconds, like the next four */
	unsigned connect_timeout;
	unsigned tunnel_timeout; /* 0: never */
	unsigned keepalive_timeout;
	unsigned grace;

	/* culvert */
	char *listen_users;
	char *rules; /* file: see route_rules.h */
	struct config_forwards forward;
	bool via;
	char *control; /* fits a sockaddr_un; NULL only in culvert-edge */
	struct config_targets edge; /* empty when embedded_edge is set */
	bool embedded_edge;
	char *ca;
	struct config_pins pin;
	unsigned connections;	 /* to one edge, at most */
	unsigned spread;	 /* the same, on a lossy line */
	struct config_user user; /* from --user or from the user-file */
	char *user_file;
	unsigned mtu_min; /* IP bytes; 0: CONFIG_MTU_LEAST */
	bool no_mtu_probe;
	char *interface;       /* shorter than IF_NAMESIZE */
	uint32_t fwmark;       /* 0: none */
	unsigned edge_timeout; /* seconds */
	unsigned clients_max;  /* this and the next two: 0 is no limit */
	unsigned clients_per_listener;
	unsigned clients_per_source;
	unsigned head_max;     /* bytes */
	unsigned idle_timeout; /* seconds, like the next */
	unsigned linger_timeout;

	/* culvert-edge */
	char *client_ca;
	bool self_signed;
	char *users;
	bool open;
	struct config_addrs resolver; /* empty: those of the system */
	unsigned tunnels_max;
	unsigned tunnels_per_user;
	unsigned streams_max;	   /* of one connection */
	unsigned dials_per_origin; /* at once */
	unsigned source_connections;
	unsigned handshake_rate;
	unsigned half_open_max; /* handshakes; beyond, Retry */

	/* Private: the source of each option, by its index in the table. */
	uint8_t origin[CONFIG_OPTIONS_MAX];
};

/*
 * Makes a configuration of the defaults, which config_free releases.  Does
 * not fail: config_check reports a default for which there was no memory.
 */
void config_init(struct config *config, enum config_program program);

/*
 * Reads the file that -f names and then the command line, handles -h, -V and
 * -n, and checks the whole.  Prints all errors and warnings, not just the
 * first.  Wipes passwords from argv, so that ps(1) does not show them; argv
 * can therefore be read only once.
 *
 * Returns 0 to go on; 1 after -h, -V or -n, to exit with status 0; or -EINVAL
 * to exit with status 2.
 */
int config_load(struct config *config, int argc, char **argv);

/*
 * Applies len bytes of INI text, which need no NUL, to the configuration.
 * Errors go to config->err as "name:line: reason".  Opens no file, and checks
 * each line only by itself.
 *
 * Returns 0, or -EINVAL if an error was printed: the configuration is valid,
 * but lines with errors had no effect.
 */
int config_parse(struct config *config, const char *text, size_t len,
    const char *name);

/*
 * Checks the configuration as a whole: options that require or exclude each
 * other, listeners that are open to the network, files that cannot be read.
 * Reads the user-file into config->user.
 *
 * Returns 0, or -EINVAL if errors were printed to config->err.
 */
int config_check(struct config *config);

/*
 * Makes in `fresh` the configuration that a start would give now: reads the
 * file again, and keeps the values of the command line. An option that a
 * running program cannot change (option_is_fixed) keeps the value of `old`, and
 * a line says so. Everything is checked; lines go to `err` in place of
 * config->err, and `err` is not kept.
 *
 * Returns 0 if the lines are only warnings: the caller replaces `old` by
 * `fresh` and releases it. Returns -EINVAL with `fresh` empty: `old` stays.
 */
int config_reload(struct config *fresh, const struct config *old, FILE *err);

/* Whether no other machine can reach any of the listeners. */
bool config_listens_locally(const struct config *config);

/* Wipes secrets and releases memory; the struct is empty afterwards. */
void config_free(struct config *config);

#endif
