#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/base/tunnel_kind.h"

static void
only_known_kinds_are_tunnels(void **state)
{
	static const struct {
		const char *method, *protocol;
		int rv;
	} rows[] = {
		{ "CONNECT", NULL, 0 },
		{ "CONNECT", "connect-udp", -EPROTONOSUPPORT },
		{ "CONNECT", "websocket", -EPROTONOSUPPORT },
		{ "CONNECT", "", -EPROTONOSUPPORT },
		{ "connect", NULL, -EPROTONOSUPPORT },
		{ "GET", NULL, -EPROTONOSUPPORT },
		{ NULL, NULL, -EPROTONOSUPPORT },
	};
	enum tunnel_kind kind;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		kind = (enum tunnel_kind)99;
		assert_int_equal(tunnel_kind_parse(&kind, rows[i].method,
				     rows[i].protocol),
		    rows[i].rv);
		assert_int_equal(kind, rows[i].rv == 0 ? TUNNEL_TCP : 99);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_known_kinds_are_tunnels),
	};

	return cmocka_run_group_tests_name("tunnel_kind", tests, NULL, NULL);
}
