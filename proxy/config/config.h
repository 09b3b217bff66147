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
 * What an administrator asked for, by flags and by an INI file, as values that
 * have been checked.  proxy/config/option.h holds the table of all that can be
 * asked.
 */

/* Bytes of a configuration file: no more than a mistaken path should cost. */
#define CONFIG_FILE_MAX (1024 * 1024)

/* Addresses to listen on: each costs a socket, and people need one or two. */
#define CONFIG_LISTEN_MAX 16

/* Edges in order of preference: a longer list would never be tried out. */
#define CONFIG_EDGE_MAX 8

/* Ranges allowed or denied: every dial searches them one by one. */
#define CONFIG_RANGE_MAX 256

/* Octets of a user's name or password, as in SOCKS5 (RFC 1929 2). */
#define CONFIG_USER_MAX 255

/* IP bytes: a QUIC datagram of 1200 (RFC 9000 14) in IPv4, and IP's most. */
#define CONFIG_MTU_LEAST 1228
#define CONFIG_MTU_MOST 65535

/* Connections to one edge: with the usual 100 tunnels each, plenty. */
#define CONFIG_CONNECTIONS_MOST 16

/* Tunnels that one connection may have, at most: QUIC would allow 2^60. */
#define CONFIG_STREAMS_MOST 65536

/* The port of an edge that is named without one (RFC 9114 3.1). */
#define CONFIG_EDGE_PORT 443

/* Seconds of any time-out: a day is as good as never. */
#define CONFIG_SECONDS_MOST 86400

/* Of clients, dials or handshakes: what no machine of today would bear. */
#define CONFIG_NUMBER_MOST 10000000

/* Bytes of a request's head: what browsers need, and what is an attack. */
#define CONFIG_HEAD_LEAST 4096
#define CONFIG_HEAD_MOST HTTP1_HEAD_MAX

/* Options of one program, those without a key included; a test counts. */
#define CONFIG_OPTIONS_MAX 64

/* Seconds: with less, a lost packet or two would end a connection. */
#define CONFIG_EDGE_TIMEOUT_LEAST 2

enum config_program {
	CONFIG_CULVERT,
	CONFIG_CULVERT_EDGE
};

/* Who set a value: each one overrides those before it. */
enum config_origin {
	CONFIG_DEFAULT,
	CONFIG_FILE,
	CONFIG_COMMAND
};

/* The lists are in the order in which they were given; n counts them. */
struct config_addrs {
	unsigned n;
	struct sockaddr_storage v[CONFIG_LISTEN_MAX];
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

/* Free of control characters, and the name of ':' (RFC 7617 2). */
struct config_user {
	char name[CONFIG_USER_MAX + 1]; /* empty: no user is given */
	char password[CONFIG_USER_MAX + 1];
};

/*
 * Each field is named as its option, whose meaning the manual pages give.
 * Strings are NULL when they were not given, and belong to the struct.
 */
struct config {
	/* Set by config_init; a test may point the streams elsewhere. */
	enum config_program program;
	FILE *out; /* answers to -h, -V and -n */
	FILE *err; /* errors and warnings, one line each */
	char *file; /* that -f named, or NULL */

	/* Both programs. */
	struct config_addrs listen; /* at least one */
	char *cert; /* PEM file; the client's, or the edge's own */
	char *key;
	unsigned mtu_max; /* IP bytes; 0: 1500 */
	enum quic_cc cc;
	char *qlog; /* directory */
	char *run_as; /* user, or NULL: see run_as_find() */
	unsigned verbose;
	bool quiet; /* wins over verbose: LOG_QUIET */
	enum log_format log_format;
	struct config_ranges allow; /* culvert: with embedded_edge alone */
	struct config_ranges deny;
	size_t memory_max; /* bytes, from QUIC_MEMORY_MIN */
	unsigned head_timeout; /* seconds, as the next four */
	unsigned connect_timeout;
	unsigned tunnel_timeout; /* 0: never */
	unsigned keepalive_timeout;
	unsigned grace;

	/* culvert */
	char *listen_users;
	bool via;
	char *control; /* fits a sockaddr_un; NULL at culvert-edge alone */
	struct config_targets edge; /* empty when embedded_edge is set */
	bool embedded_edge;
	char *ca;
	struct config_pins pin;
	unsigned connections; /* to one edge at once, at most */
	struct config_user user; /* from --user or from the user-file */
	char *user_file;
	unsigned mtu_min; /* IP bytes; 0: CONFIG_MTU_LEAST */
	bool no_mtu_probe;
	char *interface; /* shorter than IF_NAMESIZE */
	uint32_t fwmark; /* 0: none */
	unsigned edge_timeout; /* seconds */
	unsigned clients_max; /* this and the next two: 0 is no limit */
	unsigned clients_per_listener;
	unsigned clients_per_source;
	unsigned head_max; /* bytes */
	unsigned idle_timeout; /* seconds, as the next */
	unsigned linger_timeout;

	/* culvert-edge */
	char *client_ca;
	bool self_signed;
	char *users;
	bool open;
	struct config_addrs resolver; /* empty: those of the system */
	unsigned tunnels_max;
	unsigned tunnels_per_user;
	unsigned streams_max; /* of one connection */
	unsigned dials_per_origin; /* at once */
	unsigned source_connections;
	unsigned handshake_rate;
	unsigned half_open_max; /* handshakes; then Retry */

	/* Private: who set each option, by its index in the table. */
	uint8_t origin[CONFIG_OPTIONS_MAX];
};

/*
 * Makes a configuration of the defaults, which config_free releases.  Does
 * not fail: it is config_check that misses a default which found no memory.
 */
void config_init(struct config *config, enum config_program program);

/*
 * Reads the command line and, before its values, the file that -f names;
 * answers -h, -V and -n; and checks the whole.  Errors and warnings have been
 * printed when it returns: all of them, not just the first.  Passwords are
 * wiped out of argv, so that ps(1) does not show them; a second reading of
 * the same argv would miss them.
 *
 * Returns 0: go on; 1: the question was answered, exit with status 0;
 * -EINVAL: exit with status 2.
 */
int config_load(struct config *config, int argc, char **argv);

/*
 * Reads len bytes of INI text, which need no NUL, on top of what the
 * configuration holds.  Errors go to config->err as "name:line: what".
 * Touches no file and checks nothing that takes more than one line to see.
 *
 * Returns 0, or -EINVAL when something was printed: the configuration is
 * still whole, but not what the text asked for.
 */
int config_parse(struct config *config, const char *text, size_t len,
    const char *name);

/*
 * Checks what only the whole shows: options that need or exclude each other,
 * listeners that are open to the network, files that cannot be read.  Reads
 * the user-file into config->user.
 *
 * Returns 0, or -EINVAL when errors were printed to config->err.
 */
int config_check(struct config *config);

/*
 * Makes in `fresh` what `old` would be if the program were started now: reads
 * the file again, and keeps what the command line said then. An option that a
 * running program cannot change (option_is_fixed) stays as it is in `old`, and
 * a line says so. Everything is checked; `err` gets the lines, as config->err
 * would, and is not kept.
 *
 * Returns 0: the caller takes `fresh` in place of `old`, which it releases,
 * and the lines are warnings; or -EINVAL: `fresh` is empty, `old` stays.
 */
int config_reload(struct config *fresh, const struct config *old, FILE *err);

/* Whether no other machine can reach any of the listeners. */
bool config_listens_locally(const struct config *config);

/* Wipes what is secret and releases what is owned; the struct is empty. */
void config_free(struct config *config);

#endif
