/*
 * attacker: a hostile client of an edge.
 *
 *	attacker [-n MOST] [-s SEED] [-t SECONDS] EDGE SOURCE ACT TARGET=PORT...
 *
 * Plays the ACT against EDGE, an ADDRESS:PORT, from SOURCE and the addresses
 * after it, again and again for SECONDS. The targets are those of target.c.
 * With -n it takes at most that many streams, or connections, at once. What
 * has happened is printed as lines "name value" at the end. Without arguments
 * the names of the acts are printed.
 */
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/hostile/acts.h"
#include "tests/hostile/peer.h"

#define SPREAD UINT64_C(0x9e3779b97f4a7c15) /* makes a state of any seed */

static struct sockaddr_in
read_address(char *text)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	char *colon = strchr(text, ':');

	if (colon != NULL) {
		*colon = '\0';
		address.sin_port = htons((uint16_t)atoi(colon + 1));
	}
	if (inet_pton(AF_INET, text, &address.sin_addr) != 1)
		errx(2, "not an IPv4 address: %s", text);
	return address;
}

static void
read_port(struct attack *a, char *text)
{
	char *equals = strchr(text, '=');

	if (equals != NULL)
		*equals = '\0';
	for (size_t i = 0; equals != NULL && i < TARGETS; i++)
		if (strcmp(text, target_names[i]) == 0) {
			a->ports[i] = (uint16_t)atoi(equals + 1);
			return;
		}
	errx(2, "not a target and its port: %s", text);
}

static const struct act *
find_act(const char *name)
{
	for (size_t i = 0; i < nacts; i++)
		if (strcmp(acts[i].name, name) == 0)
			return &acts[i];
	errx(2, "no such act: %s", name);
}

static void
print_tally(uint64_t rounds)
{
	const struct {
		const char *name;
		uint64_t value;
	} lines[] = {
		{ "rounds", rounds },
		{ "connections", tally.opened },
		{ "accepted", tally.up },
		{ "closed", tally.closed },
		{ "streams", tally.streams },
		{ "tunnels", tally.tunnels },
		{ "refused", tally.refused },
		{ "forged", tally.forged },
		{ "sent", tally.bytes_sent },
		{ "received", tally.bytes_received },
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		printf("%s %ju\n", lines[i].name, (uintmax_t)lines[i].value);
}

int
main(int argc, char **argv)
{
	struct attack a = { .most = SIZE_MAX };
	uint64_t seed = 1, rounds = 0, end;
	const struct act *act;
	double seconds = 1;
	int option;

	for (size_t i = 0; argc == 1 && i < nacts; i++)
		puts(acts[i].name);
	if (argc == 1)
		return 0;
	while ((option = getopt(argc, argv, "n:s:t:")) != -1)
		switch (option) {
		case 'n':
			a.most = strtoul(optarg, NULL, 10);
			break;
		case 's':
			seed = strtoull(optarg, NULL, 10);
			break;
		case 't':
			seconds = atof(optarg);
			break;
		default:
			return 2;
		}
	if (argc - optind < 3)
		errx(2, "an edge, a source and an act are wanted");
	a.edge = read_address(argv[optind]);
	a.source = ntohl(read_address(argv[optind + 1]).sin_addr.s_addr);
	act = find_act(argv[optind + 2]);
	for (int i = optind + 3; i < argc; i++)
		read_port(&a, argv[i]);
	a.chance = (seed + 1) * SPREAD | 1;
	end = peer_now() + (uint64_t)(seconds * 1e9);
	peer_begin(&a.edge, end);
	for (; peer_now() < end; rounds++)
		act->play(&a);
	print_tally(rounds);
	return 0;
}
