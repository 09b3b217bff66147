#include <arpa/inet.h>
#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/bench/wire.h"

void
wire_write_head(uint8_t *head, char what, uint64_t count)
{
	head[0] = (uint8_t)what;
	memcpy(head + 1, &count, sizeof(count));
}

uint64_t
wire_count(const uint8_t *head)
{
	uint64_t count;

	memcpy(&count, head + 1, sizeof(count));
	return count;
}

uint64_t
wire_reports(uint64_t taken, uint64_t count)
{
	return taken / WIRE_REPORT +
	    (taken == count && taken % WIRE_REPORT != 0);
}

struct sockaddr_in
wire_address(const char *text)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	char host[INET_ADDRSTRLEN] = "";
	const char *colon = strchr(text, ':');
	size_t len = colon != NULL ? (size_t)(colon - text) : 0;
	unsigned long port = colon != NULL ? strtoul(colon + 1, NULL, 10) : 0;

	if (len < sizeof(host))
		memcpy(host, text, len);
	if (inet_pton(AF_INET, host, &address.sin_addr) != 1 || port > 65535)
		errx(2, "not an IPv4 address and port: %s", text);
	address.sin_port = htons((uint16_t)port);
	return address;
}

void
wire_raise_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}
