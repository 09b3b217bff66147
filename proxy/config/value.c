#include <errno.h>
#include <net/if.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "proxy/config/config.h"
#include "proxy/base/address_rule.h"
#include "proxy/config/value.h"

#define VERBOSE_MAX 3 /* times: the log has fewer levels */

#define PIN_PREFIX "sha256//" /* as curl writes pins */
#define PIN_DIGITS 43	      /* base64 digits of 32 bytes, before one '=' */

static int
set_text(void *field, const char *value)
{
	char **text = field, *copy;

	if (value[0] == '\0')
		return -EINVAL;
	copy = strdup(value);
	if (copy == NULL)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

static int
set_socket_path(void *field, const char *value)
{
	if (strlen(value) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return -EINVAL;
	return set_text(field, value);
}

static int
set_flag(void *field, const char *value)
{
	static const char *const words[] = { "no", "false", "off", "0", "yes",
		"true", "on", "1" };
	const size_t n = sizeof(words) / sizeof(words[0]);
	bool *flag = field;

	if (value == NULL) {
		*flag = true;
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		if (strcmp(value, words[i]) == 0) {
			*flag = i >= n / 2;
			return 0;
		}
	}
	return -EINVAL;
}

static int
parse_number(const char *value, unsigned min, unsigned max)
{
	unsigned long number;
	char *end;

	if (value[0] < '0' || value[0] > '9')
		return -EINVAL;
	errno = 0;
	number = strtoul(value, &end, 10);
	if (errno != 0 || *end != '\0' || number < min || number > max)
		return -EINVAL;
	return (int)number;
}

static int
set_verbose(void *field, const char *value)
{
	unsigned *count = field;
	int number;

	if (value == NULL) {
		if (*count < VERBOSE_MAX)
			++*count;
		return 0;
	}
	number = parse_number(value, 0, VERBOSE_MAX);
	if (number < 0)
		return number;
	*count = (unsigned)number;
	return 0;
}

static int
set_number(void *field, const char *value, unsigned least, unsigned most)
{
	int number = parse_number(value, least, most);

	if (number < 0)
		return number;
	*(unsigned *)field = (unsigned)number;
	return 0;
}

static int
set_mtu(void *field, const char *value)
{
	return set_number(field, value, CONFIG_MTU_LEAST, CONFIG_MTU_MOST);
}

static int
set_seconds(void *field, const char *value)
{
	return set_number(field, value, 0, CONFIG_SECONDS_MOST);
}

static int
set_timeout(void *field, const char *value)
{
	return set_number(field, value, 1, CONFIG_SECONDS_MOST);
}

static int
set_connections(void *field, const char *value)
{
	return set_number(field, value, 1, CONFIG_CONNECTIONS_MOST);
}

static int
set_spread(void *field, const char *value)
{
	if (strcmp(value, "auto") != 0)
		return set_connections(field, value);
	*(unsigned *)field = CONFIG_SPREAD_AUTO;
	return 0;
}

static int
set_streams(void *field, const char *value)
{
	return set_number(field, value, 1, CONFIG_STREAMS_MOST);
}

static int
set_count(void *field, const char *value)
{
	return set_number(field, value, 1, CONFIG_NUMBER_MOST);
}

static int
set_quota(void *field, const char *value)
{
	return set_number(field, value, 0, CONFIG_NUMBER_MOST);
}

static int
set_head(void *field, const char *value)
{
	return set_number(field, value, CONFIG_HEAD_LEAST, CONFIG_HEAD_MOST);
}

static int
set_memory(void *field, const char *value)
{
	static const char units[] = "KMG";
	unsigned shift = 0;
	const char *unit;
	size_t number;
	char *end;

	if (value[0] < '0' || value[0] > '9')
		return -EINVAL;
	errno = 0;
	number = strtoul(value, &end, 10);
	if (*end != '\0' && (unit = strchr(units, *end)) != NULL) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
	}
	if (errno != 0 || *end != '\0' || number > SIZE_MAX >> shift ||
	    number << shift < QUIC_MEMORY_MIN)
		return -EINVAL;
	*(size_t *)field = number << shift;
	return 0;
}

static int
set_cc(void *field, const char *value)
{
	enum quic_cc *cc = field;

	if (strcmp(value, "cubic") == 0)
		*cc = QUIC_CC_CUBIC;
	else if (strcmp(value, "bbr") == 0)
		*cc = QUIC_CC_BBR;
	else
		return -EINVAL;
	return 0;
}

/* A valid name of an interface, which need not exist yet. */
static int
set_interface(void *field, const char *value)
{
	if (strlen(value) >= IF_NAMESIZE || strcmp(value, ".") == 0 ||
	    strcmp(value, "..") == 0 || strpbrk(value, "/: \t") != NULL)
		return -EINVAL;
	return set_text(field, value);
}

static int
set_mark(void *field, const char *value)
{
	unsigned long long mark;
	char *end;

	if (value[0] < '0' || value[0] > '9')
		return -EINVAL;
	errno = 0;
	mark = strtoull(value, &end, strncmp(value, "0x", 2) == 0 ? 16 : 10);
	if (errno != 0 || *end != '\0' || mark == 0 || mark > UINT32_MAX)
		return -EINVAL;
	*(uint32_t *)field = (uint32_t)mark;
	return 0;
}

static int
set_log_format(void *field, const char *value)
{
	enum log_format *format = field;

	if (strcmp(value, "text") == 0)
		*format = LOG_TEXT;
	else if (strcmp(value, "json") == 0)
		*format = LOG_JSON;
	else
		return -EINVAL;
	return 0;
}

static int
add_addr(void *field, const char *value)
{
	struct config_addrs *list = field;
	struct sockaddr_storage addr;

	if (addr_parse(&addr, value) != 0)
		return -EINVAL;
	if (list->n == CONFIG_LISTEN_MAX)
		return -ENOSPC;
	list->v[list->n++] = addr;
	return 0;
}

/* ADDR:PORT=HOST:PORT */
static int
add_forward(void *field, const char *value)
{
	struct config_forwards *list = field;
	const char *equals = strchr(value, '=');
	struct config_forward forward;
	char listen[ADDR_STRLEN];
	size_t len = equals != NULL ? (size_t)(equals - value) : 0;

	if (len == 0 || len >= sizeof(listen))
		return -EINVAL;
	memcpy(listen, value, len);
	listen[len] = '\0';
	if (addr_parse(&forward.listen, listen) != 0 ||
	    target_parse(&forward.target, equals + 1, strlen(equals + 1), 0) !=
		0)
		return -EINVAL;
	if (list->n == CONFIG_FORWARD_MAX)
		return -ENOSPC;
	list->v[list->n++] = forward;
	return 0;
}

static int
add_target(void *field, const char *value)
{
	struct config_targets *list = field;
	struct target target;

	if (target_parse(&target, value, strlen(value), CONFIG_EDGE_PORT) != 0)
		return -EINVAL;
	if (list->n == CONFIG_EDGE_MAX)
		return -ENOSPC;
	list->v[list->n++] = target;
	return 0;
}

static int
add_range(void *field, const char *value)
{
	struct config_ranges *list = field;
	struct rule rule;

	if (rule_parse(&rule, value) != 0 || strlen(value) >= RULE_STRLEN)
		return -EINVAL;
	if (list->n == CONFIG_RANGE_MAX)
		return -ENOSPC;
	strcpy(list->v[list->n++], value);
	return 0;
}

/*
 * Strict: the two unused bits of the last digit must be zero, so that each pin
 * has exactly one encoding (RFC 4648 3.5).
 */
static int
parse_pin(uint8_t pin[QUIC_PIN_LEN], const char *value)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	const size_t prefix = strlen(PIN_PREFIX);
	unsigned bits = 0, nbits = 0;

	if (strncmp(value, PIN_PREFIX, prefix) != 0 ||
	    strlen(value + prefix) != PIN_DIGITS + 1 ||
	    value[prefix + PIN_DIGITS] != '=')
		return -EINVAL;
	for (size_t i = 0; i < PIN_DIGITS; i++) {
		const char *digit = strchr(digits, value[prefix + i]);

		if (digit == NULL)
			return -EINVAL;
		bits = (bits << 6 | (unsigned)(digit - digits)) & 0x3fff;
		nbits += 6;
		if (nbits >= 8) {
			nbits -= 8;
			*pin++ = (uint8_t)(bits >> nbits);
		}
	}
	return (bits & ((1U << nbits) - 1)) == 0 ? 0 : -EINVAL;
}

static int
add_pin(void *field, const char *value)
{
	struct config_pins *list = field;
	uint8_t pin[QUIC_PIN_LEN];

	if (parse_pin(pin, value) != 0)
		return -EINVAL;
	if (list->n == QUIC_PINS_MAX)
		return -ENOSPC;
	memcpy(list->v[list->n++], pin, sizeof(pin));
	return 0;
}

static int
set_user(void *field, const char *value)
{
	struct config_user *user = field;
	const char *colon = strchr(value, ':');
	size_t len = colon != NULL ? (size_t)(colon - value) : 0;

	if (len == 0 || len > CONFIG_USER_MAX ||
	    strlen(colon + 1) > CONFIG_USER_MAX)
		return -EINVAL;
	for (const char *s = value; *s != '\0'; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return -EINVAL;
	}
	explicit_bzero(user, sizeof(*user));
	memcpy(user->name, value, len);
	strcpy(user->password, colon + 1);
	return 0;
}

#define STRING(number) STRING_OF(number)
#define STRING_OF(number) #number

const struct value_type value_file = { .set = set_text,
	.size = sizeof(char *),
	.owned = true,
	.readable = true,
	.expected = "the path of a file" };
const struct value_type value_directory = { .set = set_text,
	.size = sizeof(char *),
	.owned = true,
	.expected = "the path of a directory" };
const struct value_type value_socket = { .set = set_socket_path,
	.size = sizeof(char *),
	.owned = true,
	.expected = "a path that a Unix socket can have (107 bytes)" };
const struct value_type value_user_name = { .set = set_text,
	.size = sizeof(char *),
	.owned = true,
	.expected = "the name of a user" };
const struct value_type value_flag = { .set = set_flag,
	.size = sizeof(bool),
	.bare = true,
	.expected = "yes or no" };
const struct value_type value_verbose = { .set = set_verbose,
	.size = sizeof(unsigned),
	.bare = true,
	.expected = "a number from 0 to " STRING(VERBOSE_MAX) };
const struct value_type value_mtu = { .set = set_mtu,
	.size = sizeof(unsigned),
	.expected = "a number of bytes from " STRING(
	    CONFIG_MTU_LEAST) " to " STRING(CONFIG_MTU_MOST) };
const struct value_type value_seconds = {
	.set = set_seconds,
	.size = sizeof(unsigned),
	.expected = "a number of seconds from 0 to " STRING(CONFIG_SECONDS_MOST)
};
const struct value_type value_connections = { .set = set_connections,
	.size = sizeof(unsigned),
	.expected = "a number from 1 to " STRING(CONFIG_CONNECTIONS_MOST) };
const struct value_type value_spread = { .set = set_spread,
	.size = sizeof(unsigned),
	.expected =
	    "auto, or a number from 1 to " STRING(CONFIG_CONNECTIONS_MOST) };
const struct value_type value_streams = { .set = set_streams,
	.size = sizeof(unsigned),
	.expected = "a number from 1 to " STRING(CONFIG_STREAMS_MOST) };
const struct value_type value_timeout = {
	.set = set_timeout,
	.size = sizeof(unsigned),
	.expected = "a number of seconds from 1 to " STRING(CONFIG_SECONDS_MOST)
};
const struct value_type value_count = { .set = set_count,
	.size = sizeof(unsigned),
	.expected = "a number from 1 to " STRING(CONFIG_NUMBER_MOST) };
const struct value_type value_quota = { .set = set_quota,
	.size = sizeof(unsigned),
	.expected = "a number from 0 to " STRING(CONFIG_NUMBER_MOST) };
const struct value_type value_head = { .set = set_head,
	.size = sizeof(unsigned),
	.expected = "a number of bytes from " STRING(
	    CONFIG_HEAD_LEAST) " to " STRING(CONFIG_HEAD_MOST) };
const struct value_type value_memory = { .set = set_memory,
	.size = sizeof(size_t),
	.expected = "a size from 16M on, in bytes or with K, M or G" };
const struct value_type value_cc = { .set = set_cc,
	.size = sizeof(enum quic_cc),
	.expected = "cubic or bbr" };
const struct value_type value_log_format = { .set = set_log_format,
	.size = sizeof(enum log_format),
	.expected = "text or json" };
const struct value_type value_interface = { .set = set_interface,
	.size = sizeof(char *),
	.owned = true,
	.expected = "the name of an interface, such as eth0" };
const struct value_type value_mark = { .set = set_mark,
	.size = sizeof(uint32_t),
	.expected = "a number from 1 to 0xffffffff" };
const struct value_type value_addrs = { .set = add_addr,
	.size = sizeof(struct config_addrs),
	.repeats = true,
	.most = CONFIG_LISTEN_MAX,
	.expected = "an address and a port, such as 127.0.0.1:1080 or "
		    "[::1]:1080" };
const struct value_type value_forwards = { .set = add_forward,
	.size = sizeof(struct config_forwards),
	.repeats = true,
	.most = CONFIG_FORWARD_MAX,
	.expected = "an address and a target, such as "
		    "127.0.0.1:8022=host.example:22" };
const struct value_type value_targets = { .set = add_target,
	.size = sizeof(struct config_targets),
	.repeats = true,
	.most = CONFIG_EDGE_MAX,
	.expected = "a host with or without a port, such as "
		    "edge.example:443 or [2001:db8::1]" };
const struct value_type value_ranges = { .set = add_range,
	.size = sizeof(struct config_ranges),
	.repeats = true,
	.most = CONFIG_RANGE_MAX,
	.expected = "a range of addresses, a port, or both, such as "
		    "10.0.0.0/8, fc00::/7:443 or :25" };
const struct value_type value_pins = { .set = add_pin,
	.size = sizeof(struct config_pins),
	.repeats = true,
	.most = QUIC_PINS_MAX,
	.expected = PIN_PREFIX " and the base64 of 32 bytes" };
const struct value_type value_user = { .set = set_user,
	.size = sizeof(struct config_user),
	.secret = true,
	.expected =
	    "name:password of at most " STRING(CONFIG_USER_MAX) " bytes each" };

void
value_clear(const struct value_type *type, void *field)
{
	if (type->owned)
		free(*(char **)field);
	explicit_bzero(field, type->size);
}

int
value_copy(const struct value_type *type, void *to, const void *from)
{
	const char *text;

	value_clear(type, to);
	if (!type->owned) {
		memcpy(to, from, type->size);
		return 0;
	}
	if ((text = *(char *const *)from) == NULL)
		return 0;
	*(char **)to = strdup(text);
	return *(char **)to != NULL ? 0 : -ENOMEM;
}

bool
value_equal(const struct value_type *type, const void *a, const void *b)
{
	const char *x, *y;

	if (!type->owned)
		return memcmp(a, b, type->size) == 0;
	x = *(char *const *)a;
	y = *(char *const *)b;
	return x == y || (x != NULL && y != NULL && strcmp(x, y) == 0);
}

void
value_explain(const struct value_type *type, int error, FILE *stream)
{
	if (error == -ENOMEM)
		fprintf(stream, "out of memory");
	else if (error == -ENOSPC)
		fprintf(stream, "is given more than %u times", type->most);
	else
		fprintf(stream, "the value is not %s", type->expected);
}
