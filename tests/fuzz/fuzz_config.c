/*
 * Configuration text.  The last byte chooses the program; the rest is read
 * as its file.  What was accepted must keep what the header promises.
 */
#include <stdio.h>
#include <string.h>

#include "proxy/config/config.h"
#include "tests/fuzz/fuzz.h"

static void
check_listen(const struct config *config)
{
	struct sockaddr_storage again;
	char text[ADDR_STRLEN];

	must(config->listen.n <= CONFIG_LISTEN_MAX);
	for (unsigned i = 0; i < config->listen.n; i++) {
		addr_format((const struct sockaddr *)&config->listen.v[i],
		    text);
		must(addr_parse(&again, text) == 0);
	}
}

static void
check_edge(const struct config *config)
{
	struct target again;
	char text[TARGET_STRLEN];
	int len;

	must(config->edge.n <= CONFIG_EDGE_MAX);
	for (unsigned i = 0; i < config->edge.n; i++) {
		len = target_format(&config->edge.v[i], text, sizeof(text));
		must(len > 0);
		must(target_parse(&again, text, (size_t)len, 0) == 0);
	}
}

static void
check_ranges(const struct config_ranges *ranges)
{
	struct rule rule;

	must(ranges->n <= CONFIG_RANGE_MAX);
	for (unsigned i = 0; i < ranges->n; i++)
		must(rule_parse(&rule, ranges->v[i]) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config config;
	static FILE *nowhere;

	if (size == 0)
		return 0;
	if (nowhere == NULL)
		nowhere = fopen("/dev/null", "w");
	config_init(&config,
	    data[size - 1] == 'E' ? CONFIG_CULVERT_EDGE : CONFIG_CULVERT);
	config.err = nowhere;
	config_parse(&config, (const char *)data, size - 1, "fuzz");
	check_listen(&config);
	check_edge(&config);
	check_ranges(&config.allow);
	check_ranges(&config.deny);
	must(config.pin.n <= QUIC_PINS_MAX);
	must(strchr(config.user.name, ':') == NULL);
	config_free(&config);
	return 0;
}
