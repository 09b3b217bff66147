#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/local/upstream/repair_history.h"

#define HOME "192.168.1.2 eth0 02:00:00:00:00:01"
#define CAFE "192.168.1.2 wlan0 02:00:00:00:00:02"
#define EDGE "192.0.2.1:443"

static struct repair_history memory;

static int
begin(void **state)
{
	(void)state;
	memset(&memory, 0, sizeof(memory));
	return 0;
}

static void
note(const char *network, const char *edge, unsigned sent, unsigned received)
{
	struct quic_repair repair = { sent, received };

	repair_history_note(&memory, network, edge, &repair);
}

static void
expect(const char *network, const char *edge, unsigned sent, unsigned received)
{
	struct quic_repair repair = repair_history_find(&memory, network, edge);

	assert_int_equal(repair.sent, sent);
	assert_int_equal(repair.received, received);
}

static void
each_path_has_its_own(void **state)
{
	(void)state;
	expect(HOME, EDGE, 0, 0);
	note(HOME, EDGE, 30, 10);
	expect(HOME, EDGE, 30, 10);
	expect(CAFE, EDGE, 0, 0);
	expect(HOME, "192.0.2.2:443", 0, 0);
	note(CAFE, EDGE, 5, 6);
	note(HOME, EDGE, 0, 20);
	expect(HOME, EDGE, 0, 20);
	expect(CAFE, EDGE, 5, 6);
}

static void
the_oldest_is_forgotten(void **state)
{
	char edge[ADDR_STRLEN];

	(void)state;
	for (unsigned i = 0; i <= REPAIR_PATHS_MAX; i++) {
		snprintf(edge, sizeof(edge), "192.0.2.%u:443", i);
		note(HOME, edge, i + 1, 0);
		note(HOME, "192.0.2.0:443", 1, 0);
	}
	expect(HOME, "192.0.2.0:443", 1, 0);
	expect(HOME, "192.0.2.1:443", 0, 0);
	expect(HOME, "192.0.2.2:443", 3, 0);
	expect(HOME, edge, REPAIR_PATHS_MAX + 1, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(each_path_has_its_own, begin),
		cmocka_unit_test_setup(the_oldest_is_forgotten, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
