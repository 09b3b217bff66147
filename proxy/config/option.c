#include <string.h>

#include "proxy/config/option.h"

#define USAGE_WIDTH 80 /* columns of a terminal */
#define HELP_COLUMN 36 /* after "      --clients-per-listener number" */

static const char letters[] =
    "AaBbCcDdEeFfGgHhIiJjKkLlMmNnOoPpQqRrSsTtUuVvWwXxYyZz";

#define FIELD(name) offsetof(struct config, name)

static const struct config_option culvert_options[] = {
	{ 'l', "listen", "proxy", &value_addrs, FIELD(listen), "addr:port",
	    "127.0.0.1:1080", "accept clients here" },
	{ 0, "listen-users", "proxy", &value_file, FIELD(listen_users), "file",
	    NULL, "require a name and a password" },
	{ 0, "forward", "proxy", &value_forwards, FIELD(forward),
	    "addr:port=host:port", NULL, "pass connections on to this target" },
	{ 0, "rules", "proxy", &value_file, FIELD(rules), "file", NULL,
	    "which target goes where" },
	{ 0, "control", "proxy", &value_socket, FIELD(control), "path", NULL,
	    "path of the control socket" },
	{ 0, "via", "proxy", &value_flag, FIELD(via), NULL, NULL,
	    "plain HTTP: add Via, which names this proxy" },
	{ 0, "run-as", "proxy", &value_user_name, FIELD(run_as), "name", NULL,
	    "switch to this user if started as root" },
	{ 'e', "edge", "edge", &value_targets, FIELD(edge), "host[:port]", NULL,
	    "use this edge; may be repeated" },
	{ 0, "embedded-edge", "edge", &value_flag, FIELD(embedded_edge), NULL,
	    NULL, "run an edge in this process" },
	{ 0, "ca", "edge", &value_file, FIELD(ca), "file", NULL,
	    "trust these CAs instead of the system's" },
	{ 0, "pin", "edge", &value_pins, FIELD(pin), "sha256//base64", NULL,
	    "trust only this public key" },
	{ 0, "cert", "edge", &value_file, FIELD(cert), "file", NULL,
	    "client certificate, PEM" },
	{ 0, "key", "edge", &value_file, FIELD(key), "file", NULL,
	    "its private key, PEM" },
	{ 0, "user", "edge", &value_user, FIELD(user), "name:password", NULL,
	    "user and password at the edge" },
	{ 0, "user-file", "edge", &value_file, FIELD(user_file), "file", NULL,
	    "file whose first line is name:password" },
	{ 0, "connections", "limits", &value_connections, FIELD(connections),
	    "number", "4", "connections to one edge, at most" },
	{ 0, "spread", "path", &value_spread, FIELD(spread), "number", "auto",
	    "connections on a lossy path" },
	{ 0, "clients-max", "limits", &value_quota, FIELD(clients_max),
	    "number", "65536", "clients at a time; more wait" },
	{ 0, "clients-per-listener", "limits", &value_quota,
	    FIELD(clients_per_listener), "number", "0",
	    "the same, for each --listen" },
	{ 0, "clients-per-source", "limits", &value_quota,
	    FIELD(clients_per_source), "number", "16384",
	    "clients of one address at a time" },
	{ 0, "head-max", "limits", &value_head, FIELD(head_max), "bytes",
	    "65536", "length of the head of a request" },
	{ 0, "head-timeout", "limits", &value_timeout, FIELD(head_timeout),
	    "seconds", "15", "time to send a request" },
	{ 0, "idle-timeout", "limits", &value_timeout, FIELD(idle_timeout),
	    "seconds", "120", "time to begin a request" },
	{ 0, "connect-timeout", "limits", &value_timeout,
	    FIELD(connect_timeout), "seconds", "10",
	    "time for a tunnel to open" },
	{ 0, "linger-timeout", "limits", &value_timeout, FIELD(linger_timeout),
	    "seconds", "2", "time to read the last response" },
	{ 0, "allow", "policy", &value_ranges, FIELD(allow), "cidr[:port]",
	    NULL, "embedded edge: allow this destination" },
	{ 0, "deny", "policy", &value_ranges, FIELD(deny), "cidr[:port]", NULL,
	    "embedded edge: deny this destination" },
	{ 0, "mtu-min", "path", &value_mtu, FIELD(mtu_min), "bytes", NULL,
	    "size of IP packets that every path carries" },
	{ 0, "no-mtu-probe", "path", &value_flag, FIELD(no_mtu_probe), NULL,
	    NULL, "do not search for a larger path MTU" },
	{ 0, "interface", "path", &value_interface, FIELD(interface), "name",
	    NULL, "reach the edge only through this interface" },
	{ 0, "fwmark", "path", &value_mark, FIELD(fwmark), "number", NULL,
	    "firewall mark of packets to the edge" },
	{ 0, "edge-timeout", "path", &value_seconds, FIELD(edge_timeout),
	    "seconds", "30", "give up a silent edge after this" },
};

static const struct config_option culvert_edge_options[] = {
	{ 'l', "listen", "edge", &value_addrs, FIELD(listen), "addr:port",
	    "[::]:443", "accept QUIC connections here" },
	{ 0, "cert", "edge", &value_file, FIELD(cert), "file", NULL,
	    "certificate chain, PEM" },
	{ 0, "key", "edge", &value_file, FIELD(key), "file", NULL,
	    "its private key, PEM" },
	{ 0, "client-ca", "edge", &value_file, FIELD(client_ca), "file", NULL,
	    "require certificates signed by these CAs" },
	{ 0, "self-signed", "edge", &value_flag, FIELD(self_signed), NULL, NULL,
	    "generate and keep a key, print its pin" },
	{ 0, "users", "edge", &value_file, FIELD(users), "file", NULL,
	    "file of users and hashed passwords" },
	{ 0, "open", "edge", &value_flag, FIELD(open), NULL, NULL,
	    "serve everyone without a password" },
	{ 0, "resolver", "edge", &value_addrs, FIELD(resolver), "addr:port",
	    NULL, "use this name server, not the system's" },
	{ 0, "run-as", "edge", &value_user_name, FIELD(run_as), "name", NULL,
	    "switch to this user if started as root" },
	{ 0, "tunnels-max", "limits", &value_count, FIELD(tunnels_max),
	    "number", "65536", "tunnels in total" },
	{ 0, "tunnels-per-user", "limits", &value_count,
	    FIELD(tunnels_per_user), "number", "10240", "tunnels of one user" },
	{ 0, "streams-max", "limits", &value_streams, FIELD(streams_max),
	    "number", "16384", "tunnels of one connection" },
	{ 0, "dials-per-origin", "limits", &value_count,
	    FIELD(dials_per_origin), "number", "256",
	    "attempts to one address and port" },
	{ 0, "source-connections", "limits", &value_count,
	    FIELD(source_connections), "number", "1024",
	    "connections of one address" },
	{ 0, "handshake-rate", "limits", &value_count, FIELD(handshake_rate),
	    "number", "500", "handshakes per second before Retry" },
	{ 0, "half-open-max", "limits", &value_count, FIELD(half_open_max),
	    "number", "256", "handshakes before Retry" },
	{ 0, "head-timeout", "limits", &value_timeout, FIELD(head_timeout),
	    "seconds", "10", "time for a request to arrive" },
	{ 0, "connect-timeout", "limits", &value_timeout,
	    FIELD(connect_timeout), "seconds", "10",
	    "time to connect to an origin" },
	{ 0, "allow", "policy", &value_ranges, FIELD(allow), "cidr[:port]",
	    NULL, "allow destinations denied by default" },
	{ 0, "deny", "policy", &value_ranges, FIELD(deny), "cidr[:port]", NULL,
	    "deny destinations" },
};

static const struct config_option shared_options[] = {
	{ 0, "tunnel-timeout", "limits", &value_seconds, FIELD(tunnel_timeout),
	    "seconds", "0", "end idle tunnels after this; 0: never" },
	{ 0, "keepalive-timeout", "limits", &value_timeout,
	    FIELD(keepalive_timeout), "seconds", "120",
	    "give up silent TCP peers after this" },
	{ 0, "memory-max", "limits", &value_memory, FIELD(memory_max), "size",
	    "256M", "memory for tunnels and their data" },
	{ 0, "grace", "limits", &value_seconds, FIELD(grace), "seconds", "5",
	    "time to finish open tunnels at shutdown" },
	{ 0, "mtu-max", "path", &value_mtu, FIELD(mtu_max), "bytes", NULL,
	    "largest IP packets to send" },
	{ 0, "cc", "path", &value_cc, FIELD(cc), "cubic|bbr", "bbr",
	    "congestion control" },
	{ 0, "no-repair", "path", &value_flag, FIELD(no_repair), NULL, NULL,
	    "add no repair packets on lossy paths" },
	{ 0, "no-ipsec-mb", "path", &value_flag, FIELD(no_ipsec_mb), NULL, NULL,
	    "encrypt by GnuTLS in any case" },
	{ 0, "qlog", "log", &value_directory, FIELD(qlog), "dir", NULL,
	    "write qlog traces to this directory" },
	{ 0, "log-format", "log", &value_log_format, FIELD(log_format),
	    "text|json", "text", "format of log lines" },
	{ 'v', "verbose", "log", &value_verbose, FIELD(verbose), NULL, NULL,
	    "log more" },
	{ 'q', "quiet", "log", &value_flag, FIELD(quiet), NULL, NULL,
	    "log errors only" },
};

static const struct config_option command_options[] = {
	{ 'f', "config", NULL, NULL, 0, "file", NULL,
	    "read the configuration from this file" },
	{ 'o', "option", NULL, NULL, 0, "section.key=value", NULL,
	    "set one key of the configuration file" },
	{ 'n', "check", NULL, NULL, 0, NULL, NULL,
	    "check the configuration and exit" },
	{ 'h', "help", NULL, NULL, 0, NULL, NULL, "print this and exit" },
	{ 'V', "version", NULL, NULL, 0, NULL, NULL,
	    "print the version and exit" },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const struct config_option *
option_at(enum config_program program, size_t i)
{
	const struct {
		const struct config_option *rows;
		size_t n;
	} parts[] = {
		{ culvert_options,
		    program == CONFIG_CULVERT ? COUNT(culvert_options) : 0 },
		{ culvert_edge_options,
		    program == CONFIG_CULVERT_EDGE ? COUNT(culvert_edge_options)
						   : 0 },
		{ shared_options, COUNT(shared_options) },
		{ command_options, COUNT(command_options) },
	};

	for (size_t part = 0; part < COUNT(parts); part++) {
		if (i < parts[part].n)
			return &parts[part].rows[i];
		i -= parts[part].n;
	}
	return NULL;
}

const struct config_option *
option_find(enum config_program program, const char *name, size_t *at)
{
	const struct config_option *option;

	for (size_t i = 0; (option = option_at(program, i)) != NULL; i++) {
		if (strcmp(option->name, name) == 0) {
			if (at != NULL)
				*at = i;
			return option;
		}
	}
	return NULL;
}

void *
option_field(const struct config_option *option, const struct config *config)
{
	return (char *)(uintptr_t)config + option->offset;
}

/* Sockets are bound and the file system is closed before the first client. */
bool
option_is_fixed(const struct config_option *option)
{
	static const char *const names[] = { "listen", "forward", "control",
		"embedded-edge", "qlog", "resolver", "run-as" };

	for (size_t i = 0; i < COUNT(names); i++)
		if (strcmp(option->name, names[i]) == 0)
			return true;
	return false;
}

const char *
option_program_name(enum config_program program)
{
	return program == CONFIG_CULVERT ? "culvert" : "culvert-edge";
}

static const struct config_option *
find_letter(enum config_program program, int letter)
{
	const struct config_option *option;

	for (size_t i = 0; (option = option_at(program, i)) != NULL; i++) {
		if (option->letter == letter)
			return option;
	}
	return NULL;
}

/* The state of the usage text. */
struct usage {
	enum config_program program;
	FILE *stream;
	int indent, column;
};

static void
print_item(struct usage *usage, const char *item)
{
	int len = (int)strlen(item);

	if (usage->column + 1 + len > USAGE_WIDTH) {
		fprintf(usage->stream, "\n%*s", usage->indent, "");
		usage->column = usage->indent;
	}
	usage->column += fprintf(usage->stream, " %s", item);
}

/* Flags without a value come first, in one pair of brackets (mdoc(7)). */
static void
print_switches(struct usage *usage)
{
	const struct config_option *option;
	char item[sizeof(letters) + 3] = "[-";
	size_t len = strlen(item);

	for (const char *c = letters; *c != '\0'; c++) {
		option = find_letter(usage->program, *c);
		if (option != NULL && option->metavar == NULL)
			item[len++] = *c;
	}
	item[len] = ']';
	print_item(usage, item);
}

static void
print_letters(struct usage *usage)
{
	const struct config_option *option;
	char item[USAGE_WIDTH];

	for (const char *c = letters; *c != '\0'; c++) {
		option = find_letter(usage->program, *c);
		if (option == NULL || option->metavar == NULL)
			continue;
		snprintf(item, sizeof(item), "[-%c %s]", *c, option->metavar);
		print_item(usage, item);
	}
}

static void
print_names(struct usage *usage)
{
	const struct config_option *option;
	char item[USAGE_WIDTH];

	for (size_t i = 0; (option = option_at(usage->program, i)) != NULL;
	     i++) {
		if (option->letter != '\0')
			continue;
		snprintf(item, sizeof(item), "[--%s%s%s]", option->name,
		    option->metavar != NULL ? " " : "",
		    option->metavar != NULL ? option->metavar : "");
		print_item(usage, item);
	}
}

static void
print_help(const struct config_option *option, FILE *stream)
{
	int column = 0;

	if (option->letter != '\0')
		column += fprintf(stream, "  -%c, ", option->letter);
	else
		column += fprintf(stream, "      ");
	column += fprintf(stream, "--%s", option->name);
	if (option->metavar != NULL)
		column += fprintf(stream, " %s", option->metavar);
	fprintf(stream, "%*s%s", HELP_COLUMN - column, "", option->help);
	if (option->fallback != NULL)
		fprintf(stream, " (%s)", option->fallback);
	fputc('\n', stream);
}

void
option_usage(enum config_program program, FILE *stream)
{
	struct usage usage = { .program = program, .stream = stream };
	const struct config_option *option;

	usage.indent = fprintf(stream, "usage: %s",
	    option_program_name(program));
	usage.column = usage.indent;
	print_switches(&usage);
	print_letters(&usage);
	print_names(&usage);
	fputs("\n\n", stream);
	for (size_t i = 0; (option = option_at(program, i)) != NULL; i++)
		print_help(option, stream);
}
