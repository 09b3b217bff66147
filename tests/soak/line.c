/*
 * line: carries datagrams between client and edge, as badly as it is told.
 *
 *	line [-s SEED] ADDRESS:PORT
 *
 * The edge is at ADDRESS:PORT (IPv4); "port N" tells at which port of the same
 * address its clients find the line instead. Each line of standard input is one
 * of
 *
 *	loss PERCENT	a datagram is dropped with that probability
 *	late PERCENT	... comes LATE_MS later than its successors
 *	twin PERCENT	... comes twice
 *	flip PERCENT	... comes with one bit turned over
 *	noise PERCENT	... is followed by one of random bytes
 *	delay MS	each comes so much later
 *	size BYTES	those that are larger, as IP packets, are dropped; 0: none
 *	cut 1, cut 0	all are dropped, or none
 *	move		the edge sees the clients come from new ports
 *	unplug, plug	nobody is there, as ICMP says, until it is plugged again
 *	clear		all of the above have ended
 *
 * and is answered by "ok". When standard input ends, so does the line.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS 1000000
#define NS_PER_S UINT64_C(1000000000)
#define LATE_MS 5
#define HEADERS 28 /* bytes of IPv4 and UDP */

/* Datagrams on the way in a lane: 500 Mbit/s for 150 ms, in full packets. */
#define DATAGRAMS_MAX 8192
#define DATAGRAM_SIZE 2048 /* bytes: more than any that fits Ethernet */
#define BATCH 64	   /* datagrams in a row from one socket */
#define BUFFER 4194304	   /* bytes of each socket's buffers */

/* Sockets of clients: more than a client opens while the edge is away. */
#define FLOWS_MAX 64

/* A client's socket, and ours that takes its place before the edge. */
struct flow {
	struct sockaddr_in client;
	int fd;
};

struct datagram {
	uint64_t due; /* nanoseconds */
	size_t flow;
	size_t len;
	uint8_t data[DATAGRAM_SIZE];
};

/* First in, first out. */
struct lane {
	struct datagram *ring;
	size_t first, count;
};

/* One direction: late datagrams do not delay the others. */
struct way {
	bool to_edge;
	struct lane punctual, late;
};

/* How bad it is; probabilities are per cent. */
static struct {
	double loss, late, twin, flip, noise;
	double delay_ms;
	size_t size_max;
	bool cut;
} bad;

static struct sockaddr_in edge, inside_addr;
static int inside = -1;
static struct flow flows[FLOWS_MAX];
static size_t nflows, oldest;
static struct way ways[2];
static uint64_t random_state;

static uint64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* Marsaglia's xorshift64. */
static uint64_t
draw(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static bool
happens(double percent)
{
	return percent > 0 &&
	    (double)(draw() >> 11) / (double)(UINT64_C(1) << 53) <
	    percent / 100;
}

/* ---- Sockets ---- */

static int
open_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int size = BUFFER;

	if (fd < 0)
		err(1, "socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return fd;
}

static void
plug(void)
{
	socklen_t len = sizeof(inside_addr);

	if (inside >= 0)
		return;
	inside = open_socket();
	if (bind(inside, (struct sockaddr *)&inside_addr, len) != 0 ||
	    getsockname(inside, (struct sockaddr *)&inside_addr, &len) != 0)
		err(1, "bind");
}

static void
unplug(void)
{
	if (inside >= 0)
		close(inside);
	inside = -1;
}

static void
connect_flow(struct flow *f)
{
	f->fd = open_socket();
	if (connect(f->fd, (struct sockaddr *)&edge, sizeof(edge)) != 0)
		err(1, "connect");
}

static void
move_flows(void)
{
	for (size_t i = 0; i < nflows; i++) {
		close(flows[i].fd);
		connect_flow(&flows[i]);
	}
}

/* The flow of a client; a new one may take the place of the first. */
static size_t
find_flow(const struct sockaddr_in *client)
{
	size_t i;

	for (i = 0; i < nflows; i++)
		if (flows[i].client.sin_port == client->sin_port)
			return i;
	if (nflows < FLOWS_MAX)
		i = nflows++;
	else {
		i = oldest++ % FLOWS_MAX;
		close(flows[i].fd);
	}
	flows[i].client = *client;
	connect_flow(&flows[i]);
	return i;
}

/* ---- Lanes ---- */

static struct datagram *
lane_room(struct lane *lane)
{
	if (lane->count == DATAGRAMS_MAX)
		return NULL;
	return &lane->ring[(lane->first + lane->count) % DATAGRAMS_MAX];
}

static void
put(struct way *way, size_t flow, const uint8_t *data, size_t len)
{
	bool late = happens(bad.late);
	struct lane *lane = late ? &way->late : &way->punctual;
	struct datagram *d = lane_room(lane);

	if (d == NULL)
		return;
	d->due = now() +
	    (uint64_t)((bad.delay_ms + (late ? LATE_MS : 0)) * NS_PER_MS);
	d->flow = flow;
	d->len = len;
	memcpy(d->data, data, len);
	if (len > 0 && happens(bad.flip))
		d->data[draw() % len] ^= (uint8_t)(1 << draw() % 8);
	lane->count++;
}

static void
put_noise(struct way *way, size_t flow)
{
	uint8_t data[DATAGRAM_SIZE];
	size_t len = 1 + draw() % 1400;

	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)draw();
	put(way, flow, data, len);
}

/* The fate of a datagram that has arrived. */
static void
judge(struct way *way, size_t flow, const uint8_t *data, size_t len)
{
	if (bad.cut || happens(bad.loss) ||
	    (bad.size_max > 0 && len + HEADERS > bad.size_max))
		return;
	put(way, flow, data, len);
	if (happens(bad.twin))
		put(way, flow, data, len);
	if (happens(bad.noise))
		put_noise(way, flow);
}

/* Those that find no room are lost, as on a line. */
static void
deliver(const struct way *way, const struct datagram *d)
{
	const struct flow *f = &flows[d->flow];

	if (way->to_edge)
		send(f->fd, d->data, d->len, 0);
	else if (inside >= 0)
		sendto(inside, d->data, d->len, 0,
		    (const struct sockaddr *)&f->client, sizeof(f->client));
}

/* Delivers the datagrams that are due. Returns when the next ones are. */
static uint64_t
run_lane(const struct way *way, struct lane *lane)
{
	struct datagram *d;

	while (lane->count > 0) {
		d = &lane->ring[lane->first];
		if (d->due > now())
			return d->due;
		deliver(way, d);
		lane->first = (lane->first + 1) % DATAGRAMS_MAX;
		lane->count--;
	}
	return UINT64_MAX;
}

static uint64_t
run_lanes(void)
{
	uint64_t first = UINT64_MAX, at;

	for (size_t i = 0; i < 4; i++) {
		struct way *way = &ways[i / 2];

		at = run_lane(way, i % 2 ? &way->late : &way->punctual);
		first = at < first ? at : first;
	}
	return first;
}

/* ---- Receiving ---- */

static void
from_clients(void)
{
	uint8_t data[DATAGRAM_SIZE];
	struct sockaddr_in client;
	socklen_t len;
	ssize_t n;

	for (int i = 0; i < BATCH; i++) {
		len = sizeof(client);
		n = recvfrom(inside, data, sizeof(data), 0,
		    (struct sockaddr *)&client, &len);
		if (n < 0)
			return;
		judge(&ways[0], find_flow(&client), data, (size_t)n);
	}
}

static void
from_edge(size_t flow)
{
	uint8_t data[DATAGRAM_SIZE];
	ssize_t n;

	for (int i = 0; i < BATCH; i++) {
		if ((n = recv(flows[flow].fd, data, sizeof(data), 0)) < 0)
			return;
		judge(&ways[1], flow, data, (size_t)n);
	}
}

/* ---- Orders ---- */

static bool
set_number(const char *name, double value)
{
	const struct {
		const char *name;
		double *to;
	} numbers[] = { { "loss", &bad.loss }, { "late", &bad.late },
		{ "twin", &bad.twin }, { "flip", &bad.flip },
		{ "noise", &bad.noise }, { "delay", &bad.delay_ms } };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		if (strcmp(name, numbers[i].name) == 0) {
			*numbers[i].to = value;
			return true;
		}
	return false;
}

static void
obey(const char *order)
{
	char name[16] = "";
	double value = 0;

	sscanf(order, "%15s %lf", name, &value);
	if (strcmp(name, "size") == 0)
		bad.size_max = (size_t)value;
	else if (strcmp(name, "cut") == 0)
		bad.cut = value != 0;
	else if (strcmp(name, "move") == 0)
		move_flows();
	else if (strcmp(name, "unplug") == 0)
		unplug();
	else if (strcmp(name, "plug") == 0)
		plug();
	else if (strcmp(name, "clear") == 0) {
		memset(&bad, 0, sizeof(bad));
		plug();
	} else if (!set_number(name, value))
		errx(2, "no such order: %s", order);
	printf("ok\n");
}

/* Reads orders; false at the end of them. An order never comes in parts. */
static bool
read_orders(void)
{
	char buf[1024], *line, *rest = buf;
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf) - 1);

	if (n <= 0)
		return false;
	buf[n] = '\0';
	while ((line = strsep(&rest, "\n")) != NULL)
		if (*line != '\0')
			obey(line);
	fflush(stdout);
	return true;
}

/* ---- The loop ---- */

static void
wait_until(struct pollfd *fds, uint64_t at)
{
	uint64_t t = now(), left = at > t ? at - t : 0;
	struct timespec ts = { .tv_sec = (time_t)(left / NS_PER_S),
		.tv_nsec = (long)(left % NS_PER_S) };

	fds[0] = (struct pollfd){ STDIN_FILENO, POLLIN, 0 };
	fds[1] = (struct pollfd){ inside, POLLIN, 0 };
	for (size_t i = 0; i < nflows; i++)
		fds[2 + i] = (struct pollfd){ flows[i].fd, POLLIN, 0 };
	if (ppoll(fds, 2 + nflows, at == UINT64_MAX ? NULL : &ts, NULL) < 0 &&
	    errno != EINTR)
		err(1, "ppoll");
}

static void
run(void)
{
	struct pollfd fds[2 + FLOWS_MAX];
	size_t n;

	do {
		n = nflows;
		wait_until(fds, run_lanes());
		for (size_t i = 0; i < n; i++)
			if (fds[2 + i].revents != 0)
				from_edge(i);
		if (fds[1].revents != 0)
			from_clients();
	} while (fds[0].revents == 0 || read_orders());
}

static void
parse(int argc, char **argv)
{
	char *colon;
	int c;

	while ((c = getopt(argc, argv, "s:")) == 's')
		random_state = strtoull(optarg, NULL, 10);
	if (c != -1 || argc - optind != 1 ||
	    (colon = strrchr(argv[optind], ':')) == NULL)
		errx(2, "usage: line [-s seed] address:port");
	*colon = '\0';
	edge.sin_family = inside_addr.sin_family = AF_INET;
	edge.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	if (inet_pton(AF_INET, argv[optind], &edge.sin_addr) != 1)
		errx(2, "%s: not an IPv4 address", argv[optind]);
	inside_addr.sin_addr = edge.sin_addr;
	/* The generator must not begin with zero. */
	random_state = (random_state + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

int
main(int argc, char **argv)
{
	parse(argc, argv);
	for (int i = 0; i < 4; i++) {
		struct lane *lane = i % 2 ? &ways[i / 2].late
					  : &ways[i / 2].punctual;

		lane->ring = calloc(DATAGRAMS_MAX, sizeof(*lane->ring));
		if (lane->ring == NULL)
			err(1, "calloc");
	}
	ways[0].to_edge = true;
	plug();
	printf("port %u\n", ntohs(inside_addr.sin_port));
	fflush(stdout);
	run();
	return 0;
}
