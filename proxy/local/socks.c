/*
 * A message is gathered octet by octet in s->in. After each octet the reader of
 * the current state checks whether its message is complete, and only then acts
 * on it: nothing is read past a message, and the split of the input makes no
 * difference.
 *
 *	VERSION --5--> METHODS --0x00--> REQUEST -----> REPLY -> DONE
 *	   |              |                 ^             ^
 *	   4            0x02 -> PASSWORD -> VERDICT       |
 *	   +------------------------------> REQUEST4 -----+
 *
 * VERDICT and REPLY wait for the caller. PASSWORD goes to REQUEST without a
 * verdict where no password is required. Every refusal leads to CLOSED.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <gnutls/gnutls.h>

#include "proxy/local/socks.h"
#include "proxy/local/outbound/connect_error.h"

#define VERSION4 0x04
#define VERSION5 0x05
#define PASSWORD_VERSION 0x01 /* RFC 1929 §2 */

#define METHOD_NONE 0x00
#define METHOD_PASSWORD 0x02
#define METHOD_UNACCEPTABLE 0xff

#define COMMAND_CONNECT 0x01

#define ADDRESS_IPV4 0x01
#define ADDRESS_NAME 0x03
#define ADDRESS_IPV6 0x04

#define SOCKS4_GRANTED 0x5a
#define SOCKS4_REFUSED 0x5b

/* Octets of a SOCKS4 user id or SOCKS4a name without its NUL. */
#define SOCKS4_STRING_MAX 255

void
socks_init(struct socks *s, bool password_required)
{
	memset(s, 0, sizeof(*s));
	s->password_required = password_required;
}

static enum socks_event
answer(struct socks *s, const uint8_t *out, size_t len, enum socks_state next)
{
	memcpy(s->out + s->outlen, out, len);
	s->outlen += len;
	s->inlen = 0;
	s->state = next;
	return next == SOCKS_STATE_CLOSED ? SOCKS_CLOSE : SOCKS_SEND;
}

static enum socks_event
hang_up(struct socks *s, const char *why)
{
	s->why = why;
	s->state = SOCKS_STATE_CLOSED;
	return SOCKS_CLOSE;
}

static enum socks_event
reply(struct socks *s, enum socks_code code)
{
	bool ok = code == SOCKS_SUCCEEDED;
	enum socks_state next = ok ? SOCKS_STATE_DONE : SOCKS_STATE_CLOSED;
	uint8_t reply4[8] = { 0, ok ? SOCKS4_GRANTED : SOCKS4_REFUSED };
	uint8_t reply5[10] = { VERSION5, (uint8_t)code, 0, ADDRESS_IPV4 };

	if (s->version4)
		return answer(s, reply4, sizeof(reply4), next);
	return answer(s, reply5, sizeof(reply5), next);
}

static enum socks_event
refuse(struct socks *s, enum socks_code code, const char *why)
{
	s->why = why;
	return reply(s, code);
}

static enum socks_event
password_status(struct socks *s, bool ok)
{
	uint8_t out[] = { PASSWORD_VERSION, ok ? 0x00 : 0x01 };

	explicit_bzero(s->in, sizeof(s->in));
	s->user = s->password = NULL;
	if (!ok && s->why == NULL)
		s->why = "the user name or the password is wrong";
	return answer(s, out, sizeof(out),
	    ok ? SOCKS_STATE_REQUEST : SOCKS_STATE_CLOSED);
}

/* An address in the brackets that it has in a URI. */
static bool
is_bracketed(const char *host, size_t len)
{
	struct target target;

	return len > 0 && host[0] == '[' && host[len - 1] == ']' &&
	    target_parse(&target, host, len, 1) == 0;
}

/*
 * Sets a name with characters outside ASCII: as a rule the client leaves it to
 * the proxy to encode it (RFC 5891).
 */
static int
set_idn(struct socks *s, const char *host, size_t len, uint16_t port)
{
	gnutls_datum_t ascii;
	int rv;

	if (gnutls_idna_map(host, (unsigned)len, &ascii, 0) < 0)
		return -EINVAL;
	rv = target_set(&s->target, (const char *)ascii.data, ascii.size, port);
	gnutls_free(ascii.data);
	return rv;
}

static bool
is_ascii(const char *host, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((host[i] & 0x80) != 0)
			return false;
	return true;
}

static enum socks_event
take_target(struct socks *s, const char *host, size_t len, uint16_t port)
{
	int rv;

	if (len == 0 || port == 0)
		return refuse(s, SOCKS_GENERAL_FAILURE,
		    "the request names no host or no port");
	if (is_bracketed(host, len)) {
		host++;
		len -= 2;
	}
	rv = is_ascii(host, len) ? target_set(&s->target, host, len, port)
				 : set_idn(s, host, len, port);
	if (rv != 0)
		return refuse(s, SOCKS_HOST_UNREACHABLE,
		    "the name in the request cannot be that of a host");
	s->inlen = 0;
	s->state = SOCKS_STATE_REPLY;
	return SOCKS_CONNECT;
}

static enum socks_event
take_address(struct socks *s, int family, const uint8_t *address, uint16_t port)
{
	char host[INET6_ADDRSTRLEN];

	inet_ntop(family, address, host, sizeof(host));
	return take_target(s, host, strlen(host), port);
}

static uint16_t
read_port(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static enum socks_event
read_version(struct socks *s)
{
	s->version4 = s->in[0] == VERSION4;
	if (s->version4)
		s->state = SOCKS_STATE_REQUEST4;
	else if (s->in[0] == VERSION5)
		s->state = SOCKS_STATE_METHODS;
	else
		return hang_up(s, "unknown version of SOCKS");
	return SOCKS_NEED_MORE;
}

/*
 * +-----+----------+---------+
 * | VER | NMETHODS | METHODS |
 * +-----+----------+---------+
 */
static enum socks_event
read_methods(struct socks *s)
{
	uint8_t out[] = { VERSION5, METHOD_UNACCEPTABLE };
	bool none, password;

	if (s->inlen < 2 || s->inlen < 2u + s->in[1])
		return SOCKS_NEED_MORE;
	none = memchr(s->in + 2, METHOD_NONE, s->in[1]) != NULL;
	password = memchr(s->in + 2, METHOD_PASSWORD, s->in[1]) != NULL;
	if (none && !s->password_required) {
		out[1] = METHOD_NONE;
		return answer(s, out, sizeof(out), SOCKS_STATE_REQUEST);
	}
	if (password) {
		out[1] = METHOD_PASSWORD;
		return answer(s, out, sizeof(out), SOCKS_STATE_PASSWORD);
	}
	s->why = s->password_required
	    ? "the client offers no password, and this proxy requires one"
	    : "no method in common";
	return answer(s, out, sizeof(out), SOCKS_STATE_CLOSED);
}

/*
 * +-----+------+-------+------+--------+
 * | VER | ULEN | UNAME | PLEN | PASSWD |
 * +-----+------+-------+------+--------+
 */
static enum socks_event
read_password(struct socks *s)
{
	size_t ulen, plen;

	if (s->in[0] != PASSWORD_VERSION) {
		s->why = "the client's password is not in the form of RFC 1929";
		return password_status(s, false);
	}
	if (s->inlen < 2 || s->inlen < 3u + s->in[1])
		return SOCKS_NEED_MORE;
	ulen = s->in[1];
	plen = s->in[2 + ulen];
	if (s->inlen < 3 + ulen + plen)
		return SOCKS_NEED_MORE;
	if (!s->password_required)
		return password_status(s, true);

	/* The octet after the name has been read: it becomes its NUL. */
	s->in[2 + ulen] = s->in[3 + ulen + plen] = '\0';
	s->user = (const char *)s->in + 2;
	s->password = (const char *)s->in + 3 + ulen;
	if (strlen(s->user) != ulen || strlen(s->password) != plen)
		return password_status(s, false);
	s->state = SOCKS_STATE_VERDICT;
	return SOCKS_AUTHENTICATE;
}

/*
 * +-----+-----+-----+------+----------+----------+
 * | VER | CMD | RSV | ATYP | DST.ADDR | DST.PORT |
 * +-----+-----+-----+------+----------+----------+
 */
static enum socks_event
read_request(struct socks *s)
{
	const uint8_t *address = s->in + 4;
	size_t len;

	if (s->in[0] != VERSION5)
		return refuse(s, SOCKS_GENERAL_FAILURE,
		    "the request is not one of SOCKS5");
	if (s->inlen < 5)
		return SOCKS_NEED_MORE;
	switch (s->in[3]) {
	case ADDRESS_IPV4:
		len = 4;
		break;
	case ADDRESS_IPV6:
		len = 16;
		break;
	case ADDRESS_NAME:
		len = *address++;
		break;
	default:
		return refuse(s, SOCKS_ADDRESS_TYPE_NOT_SUPPORTED,
		    "unknown type of address");
	}
	if (s->in + s->inlen < address + len + 2)
		return SOCKS_NEED_MORE;
	if (s->in[1] != COMMAND_CONNECT)
		return refuse(s, SOCKS_COMMAND_NOT_SUPPORTED,
		    "only CONNECT is served");
	if (s->in[3] == ADDRESS_NAME)
		return take_target(s, (const char *)address, len,
		    read_port(address + len));
	return take_address(s, len == 4 ? AF_INET : AF_INET6, address,
	    read_port(address + len));
}

/*
 * +----+----+---------+-------+--------+-----+            +------+-----+
 * | VN | CD | DSTPORT | DSTIP | USERID | NUL |   SOCKS4a: | NAME | NUL |
 * +----+----+---------+-------+--------+-----+            +------+-----+
 * An address of 0.0.0.x, where x is not 0, says that a name follows.
 */
static enum socks_event
read_request4(struct socks *s)
{
	static const uint8_t zeros[3];
	const uint8_t *user = s->in + 8, *name, *nul;

	if (s->inlen <= 8)
		return SOCKS_NEED_MORE;
	nul = memchr(user, '\0', s->inlen - 8);
	if (nul == NULL && s->inlen - 8 > SOCKS4_STRING_MAX)
		return refuse(s, SOCKS_GENERAL_FAILURE,
		    "the user id is too long");
	if (nul == NULL)
		return SOCKS_NEED_MORE;
	if (s->in[1] != COMMAND_CONNECT || s->password_required)
		return refuse(s, SOCKS_NOT_ALLOWED,
		    s->password_required
			? "SOCKS4 has no password, and this proxy requires one"
			: "only CONNECT is served");
	if (memcmp(s->in + 4, zeros, sizeof(zeros)) != 0 || s->in[7] == 0)
		return take_address(s, AF_INET, s->in + 4,
		    read_port(s->in + 2));

	name = nul + 1;
	if (s->in + s->inlen == name)
		return SOCKS_NEED_MORE;
	nul = s->in + s->inlen - 1;
	if (*nul != '\0' && nul - name >= SOCKS4_STRING_MAX)
		return refuse(s, SOCKS_GENERAL_FAILURE, "the name is too long");
	if (*nul != '\0')
		return SOCKS_NEED_MORE;
	return take_target(s, (const char *)name, (size_t)(nul - name),
	    read_port(s->in + 2));
}

static enum socks_event
read_message(struct socks *s)
{
	switch (s->state) {
	case SOCKS_STATE_VERSION:
		return read_version(s);
	case SOCKS_STATE_METHODS:
		return read_methods(s);
	case SOCKS_STATE_PASSWORD:
		return read_password(s);
	case SOCKS_STATE_REQUEST:
		return read_request(s);
	case SOCKS_STATE_REQUEST4:
		return read_request4(s);
	default:
		return SOCKS_NEED_MORE;
	}
}

enum socks_event
socks_feed(struct socks *s, const uint8_t *data, size_t len, size_t *consumed)
{
	enum socks_event event = SOCKS_NEED_MORE;

	*consumed = 0;
	if (s->state == SOCKS_STATE_CLOSED)
		return SOCKS_CLOSE;
	if (s->state == SOCKS_STATE_VERDICT || s->state == SOCKS_STATE_REPLY ||
	    s->state == SOCKS_STATE_DONE)
		return SOCKS_NEED_MORE;
	while (event == SOCKS_NEED_MORE && *consumed < len) {
		s->in[s->inlen++] = data[(*consumed)++];
		event = read_message(s);
	}
	return event;
}

void
socks_sent(struct socks *s)
{
	s->outlen = 0;
}

enum socks_event
socks_authenticated(struct socks *s, bool ok)
{
	if (s->state != SOCKS_STATE_VERDICT)
		return SOCKS_NEED_MORE;
	return password_status(s, ok);
}

enum socks_event
socks_reply(struct socks *s, enum socks_code code)
{
	if (s->state != SOCKS_STATE_REPLY)
		return SOCKS_NEED_MORE;
	return reply(s, code);
}

/*
 * An edge that gives no error type is understood by its status alone
 * (RFC 9110 §15). 502 stands for anything that happens between it and the
 * target, for which RFC 1928 has only general failure.
 */
static enum socks_code
code_of_status(int status)
{
	switch (status) {
	case 401:
	case 403:
	case 451:
		return SOCKS_NOT_ALLOWED;
	case 504:
		return SOCKS_TTL_EXPIRED;
	default:
		return SOCKS_GENERAL_FAILURE;
	}
}

enum socks_code
socks_code_of(const struct connect_error *e)
{
	switch (e->type) {
	case CONNECT_ERROR_DNS_ERROR:
	case CONNECT_ERROR_DNS_TIMEOUT:
	case CONNECT_ERROR_DESTINATION_NOT_FOUND:
	case CONNECT_ERROR_DESTINATION_UNAVAILABLE:
		return SOCKS_HOST_UNREACHABLE;
	case CONNECT_ERROR_DESTINATION_IP_UNROUTABLE:
		return SOCKS_NETWORK_UNREACHABLE;
	case CONNECT_ERROR_CONNECTION_REFUSED:
		return SOCKS_CONNECTION_REFUSED;
	case CONNECT_ERROR_CONNECTION_TIMEOUT:
	case CONNECT_ERROR_EDGE_TIMEOUT:
		return SOCKS_TTL_EXPIRED;
	case CONNECT_ERROR_DESTINATION_IP_PROHIBITED:
	case CONNECT_ERROR_HTTP_REQUEST_DENIED:
	case CONNECT_ERROR_RULE:
	case CONNECT_ERROR_EDGE_CREDENTIALS:
		return SOCKS_NOT_ALLOWED;
	case CONNECT_ERROR_EDGE_STATUS:
		return code_of_status(e->edge_status);
	default:
		return SOCKS_GENERAL_FAILURE;
	}
}
