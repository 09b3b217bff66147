#ifndef CULVERT_PROXY_LOCAL_SOCKS_H
#define CULVERT_PROXY_LOCAL_SOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/addr.h"

struct connect_error;

/*
 * The server side of SOCKS5 (RFC 1928), its user/password sub-negotiation
 * (RFC 1929), SOCKS4 and SOCKS4a, up to the reply after which the connection
 * is a tunnel. A push machine: bytes in any split go in, events and the bytes
 * of the answer come out. It does no I/O, allocates no memory and resolves no
 * name.
 *
 *	socks_init
 *	socks_feed, with what was read, until an event:
 *		SOCKS_AUTHENTICATE	check, then socks_authenticated
 *		SOCKS_CONNECT		open the tunnel, then socks_reply
 */

/*
 * Octets of the longest message: a SOCKS4a request of 8 octets, a user id and
 * a name, each of 255 octets and its NUL.
 */
#define SOCKS_MESSAGE_MAX 520

/* Octets of a method, a verdict, and a SOCKS5 reply with an IPv4 address. */
#define SOCKS_ANSWERS_MAX 14

enum socks_event {
	/*
	 * All the bytes given are consumed, or the caller must first call
	 * socks_authenticated or socks_reply: then nothing more is consumed.
	 */
	SOCKS_NEED_MORE,

	/*
	 * There is an answer in out: go on feeding what is left, and send it
	 * before waiting for more.
	 */
	SOCKS_SEND,

	/*
	 * Check user and password, then call socks_authenticated. Seen only
	 * where a password is required.
	 */
	SOCKS_AUTHENTICATE,

	/* Open a tunnel to target, then call socks_reply. */
	SOCKS_CONNECT,

	/*
	 * Refused or malformed: send out, which may be empty, then close.
	 * Feeding again consumes nothing and returns this again.
	 */
	SOCKS_CLOSE
};

/* Reply codes of RFC 1928 §6, with their values on the wire. */
enum socks_code {
	SOCKS_SUCCEEDED = 0x00,
	SOCKS_GENERAL_FAILURE = 0x01,
	SOCKS_NOT_ALLOWED = 0x02,
	SOCKS_NETWORK_UNREACHABLE = 0x03,
	SOCKS_HOST_UNREACHABLE = 0x04,
	SOCKS_CONNECTION_REFUSED = 0x05,
	SOCKS_TTL_EXPIRED = 0x06, /* by custom also: connecting timed out */
	SOCKS_COMMAND_NOT_SUPPORTED = 0x07,
	SOCKS_ADDRESS_TYPE_NOT_SUPPORTED = 0x08
};

enum socks_state {
	SOCKS_STATE_VERSION,
	SOCKS_STATE_METHODS,
	SOCKS_STATE_PASSWORD,
	SOCKS_STATE_VERDICT,
	SOCKS_STATE_REQUEST,
	SOCKS_STATE_REQUEST4,
	SOCKS_STATE_REPLY,
	SOCKS_STATE_DONE,
	SOCKS_STATE_CLOSED
};

/*
 * One client's negotiation, in the caller's memory. Callers read target,
 * user, password, out and outlen, each only where an event says so.
 */
struct socks {
	/* The target of the request. Complete from SOCKS_CONNECT on. */
	struct target target;

	/*
	 * The client's credentials, each of 0 to 255 octets without a NUL.
	 * They point into this struct, from SOCKS_AUTHENTICATE until
	 * socks_authenticated, which wipes them.
	 */
	const char *user;
	const char *password;

	/*
	 * The answers that were not sent yet: a client that sends all its
	 * messages at once gets all answers at once.
	 */
	uint8_t out[SOCKS_ANSWERS_MAX];
	size_t outlen;

	/*
	 * After a SOCKS_CLOSE that is not the caller's refusal: why, a static
	 * sentence for the log.
	 */
	const char *why;

	/* Private: the state, and the message being read. */
	enum socks_state state;
	bool password_required;
	bool version4;
	size_t inlen;
	uint8_t in[SOCKS_MESSAGE_MAX + 1];
};

/*
 * Begins a negotiation. With password_required only clients that offer the
 * method user/password (0x02) are served, and SOCKS4 is refused since it has
 * no password. Without it "no authentication" (0x00) is preferred, and a
 * client that offers user/password alone is accepted with any password.
 *
 * If a session ends after SOCKS_AUTHENTICATE and before the verdict, call
 * socks_authenticated(s, false) to wipe the password.
 */
void socks_init(struct socks *s, bool password_required);

/*
 * Takes bytes read from the client and stops after the first event. *consumed
 * is how many of the len bytes were used: never one past the request, so the
 * rest after SOCKS_CONNECT is the tunnel's first data.
 *
 * It refuses these by itself, always with SOCKS_CLOSE:
 *	no acceptable method			method 0xff
 *	credentials with a NUL in them, or in
 *	a message of another version		RFC 1929 failure
 *	BIND, UDP ASSOCIATE			0x07
 *	an unknown address type			0x08
 *	another version in the request, port 0,
 *	or a name of no octets			0x01
 *	a name that no host can have		0x04
 *	SOCKS4: any of these, an endless user id	0x5b
 *	another version at the beginning	nothing
 *
 * A name may be an address; brackets around an IPv6 address are taken off, and
 * a name in UTF-8 is encoded as IDNA2008 has it.
 */
enum socks_event
socks_feed(struct socks *s, const uint8_t *data, size_t len, size_t *consumed);

/* The bytes in out were sent. */
void socks_sent(struct socks *s);

/*
 * The verdict after SOCKS_AUTHENTICATE, which wipes user and password.
 * Returns SOCKS_SEND when ok, after which feeding goes on with the bytes that
 * were left, and SOCKS_CLOSE otherwise. In any other state it does nothing
 * and returns SOCKS_NEED_MORE.
 */
enum socks_event socks_authenticated(struct socks *s, bool ok);

/*
 * The outcome of SOCKS_CONNECT. Returns SOCKS_SEND for SOCKS_SUCCEEDED: after
 * out the connection is the tunnel. Any other code returns SOCKS_CLOSE. The
 * bound address in a SOCKS5 reply is 0.0.0.0:0, since only the edge knows it;
 * SOCKS4 has one code for every refusal. In any other state it does nothing and
 * returns SOCKS_NEED_MORE.
 */
enum socks_event socks_reply(struct socks *s, enum socks_code code);

/* The reply code that means this error, or the nearest one. */
enum socks_code socks_code_of(const struct connect_error *);

#endif
