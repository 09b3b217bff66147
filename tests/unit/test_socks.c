#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/local/socks.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Octets of a table row, their number included: NULs are welcome. */
#define OCTETS(literal) (const uint8_t *)literal, sizeof(literal) - 1

/* One client, and its results so far as text. */
struct session {
	struct socks socks;
	enum socks_code code; /* how its tunnel ends up */
	char log[1024];
};

static void __attribute__((format(printf, 2, 3)))
note(struct session *s, const char *format, ...)
{
	size_t len = strlen(s->log);
	va_list ap;

	va_start(ap, format);
	vsnprintf(s->log + len, sizeof(s->log) - len, format, ap);
	va_end(ap);
}

static void
note_answer(struct session *s, const char *what)
{
	note(s, "%s ", what);
	for (size_t i = 0; i < s->socks.outlen; i++)
		note(s, "%02x", s->socks.out[i]);
	note(s, "; ");
	socks_sent(&s->socks);
}

/* Acts on an event as a client session does; the password is "secret". */
static void
act(struct session *s, enum socks_event event)
{
	switch (event) {
	case SOCKS_NEED_MORE:
		break;
	case SOCKS_SEND:
		note_answer(s, "send");
		break;
	case SOCKS_AUTHENTICATE:
		note(s, "auth %s:%s; ", s->socks.user, s->socks.password);
		act(s,
		    socks_authenticated(&s->socks,
			strcmp(s->socks.password, "secret") == 0));
		break;
	case SOCKS_CONNECT:
		note(s, "connect %s %u; ", s->socks.target.host,
		    s->socks.target.port);
		act(s, socks_reply(&s->socks, s->code));
		break;
	case SOCKS_CLOSE:
		note_answer(s, "close");
		assert_true(s->code != 0 || s->socks.why != NULL);
		break;
	}
}

/* Feeds a piece and returns how much of it is left over. */
static size_t
feed(struct session *s, const uint8_t *data, size_t len)
{
	enum socks_event event;
	size_t consumed;

	do {
		event = socks_feed(&s->socks, data, len, &consumed);
		assert_true(consumed <= len);
		if (consumed == 0)
			break;
		data += consumed;
		len -= consumed;
		act(s, event);
	} while (event != SOCKS_CLOSE);
	return len;
}

/* Feeds all in pieces: first octets, and then next at a time. */
static void
run(struct session *s, const uint8_t *data, size_t len, size_t first,
    size_t next)
{
	size_t left = 0;

	for (size_t n = first; len > 0; n = next) {
		if (n > len)
			n = len;
		left += feed(s, data, n);
		data += n;
		len -= n;
	}
	note(s, "%zu left", left);
}

struct row {
	const uint8_t *in;
	size_t len;
	bool password_required;
	enum socks_code code;
	const char *log;
};

static void
check(const struct row *row, size_t first, size_t next)
{
	struct session s = { .code = row->code };

	socks_init(&s.socks, row->password_required);
	run(&s, row->in, row->len, first, next);
	assert_string_equal(s.log, row->log);
}

static void
check_all_splits(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		check(&rows[i], rows[i].len, 1);
		check(&rows[i], 1, 1);
		for (size_t at = 1; at < rows[i].len; at++)
			check(&rows[i], at, rows[i].len);
	}
}

static void
negotiates(void **state)
{
	static const struct row rows[] = {
		{ OCTETS("\x05\x01\x00"
			 "\x05\x01\x00\x01\xc0\x00\x02\x01"
			 "\x00\x50"
			 "data"),
		    false, SOCKS_SUCCEEDED,
		    "send 0500; connect 192.0.2.1 80; "
		    "send 05000001000000000000; 4 left" },
		{ OCTETS("\x05\x02\x01\x00"
			 "\x05\x01\x00\x04"
			 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
			 "\x01\xbb"),
		    false, SOCKS_SUCCEEDED,
		    "send 0500; connect 2001:db8::1 443; "
		    "send 05000001000000000000; 0 left" },
		{ OCTETS("\x05\x03\x00\x01\x02"
			 "\x05\x01\x00\x03\x03"
			 "a_b"
			 "\xff\xff"),
		    false, SOCKS_SUCCEEDED,
		    "send 0500; connect a_b 65535; "
		    "send 05000001000000000000; 0 left" },
		{ OCTETS("\x05\x01\x02"
			 "\x01\x02me\x02no"
			 "\x05\x01\x00\x03"
			 "\x01x\x00\x01"
			 "\r\n"),
		    false, SOCKS_SUCCEEDED,
		    "send 0502; send 0100; connect x 1; "
		    "send 05000001000000000000; 2 left" },
		{ OCTETS("\x05\x02\x00\x02"
			 "\x01\x02me\x06secret"
			 "\x05\x01\x00\x03\x01x\x00\x01"),
		    true, SOCKS_SUCCEEDED,
		    "send 0502; auth me:secret; send 0100; connect x 1; "
		    "send 05000001000000000000; 0 left" },
		{ OCTETS("\x05\x02\x00\x02"
			 "\x01\x00\x06secret"
			 "\x05\x01\x00\x03\x01x\x00\x01"),
		    true, SOCKS_SUCCEEDED,
		    "send 0502; auth :secret; send 0100; connect x 1; "
		    "send 05000001000000000000; 0 left" },
		{ OCTETS("\x04\x01\x00\x50\xc0\x00\x02\x01me\x00"
			 "data"),
		    false, SOCKS_SUCCEEDED,
		    "connect 192.0.2.1 80; send 005a000000000000; 4 left" },
		{ OCTETS("\x04\x01\x00\x50\x00\x00\x00\x07\x00"
			 "a.example\0"
			 "d"),
		    false, SOCKS_SUCCEEDED,
		    "connect a.example 80; send 005a000000000000; 1 left" },
	};

	(void)state;
	check_all_splits(rows, COUNT(rows));
}

/* Names that are addresses, or that are written as only people write them. */
static void
reads_names(void **state)
{
	static const struct {
		const char *name, *host; /* NULL: the answer is 0x04 */
	} rows[] = {
		{ "127.0.0.1", "127.0.0.1" },
		{ "::1", "::1" },
		{ "[::1]", "::1" },
		{ "[2001:DB8::1]", "2001:DB8::1" },
		{ "[::ffff:192.0.2.1]", "::ffff:192.0.2.1" },
		{ "[]", NULL },
		{ "[::1", NULL },
		{ "::1]", NULL },
		{ "[a:b]", NULL },
		{ "[192.0.2.1]", "192.0.2.1" },
		{ "[192.0.2]", NULL },
		{ "[localhost]", NULL },
		{ "[[::1]]", NULL },
		{ "[::1]:80", NULL },
		{ "[fe80::1%lo]", NULL },
		{ "WWW.Example.COM", "WWW.Example.COM" },
		{ "example.com.", "example.com." },
		{ "xn--bcher-kva.example", "xn--bcher-kva.example" },
		{ "b\xc3\xbc"
		  "cher.example",
		    "xn--bcher-kva.example" },
		{ "B\xc3\x9c"
		  "CHER.example",
		    "xn--bcher-kva.example" },
		{ "b\xfc"
		  "cher.example",
		    NULL },
		{ "\xc3", NULL },
		{ " x", NULL },
		{ "a b", NULL },
	};
	char in[64], want[128];
	struct session s;
	size_t len, n;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		n = strlen(rows[i].name);
		len = 5 + n + 2;
		memcpy(in, "\x05\x01\x00\x03", 4);
		in[4] = (char)n;
		memcpy(in + 5, rows[i].name, n);
		memcpy(in + 5 + n, "\x00\x50", 2);
		snprintf(want, sizeof(want),
		    rows[i].host != NULL
			? "send 0500; connect %s 80; send 05000001000000000000; "
			  "0 left"
			: "send 0500; close 05040001000000000000; 0 left",
		    rows[i].host);
		memset(&s, 0, sizeof(s));
		socks_init(&s.socks, false);
		feed(&s, OCTETS("\x05\x01\x00"));
		run(&s, (const uint8_t *)in, len, 1, 1);
		assert_string_equal(s.log, want);
	}
}

static void
refuses(void **state)
{
	static const struct row rows[] = {
		{ OCTETS("\x16\x03\x01"), false, 0, "close ; 2 left" },
		{ OCTETS("GET / HTTP/1.1\r\n"), false, 0, "close ; 15 left" },
		{ OCTETS("\x05\x00"), false, 0, "close 05ff; 0 left" },
		{ OCTETS("\x05\x01\x01"), false, 0, "close 05ff; 0 left" },
		{ OCTETS("\x05\x01\x00"), true, 0, "close 05ff; 0 left" },
		{ OCTETS("\x05\x01\x02"
			 "\x01\x02me\x05wrong"
			 "\x05"),
		    true, 0, "send 0502; auth me:wrong; close 0101; 1 left" },
		{ OCTETS("\x05\x01\x02"
			 "\x01\x00\x00"),
		    true, 0, "send 0502; auth :; close 0101; 0 left" },
		{ OCTETS("\x05\x01\x02"
			 "\x01\x02m\0\x06secret"),
		    true, 0, "send 0502; close 0101; 0 left" },
		{ OCTETS("\x05\x01\x02"
			 "\x01\x02me\x07secret\0"),
		    true, 0, "send 0502; close 0101; 0 left" },
		{ OCTETS("\x05\x01\x02"
			 "\x05\x01\x00"),
		    true, 0, "send 0502; close 0101; 2 left" },
		{ OCTETS("\x05\x01\x00"
			 "\x04\x01\x00"),
		    false, 0, "send 0500; close 05010001000000000000; 2 left" },
		{ OCTETS("\x05\x01\x00"
			 "\x05\x02\x00\x01\0\0\0\0\0\x50"),
		    false, 0, "send 0500; close 05070001000000000000; 0 left" },
		{ OCTETS("\x05\x01\x00"
			 "\x05\x03\x00\x01\0\0\0\0\0\0"),
		    false, 0, "send 0500; close 05070001000000000000; 0 left" },
		{ OCTETS("\x05\x01\x00"
			 "\x05\x01\x00\x02\x00"),
		    false, 0, "send 0500; close 05080001000000000000; 0 left" },
		{ OCTETS("\x05\x01\x00"
			 "\x05\x01\x00\x03\x00\x00\x50"),
		    false, 0, "send 0500; close 05010001000000000000; 0 left" },
		{ OCTETS("\x05\x01\x00"
			 "\x05\x01\x00\x03\x01x\x00\x00"),
		    false, 0, "send 0500; close 05010001000000000000; 0 left" },
		{ OCTETS("\x05\x01\x00"
			 "\x05\x01\x00\x03\x03x\0y\x00\x50"),
		    false, 0, "send 0500; close 05040001000000000000; 0 left" },
		{ OCTETS("\x05\x01\x00"
			 "\x05\x01\x00\x03\x05u@x:1\x00\x50"),
		    false, 0, "send 0500; close 05040001000000000000; 0 left" },
		{ OCTETS("\x04\x02\x00\x50\xc0\x00\x02\x01\x00"), false, 0,
		    "close 005b000000000000; 0 left" },
		{ OCTETS("\x04\x01\x00\x50\xc0\x00\x02\x01me\x00"), true, 0,
		    "close 005b000000000000; 0 left" },
		{ OCTETS("\x04\x01\x00\x00\xc0\x00\x02\x01\x00"), false, 0,
		    "close 005b000000000000; 0 left" },
		{ OCTETS("\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00"), false, 0,
		    "close 005b000000000000; 0 left" },
		{ OCTETS("\x04\x01\x00\x50\x00\x00\x00\x01\x00 \x00"), false, 0,
		    "close 005b000000000000; 0 left" },
	};

	(void)state;
	check_all_splits(rows, COUNT(rows));
}

static void
passes_refusals_on(void **state)
{
	static const struct row rows[] = {
		{ OCTETS("\x05\x01\x00"
			 "\x05\x01\x00\x03\x01x\x00\x50"
			 "data"),
		    false, SOCKS_CONNECTION_REFUSED,
		    "send 0500; connect x 80; close 05050001000000000000; "
		    "4 left" },
		{ OCTETS("\x05\x01\x00"
			 "\x05\x01\x00\x03\x01x\x00\x50"),
		    false, SOCKS_TTL_EXPIRED,
		    "send 0500; connect x 80; close 05060001000000000000; "
		    "0 left" },
		{ OCTETS("\x04\x01\x00\x50\xc0\x00\x02\x01\x00"), false,
		    SOCKS_NOT_ALLOWED,
		    "connect 192.0.2.1 80; close 005b000000000000; 0 left" },
	};

	(void)state;
	check_all_splits(rows, COUNT(rows));
}

/* Appends n times the octet c and then the octets of end. */
static size_t
append(uint8_t *buf, size_t len, size_t n, char c, const uint8_t *end,
    size_t endlen)
{
	memset(buf + len, c, n);
	memcpy(buf + len + n, end, endlen);
	return len + n + endlen;
}

static void
takes_the_longest(void **state)
{
	uint8_t buf[1024] = "\x05\x01\x02\x01\xff";
	struct session s = { .code = SOCKS_SUCCEEDED };
	size_t consumed, len;

	(void)state;
	len = append(buf, 5, 255, 'u', OCTETS("\xff"));
	len = append(buf, len, 255, 'p', OCTETS(""));
	socks_init(&s.socks, true);
	assert_int_equal(socks_feed(&s.socks, buf, len, &consumed), SOCKS_SEND);
	assert_int_equal(socks_feed(&s.socks, buf + 3, len - 3, &consumed),
	    SOCKS_AUTHENTICATE);
	assert_int_equal(consumed, len - 3);
	assert_int_equal(strlen(s.socks.user), 255);
	assert_int_equal(strlen(s.socks.password), 255);

	/* Nothing of the password outlives the verdict. */
	assert_int_equal(socks_authenticated(&s.socks, true), SOCKS_SEND);
	assert_null(memmem(&s.socks, sizeof(s.socks), "pp", 2));

	memcpy(buf, "\x05\x01\x00\x03\xff", 5);
	len = append(buf, 5, 255, 'n',
	    OCTETS("\x00\x50"
		   "data"));
	assert_int_equal(socks_feed(&s.socks, buf, len, &consumed),
	    SOCKS_CONNECT);
	assert_int_equal(consumed, len - 4);
	assert_int_equal(strlen(s.socks.target.host), 255);
}

static void
bounds_socks4_strings(void **state)
{
	uint8_t buf[1024] = "\x04\x01\x00\x50\x00\x00\x00\x01";
	size_t len = append(buf, 8, 255, 'u', OCTETS("\0"));
	struct session s = { .code = SOCKS_SUCCEEDED };

	(void)state;
	socks_init(&s.socks, false);
	assert_int_equal(feed(&s, buf,
			     append(buf, len, 255, 'n',
				 OCTETS("\0"
					"x"))),
	    1);
	assert_int_equal(strlen(s.socks.target.host), 255);

	s = (struct session){ .code = SOCKS_SUCCEEDED };
	socks_init(&s.socks, false);
	assert_int_equal(feed(&s, buf,
			     append(buf, len, 300, 'n', OCTETS("\0"))),
	    45);
	assert_string_equal(s.log, "close 005b000000000000; ");

	s = (struct session){ .code = SOCKS_SUCCEEDED };
	socks_init(&s.socks, false);
	assert_int_equal(feed(&s, buf, append(buf, 8, 300, 'u', OCTETS("\0"))),
	    45);
	assert_string_equal(s.log, "close 005b000000000000; ");
}

static void
waits_for_the_caller(void **state)
{
	struct socks s;
	size_t consumed = 9;

	(void)state;
	socks_init(&s, false);
	assert_int_equal(socks_reply(&s, SOCKS_SUCCEEDED), SOCKS_NEED_MORE);
	assert_int_equal(socks_authenticated(&s, true), SOCKS_NEED_MORE);
	assert_int_equal(socks_feed(&s,
			     OCTETS("\x04\x01\x00\x50\xc0\x00\x02\x01\x00"
				    "data"),
			     &consumed),
	    SOCKS_CONNECT);
	assert_int_equal(socks_feed(&s, OCTETS("data"), &consumed),
	    SOCKS_NEED_MORE);
	assert_int_equal(consumed, 0);
	assert_int_equal(socks_reply(&s, SOCKS_GENERAL_FAILURE), SOCKS_CLOSE);
	assert_int_equal(socks_feed(&s, OCTETS("data"), &consumed),
	    SOCKS_CLOSE);
	assert_int_equal(consumed, 0);
}

/* Answers add up until they are sent. */
static void
answers_at_once(void **state)
{
	const uint8_t in[] = "\x05\x01\x02"
			     "\x01\x01u\x01p"
			     "\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50";
	size_t at = 0, consumed;
	struct socks s;

	(void)state;
	socks_init(&s, true);
	assert_int_equal(socks_feed(&s, in, sizeof(in) - 1, &consumed),
	    SOCKS_SEND);
	at += consumed;
	assert_int_equal(socks_feed(&s, in + at, sizeof(in) - 1 - at,
			     &consumed),
	    SOCKS_AUTHENTICATE);
	at += consumed;
	assert_int_equal(socks_authenticated(&s, true), SOCKS_SEND);
	assert_int_equal(socks_feed(&s, in + at, sizeof(in) - 1 - at,
			     &consumed),
	    SOCKS_CONNECT);
	assert_int_equal(at + consumed, sizeof(in) - 1);
	assert_int_equal(socks_reply(&s, SOCKS_SUCCEEDED), SOCKS_SEND);
	assert_int_equal(s.outlen, SOCKS_ANSWERS_MAX);
	assert_memory_equal(s.out,
	    "\x05\x02"
	    "\x01\x00"
	    "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00",
	    s.outlen);
	socks_sent(&s);
	assert_int_equal(s.outlen, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(negotiates),
		cmocka_unit_test(reads_names),
		cmocka_unit_test(refuses),
		cmocka_unit_test(passes_refusals_on),
		cmocka_unit_test(takes_the_longest),
		cmocka_unit_test(bounds_socks4_strings),
		cmocka_unit_test(waits_for_the_caller),
		cmocka_unit_test(answers_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
