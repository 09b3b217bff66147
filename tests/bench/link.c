/*
 * link: a line between two network namespaces, as bad as is asked for.
 *
 *	link [-d MS] [-r MBIT] [-q MS] [-l PERCENT] [-m BYTES[,BYTES]]
 *	     [-s SEED] [-n NAME] A B
 *
 * A TUN device named "line", or NAME, appears in each of the namespaces A and
 * B (of ip-netns(8)); "ready" is printed once they are there. Each way on its
 * own, a packet
 *
 *	is dropped if it has more than BYTES of IP, from A and from B,
 *	is dropped with a probability of PERCENT, by a generator with SEED,
 *	waits for those before it to be sent at MBIT per second, and is dropped
 *	    if that takes longer than the queue's MS,
 *	and arrives MS after it was sent.
 *
 * A line of options on standard input changes the line. When standard input
 * ends the packets that went and were dropped are printed.
 *
 * Packets are moved in ticks, of which each reads all there is and writes all
 * that is due: a wake-up for each packet would cost more than the packet. So
 * what is due is late by half a tick, on average.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS 1e6
#define TICK_NS 250000

/* Packets on the line at once: 1 Gbit/s for 100 ms, of 1500 bytes. */
#define PACKETS_MAX 8192
#define PACKET_SIZE 2048 /* bytes: more than the devices' MTU */

struct packet {
	uint64_t due; /* nanoseconds */
	size_t len;
	uint8_t data[PACKET_SIZE];
};

/* One way: packets wait in a ring, in the order of their coming. */
struct way {
	int from, to;
	const size_t *size_max;
	uint64_t random;
	uint64_t busy_until; /* nanoseconds: those before are sent by then */
	struct packet *ring;
	size_t first, count;
	uint64_t passed, lost, too_big, overflowed; /* packets */
};

static double delay_ns, queue_ns = 1e9, ns_per_byte, loss;
static size_t size_max[2] = { PACKET_SIZE, PACKET_SIZE }; /* by the way */
static uint64_t seed;
static const char *device = "line";

static uint64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Marsaglia's xorshift64: a uniform number in [0, 1). */
static double
draw(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (double)(*state >> 11) / (double)(UINT64_C(1) << 53);
}

/* Decides the fate of a packet that has come; true if it has a time. */
static bool
schedule(struct way *w, struct packet *p, uint64_t at)
{
	uint64_t begin = w->busy_until > at ? w->busy_until : at;

	if (p->len > *w->size_max) {
		w->too_big++;
		return false;
	}
	if (loss > 0 && draw(&w->random) < loss) {
		w->lost++;
		return false;
	}
	if ((double)(begin - at) > queue_ns) {
		w->overflowed++;
		return false;
	}
	w->busy_until = begin + (uint64_t)((double)p->len * ns_per_byte);
	p->due = w->busy_until + (uint64_t)delay_ns;
	return true;
}

static void
read_all(struct way *w, uint64_t at)
{
	struct packet *p;
	ssize_t n;

	while (w->count < PACKETS_MAX) {
		p = &w->ring[(w->first + w->count) % PACKETS_MAX];
		if ((n = read(w->from, p->data, sizeof(p->data))) <= 0)
			return;
		p->len = (size_t)n;
		if (schedule(w, p, at))
			w->count++;
	}
}

static void
write_due(struct way *w, uint64_t at)
{
	while (w->count > 0 && w->ring[w->first].due <= at) {
		struct packet *p = &w->ring[w->first];

		/*
		 * Packets that the far device does not take are lost, as on a
		 * line.
		 */
		if (write(w->to, p->data, p->len) == (ssize_t)p->len)
			w->passed++;
		else
			w->overflowed++;
		w->first = (w->first + 1) % PACKETS_MAX;
		w->count--;
	}
}

/* Without a packet on the line there are no ticks. */
static void
wait_for_work(const struct way *ways, struct pollfd *fds)
{
	struct timespec tick = { .tv_nsec = TICK_NS };
	bool idle = ways[0].count == 0 && ways[1].count == 0;

	if (!idle)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
	if (poll(fds, 3, idle ? -1 : 0) < 0 && errno != EINTR)
		err(1, "poll");
}

static void
parse(int argc, char **argv)
{
	char *rest;
	int c;

	optind = 0; /* once more, for getopt(3) of GNU */
	while ((c = getopt(argc, argv, "d:r:q:l:m:s:n:")) != -1) {
		if (c == 'd')
			delay_ns = strtod(optarg, NULL) * NS_PER_MS;
		else if (c == 'r')
			ns_per_byte = 8e3 / strtod(optarg, NULL);
		else if (c == 'q')
			queue_ns = strtod(optarg, NULL) * NS_PER_MS;
		else if (c == 'l')
			loss = strtod(optarg, NULL) / 100;
		else if (c == 'm') {
			size_max[0] = strtoul(optarg, &rest, 10);
			size_max[1] = *rest != ','
			    ? size_max[0]
			    : strtoul(rest + 1, NULL, 10);
		} else if (c == 's')
			seed = strtoull(optarg, NULL, 10);
		else if (c == 'n')
			device = optarg;
		else
			exit(2);
	}
}

/* Obeys a line of standard input; false at its end. */
static bool
obey(void)
{
	char line[256], *argv[16] = { "link" }, *word;
	int argc = 1;

	if (fgets(line, sizeof(line), stdin) == NULL)
		return false;
	for (word = strtok(line, " \n"); word != NULL && argc < 15;
	     word = strtok(NULL, " \n"))
		argv[argc++] = word;
	parse(argc, argv);
	return true;
}

static void
run(struct way *ways)
{
	struct pollfd fds[] = { { ways[0].from, POLLIN, 0 },
		{ ways[1].from, POLLIN, 0 }, { STDIN_FILENO, POLLIN, 0 } };

	while (fds[2].revents == 0 || obey()) {
		wait_for_work(ways, fds);
		for (int i = 0; i < 2; i++) {
			uint64_t at = now();

			write_due(&ways[i], at);
			read_all(&ways[i], at);
		}
	}
}

/* Opens the device of a namespace, whose name is what ip-netns(8) gave it. */
static int
open_device(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	char path[256];
	int ns, fd;

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
	snprintf(path, sizeof(path), "/run/netns/%s", name);
	if ((ns = open(path, O_RDONLY | O_CLOEXEC)) < 0 ||
	    setns(ns, CLONE_NEWNET) != 0)
		err(1, "%s", path);
	close(ns);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0)
		err(1, "/dev/net/tun");
	return fd;
}

static void
open_ways(struct way *ways, char **names)
{
	for (int i = 0; i < 2; i++) {
		ways[i].from = ways[!i].to = open_device(names[i]);
		ways[i].size_max = &size_max[i];
		ways[i].ring = calloc(PACKETS_MAX, sizeof(*ways[i].ring));
		ways[i].random = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) +
		    (uint64_t)i;
		if (ways[i].ring == NULL)
			err(1, "calloc");
	}
}

int
main(int argc, char **argv)
{
	struct way ways[2] = { 0 };

	parse(argc, argv);
	if (argc - optind != 2)
		errx(2,
		    "usage: link [-d ms] [-r mbit] [-q ms] [-l percent] "
		    "[-m bytes[,bytes]] [-s seed] [-n name] "
		    "namespace namespace");
	setvbuf(stdin, NULL, _IONBF, 0); /* what poll(2) sees is all there is */
	open_ways(ways, argv + optind);
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	printf("ready\n");
	fflush(stdout);
	run(ways);
	for (int i = 0; i < 2; i++) {
		printf("passed %ju lost %ju too_big %ju overflowed %ju\n",
		    (uintmax_t)ways[i].passed, (uintmax_t)ways[i].lost,
		    (uintmax_t)ways[i].too_big, (uintmax_t)ways[i].overflowed);
		free(ways[i].ring);
	}
	return 0;
}
