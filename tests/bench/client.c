/*
 * client: the clients of an origin, to measure what lies between.
 *
 *	client [-ew] [-p PROXY] [-t SECONDS] ORIGIN WORK NUMBER...
 *
 * ORIGIN and PROXY, which speaks SOCKS5, are ADDRESS:PORT. With -e a client
 * does not wait for the proxy's answers before it makes its request. After
 * SECONDS the work counts as it is, done or not; with -w no more is sent then,
 * but what was sent is waited for, and so is the first byte of a download. The
 * work is one of
 *
 *	down BYTES N		N downloads at once, each of BYTES
 *	up BYTES N		the same, as uploads
 *	tunnels COUNT N		COUNT tunnels opened and closed, N at once
 *	requests COUNT		for one byte each, in one open tunnel in turn
 *	page COUNT BYTES N	COUNT objects of BYTES through N tunnels
 *	echo N HZ MS BYTES	N open tunnels with HZ requests a second each,
 *				beside a download of BYTES (0: none)
 *	idle COUNT		COUNT tunnels held until standard input ends
 *
 * Each figure is printed as a line "name value": seconds, bytes that arrived,
 * the count of requests that were done, and p50, p95 and p99 of the seconds
 * they took. A request's time begins when its connection does, if it is the
 * first one there.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tests/bench/tunnel.h"

#define EVENTS_MAX 256
#define OPENING 64	     /* idle tunnels that are being opened at once */
#define REQUESTS_MAX 1048576 /* times that are kept */
#define WAIT_MAX 20	     /* seconds: longer transfers are stuck */

static struct route route;
static int poller;
static double deadline; /* of tunnel_now() */
static bool waits;	/* for what was sent before it */

static double times[REQUESTS_MAX]; /* seconds, of requests that are done */
static size_t ntimes;
static size_t unasked; /* requests that are still to be made ... */
static size_t busy;    /* ... and that are under way */

static void
record(const struct tunnel *t)
{
	if (ntimes < REQUESTS_MAX)
		times[ntimes++] = tunnel_now() - t->started;
}

static struct tunnel *
start(char what, uint64_t count)
{
	busy++;
	return tunnel_open(&route, poller, what, count);
}

/* Waits for events until `until` at most, and gives what is done to `done`. */
static void
turn(double until, void (*done)(struct tunnel *))
{
	struct epoll_event events[EVENTS_MAX];
	double left = (until - tunnel_now()) * 1e3;
	int n = epoll_wait(poller, events, EVENTS_MAX,
	    left > 0 ? (int)left + 1 : 0);

	for (int i = 0; i < n; i++) {
		struct tunnel *t = events[i].data.ptr;

		if (tunnel_drive(t))
			done(t);
	}
}

/* Runs until no request is under way. */
static void
run(void (*done)(struct tunnel *))
{
	while (busy > 0 && tunnel_now() < deadline)
		turn(deadline, done);
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
percentile(size_t p)
{
	return ntimes > 0 ? times[(p * ntimes + 99) / 100 - 1] : 0;
}

static void
print_times(void)
{
	qsort(times, ntimes, sizeof(times[0]), compare);
	printf("count %zu\np50 %.6f\np95 %.6f\np99 %.6f\n", ntimes,
	    percentile(50), percentile(95), percentile(99));
}

static void
print_seconds(double since)
{
	printf("seconds %.6f\n", tunnel_now() - since);
}

/* ---- The works ---- */

static void
on_bulk(struct tunnel *t)
{
	busy--;
	epoll_ctl(poller, EPOLL_CTL_DEL, t->fd, NULL);
}

static uint64_t
delivered(struct tunnel *const *tunnels, size_t n)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += tunnel_delivered(tunnels[i]);
	return bytes;
}

/* On a busy machine the time may be over before the first byte arrives. */
static void
wait_for_some(struct tunnel *const *tunnels, size_t n)
{
	double limit = deadline + WAIT_MAX;

	while (busy > 0 && delivered(tunnels, n) == 0 && tunnel_now() < limit)
		turn(limit, on_bulk);
}

static void
bulk(char what, const uint64_t *number)
{
	struct tunnel **tunnels = calloc(number[1], sizeof(*tunnels));
	double since = tunnel_now();

	if (tunnels == NULL)
		err(1, "calloc");
	for (size_t i = 0; i < number[1]; i++)
		tunnels[i] = start(what, number[0]);
	run(on_bulk);
	if (waits && what == WIRE_UP && busy > 0) {
		for (size_t i = 0; i < number[1]; i++)
			tunnel_shorten(tunnels[i]);
		deadline += WAIT_MAX;
		run(on_bulk);
	} else if (waits)
		wait_for_some(tunnels, number[1]);
	print_seconds(since);
	printf("bytes %ju\n", (uintmax_t)delivered(tunnels, number[1]));
	for (size_t i = 0; i < number[1]; i++)
		tunnel_close(tunnels[i]);
	free(tunnels);
}

static void
work_down(const uint64_t *number)
{
	bulk(WIRE_DOWN, number);
}

static void
work_up(const uint64_t *number)
{
	bulk(WIRE_UP, number);
}

static void
on_opened(struct tunnel *t)
{
	record(t);
	tunnel_close(t);
	busy--;
	if (unasked > 0) {
		unasked--;
		start(WIRE_DOWN, 1);
	}
}

static void
work_tunnels(const uint64_t *number)
{
	double since = tunnel_now();

	for (unasked = number[0]; unasked > 0 && busy < number[1]; unasked--)
		start(WIRE_DOWN, 1);
	run(on_opened);
	print_seconds(since);
	print_times();
}

static uint64_t object_size; /* bytes */

static void
on_object(struct tunnel *t)
{
	record(t);
	if (unasked > 0) {
		unasked--;
		tunnel_request(t, WIRE_DOWN, object_size);
	} else {
		busy--;
		tunnel_close(t);
	}
}

static void
work_page(const uint64_t *number)
{
	double since = tunnel_now();

	object_size = number[1];
	for (unasked = number[0]; unasked > 0 && busy < number[2]; unasked--)
		start(WIRE_DOWN, object_size);
	run(on_object);
	print_seconds(since);
	print_times();
}

/* The first request opens the tunnel, and is not one of those that count. */
static void
work_requests(const uint64_t *number)
{
	object_size = 1;
	unasked = number[0];
	start(WIRE_DOWN, object_size);
	run(on_object);
	times[0] = ntimes > 1 ? times[--ntimes] : 0;
	print_times();
}

/* Of an echo's tunnels the one under way has a time of its own. */
static void
on_echo(struct tunnel *t)
{
	record(t);
	busy--;
}

static bool
is_idle(const struct tunnel *t)
{
	return t->state == OPEN && t->send == 0 && t->receive == 0;
}

/* A tunnel whose response is late misses its time. */
static void
work_echo(const uint64_t *number)
{
	size_t n = number[0], next = 0;
	double period = 1.0 / (double)(n * number[1]), due, end, since;
	struct tunnel **tunnels = calloc(n, sizeof(*tunnels)), *load = NULL;

	if (tunnels == NULL)
		err(1, "calloc");
	for (size_t i = 0; i < n; i++)
		tunnels[i] = start(WIRE_DOWN, 1);
	run(on_echo);
	ntimes = 0;
	since = due = tunnel_now();
	end = since + (double)number[2] / 1e3;
	if (number[3] > 0)
		load = start(WIRE_DOWN, number[3]);
	for (; due < end; due += period, next = (next + 1) % n) {
		while (tunnel_now() < due)
			turn(due, on_echo);
		if (is_idle(tunnels[next])) {
			busy++;
			tunnel_request(tunnels[next], WIRE_DOWN, 1);
		}
	}
	print_seconds(since);
	printf("bytes %ju\n",
	    (uintmax_t)(load != NULL ? tunnel_delivered(load) : 0));
	print_times();
}

static void
on_held(struct tunnel *t)
{
	epoll_ctl(poller, EPOLL_CTL_DEL, t->fd, NULL);
	busy--;
	if (unasked > 0) {
		unasked--;
		start(WIRE_DOWN, 1);
	}
}

static void
work_idle(const uint64_t *number)
{
	char byte;

	for (unasked = number[0]; unasked > 0 && busy < OPENING; unasked--)
		start(WIRE_DOWN, 1);
	run(on_held);
	if (busy > 0)
		errx(1, "%zu tunnels did not open", unasked + busy);
	printf("count %ju\n", (uintmax_t)number[0]);
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
}

static const struct work {
	const char *name;
	int numbers; /* that it takes */
	void (*run)(const uint64_t *number);
} works[] = {
	{ "down", 2, work_down },
	{ "up", 2, work_up },
	{ "tunnels", 2, work_tunnels },
	{ "requests", 1, work_requests },
	{ "page", 3, work_page },
	{ "echo", 4, work_echo },
	{ "idle", 1, work_idle },
};

#define NUMBERS_MAX 4

static void
usage(void)
{
	errx(2,
	    "usage: client [-ew] [-p proxy] [-t seconds] "
	    "origin work number...");
}

static void
run_work(char **argv, int argc)
{
	uint64_t number[NUMBERS_MAX];

	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
		if (strcmp(works[i].name, argv[0]) != 0)
			continue;
		if (works[i].numbers != argc - 1)
			usage();
		for (int j = 0; j < works[i].numbers; j++) {
			number[j] = strtoull(argv[j + 1], NULL, 10);
			if (number[j] == 0 && j < 3)
				usage();
		}
		works[i].run(number);
		return;
	}
	usage();
}

int
main(int argc, char **argv)
{
	double seconds = 1e6;
	int c;

	while ((c = getopt(argc, argv, "ep:t:w")) != -1) {
		if (c == 'e')
			route.early = true;
		else if (c == 'p')
			route.proxy = wire_address(optarg);
		else if (c == 't')
			seconds = strtod(optarg, NULL);
		else if (c == 'w')
			waits = true;
		else
			usage();
	}
	if (argc - optind < 2)
		usage();
	route.origin = wire_address(argv[optind]);
	wire_raise_files();
	if ((poller = epoll_create1(0)) < 0)
		err(1, "epoll_create1");
	deadline = tunnel_now() + seconds;
	run_work(argv + optind + 1, argc - optind - 1);
	return 0;
}
