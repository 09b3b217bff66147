#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/base/happy_eyeballs.h"
#include "proxy/edge/dial.h"

/*
 * Dials real sockets on the loopback, with names from name servers of our own
 * in the same loop. Every test ends with an empty loop and as many descriptors
 * as it began with.
 *
 * Time is the test's: libuv and c-ares call clock_gettime(), and find this one.
 * It moves when nothing else does, and then to the next timer.
 */

static uint64_t clock_ms = 1000000;

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE)
		return (int)syscall(SYS_clock_gettime, clock, ts);
	ts->tv_sec = (time_t)(clock_ms / 1000);
	ts->tv_nsec = (long)(clock_ms % 1000) * 1000000;
	return 0;
}

#define QTYPE_A 1
#define QTYPE_AAAA 28
#define HEADER 12	/* octets of a DNS header, RFC 1035 4.1.1 */
#define BACKLOG 64	/* no test accepts these connections */
#define IDLE_MS 5	/* of real time: loopback takes less */
#define SHORT_MS 200	/* a time-out that is shorter than all others */
#define PATIENCE_MS 300 /* ms for a name server: see resolver.c */
#define DELAY_MS 50	/* and AAAA after A */
#define LATE_MS 2000	/* before AAAA is given up */
#define PROBE_MS 5000	/* until a silent server is tried again */

enum { NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED }; /* RFC 1035 */

/* The zone; for other names NXDOMAIN, or no response. */
static const struct record {
	const char *name;
	const char *addr;
} zone[] = {
	{ "four.test", "127.0.0.1" },
	{ "both.test", "::1" },
	{ "both.test", "127.0.0.1" },
	{ "mixed.test", "127.0.0.1" },
	{ "mixed.test", "10.255.255.1" },
	{ "mixed.test", "127.0.0.2" },
	{ "under_score.test", "127.0.0.1" },
	{ "xn--bcher-kva.test", "127.0.0.1" },
	{ "mapped.test", "::ffff:127.0.0.1" },
	{ "twice.test", "127.0.0.1" },
	{ "twice.test", "127.0.0.1" },
	{ "six.test", "::1" },
	{ "order.test", "192.0.2.1" },
	{ "order.test", "127.0.0.1" },
	{ "order.test", "192.0.2.2" },
};

/* As many addresses as fit a datagram, of which the last is LAST. */
#define MANY 28
#define LAST "127.64.0.1"

/* A name server and its faults, by type: A first. */
struct name_server {
	uv_udp_t udp; /* first: on_query() casts it back */
	struct world *w;
	int queries;
	int code[2];   /* of its answers, unless NOERROR */
	bool drops[2]; /* no answer; the last query is kept */
	int loses;     /* so many queries to come get none either */
	char kept[512];
	ssize_t kept_len;
	struct sockaddr_storage kept_from;
};

/* A file in the format of resolv.conf(5), and a server that never answers. */
struct conf {
	char path[64], beside[80];
	struct name_server server;
	int silence;
};

struct world {
	uv_loop_t loop;
	struct name_server server, second;
	struct conf conf; /* of begin_conf() */
	struct resolver *resolver;
	struct policy policy;
	struct dial_queue origins;
	struct descriptors limit;
	struct dialer dialer;
	int queries;	 /* of all servers */
	int descriptors; /* open before the test */
	int listener4, listener6;
	uint16_t port; /* of both listeners */

	const char *requester; /* of the next dial */
	int answers;	       /* times that on_dialled fired */
	uint64_t taken_ms;     /* by the last dial() */
	struct dial_result result;
	struct sockaddr_storage address;
};

static int
count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

/* The name of a question in dotted form; returns the question's length. */
static size_t
read_question(const uint8_t *q, char *name)
{
	const uint8_t *p = q;

	for (; *p != 0; p += *p + 1) {
		memcpy(name, p + 1, *p);
		name += *p;
		*name++ = '.';
	}
	name[-1] = '\0';
	return (size_t)(p - q) + 1 + 4;
}

static size_t
add_record(uint8_t *out, const struct record *r, uint8_t qtype)
{
	/*
	 * The name of the question, type, class IN, and 0 seconds, since newer
	 * versions of c-ares have a cache.
	 */
	uint8_t head[] = { 0xc0, HEADER, 0, qtype, 0, 1, 0, 0, 0, 0, 0, 0 };
	int family = qtype == QTYPE_A ? AF_INET : AF_INET6;
	uint8_t addr[16];

	if (inet_pton(family, r->addr, addr) != 1)
		return 0;
	head[11] = family == AF_INET ? 4 : 16;
	memcpy(out, head, sizeof(head));
	memcpy(out + sizeof(head), addr, head[11]);
	return sizeof(head) + head[11];
}

static size_t
add_records(uint8_t *out, const char *name, uint8_t qtype, uint8_t *header)
{
	struct record one = { name, NULL };
	char addr[INET_ADDRSTRLEN];
	size_t len = 0, more;

	if (strncmp(name, "many", 4) == 0 && qtype == QTYPE_A) {
		header[3] = 0x80;
		header[7] = MANY;
		for (int i = 1; i <= MANY; i++) {
			snprintf(addr, sizeof(addr), "127.0.1.%d", i);
			one.addr = i == MANY ? LAST : addr;
			len += add_record(out + len, &one, qtype);
		}
		return len;
	}
	for (size_t i = 0; i < sizeof(zone) / sizeof(zone[0]); i++) {
		if (strcasecmp(name, zone[i].name) != 0)
			continue;
		header[3] = 0x80;
		more = add_record(out + len, &zone[i], qtype);
		header[7] = (uint8_t)(header[7] + (more > 0));
		len += more;
	}
	return len;
}

static void
answer_query(struct name_server *s, const char *query,
    const struct sockaddr *from)
{
	uint8_t out[512];
	char name[256];
	size_t len;
	uint8_t qtype;
	uv_buf_t reply;

	len = HEADER + read_question((const uint8_t *)query + HEADER, name);
	qtype = (uint8_t)query[len - 3];
	memcpy(out, query, len);
	memset(out + 4, 0, 8);
	out[2] = 0x81;
	out[3] = 0x80 | NXDOMAIN;
	out[5] = 1;
	if (s->code[qtype == QTYPE_AAAA] != NOERROR)
		out[3] = (uint8_t)(0x80 | s->code[qtype == QTYPE_AAAA]);
	else
		len += add_records(out + len, name, qtype, out);
	reply = uv_buf_init((char *)out, (unsigned)len);
	assert_int_equal(uv_udp_try_send(&s->udp, &reply, 1, from), len);
}

static void
on_query(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf,
    const struct sockaddr *from, unsigned flags)
{
	struct name_server *s = (struct name_server *)udp;
	char name[256];
	size_t len;

	(void)flags;
	if (n <= HEADER || from == NULL)
		return;
	s->queries++;
	s->w->queries++;
	len = HEADER + read_question((uint8_t *)buf->base + HEADER, name);
	if (strstr(name, "silent") != NULL)
		return;
	if (s->drops[buf->base[len - 3] == QTYPE_AAAA] || s->loses > 0) {
		s->loses -= s->loses > 0;
		memcpy(s->kept, buf->base, (size_t)n);
		s->kept_len = n;
		memcpy(&s->kept_from, from, addr_len(from));
		return;
	}
	answer_query(s, buf->base, from);
}

/* The last query that was dropped is answered after all. */
static void
answer_late(struct name_server *s)
{
	assert_true(s->kept_len > 0);
	answer_query(s, s->kept, (struct sockaddr *)&s->kept_from);
}

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	static char memory[1024];

	(void)handle;
	(void)suggested;
	*buf = uv_buf_init(memory, sizeof(memory));
}

static void
serve_names(struct world *w, struct name_server *s, char *address)
{
	struct sockaddr_storage ss;
	int len = sizeof(ss);

	assert_int_equal(addr_parse(&ss, "127.0.0.1:0"), 0);
	uv_udp_init(&w->loop, &s->udp);
	s->w = w;
	assert_int_equal(uv_udp_bind(&s->udp, (struct sockaddr *)&ss, 0), 0);
	uv_udp_recv_start(&s->udp, on_alloc, on_query);
	uv_udp_getsockname(&s->udp, (struct sockaddr *)&ss, &len);
	addr_format((struct sockaddr *)&ss, address);
}

/* A resolver with two of these servers. */
static void
serve_two(struct world *w)
{
	char servers[2 * ADDR_STRLEN];
	struct sockaddr_storage ss;
	int len = sizeof(ss);

	uv_udp_getsockname(&w->server.udp, (struct sockaddr *)&ss, &len);
	addr_format((struct sockaddr *)&ss, servers);
	strcat(servers, ",");
	serve_names(w, &w->second, servers + strlen(servers));
	resolver_free(w->resolver);
	assert_int_equal(resolver_new(&w->resolver, &w->loop, RESOLVER_CONF,
			     servers),
	    0);
	w->dialer.resolver = w->resolver;
}

static int
bind_tcp(const char *host, uint16_t *port)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int fd, on = 1;

	assert_true(addr_literal(&ss, host, *port));
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&ss,
		addr_len((struct sockaddr *)&ss)) != 0) {
		close(fd);
		return -1;
	}
	getsockname(fd, (struct sockaddr *)&ss, &len);
	*port = ntohs(((struct sockaddr_in *)&ss)->sin_port);
	return fd;
}

/* Two sockets on one port, bound and not listening: they refuse. */
static void
bind_both(struct world *w)
{
	do {
		w->port = 0;
		w->listener4 = bind_tcp("0.0.0.0", &w->port);
		assert_true(w->listener4 >= 0);
		w->listener6 = bind_tcp("::1", &w->port);
		if (w->listener6 < 0)
			close(w->listener4);
	} while (w->listener6 < 0);
}

/* libuv opens descriptors of its own once, with the first loop. */
static int
warm_up(void **state)
{
	uv_loop_t loop;

	(void)state;
	return uv_loop_init(&loop) < 0 ? -1 : uv_loop_close(&loop);
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	char server[ADDR_STRLEN];

	w->descriptors = count_descriptors();
	assert_int_equal(uv_loop_init(&w->loop), 0);
	serve_names(w, &w->server, server);
	assert_int_equal(resolver_new(&w->resolver, &w->loop, RESOLVER_CONF,
			     server),
	    0);
	policy_init(&w->policy, true);
	w->origins.dials_max = 100;
	w->dialer = (struct dialer){ .resolver = w->resolver,
		.policy = &w->policy,
		.queue = &w->origins,
		.descriptors = &w->limit };
	w->limit.end = 1000;
	w->requester = "someone";
	bind_both(w);
	*state = w;
	return 0;
}

/* One iteration of the loop; if there is nothing to do, the clock moves. */
static void
step(struct world *w)
{
	struct pollfd polled = { uv_backend_fd(&w->loop), POLLIN, 0 };
	int answers = w->answers;

	uv_run(&w->loop, UV_RUN_NOWAIT);
	uv_run(&w->loop, UV_RUN_NOWAIT);
	if (w->answers == answers && poll(&polled, 1, IDLE_MS) == 0 &&
	    uv_backend_timeout(&w->loop) > 0)
		clock_ms += (uint64_t)uv_backend_timeout(&w->loop);
}

/* Also after a test that failed. */
static void
end_conf(struct conf *conf)
{
	uv_close((uv_handle_t *)&conf->server.udp, NULL);
	close(conf->silence);
	unlink(conf->path);
	unlink(conf->beside);
}

static int
teardown(void **state)
{
	struct world *w = *state;

	resolver_free(w->resolver);
	if (w->conf.server.w != NULL)
		end_conf(&w->conf);
	if (!uv_is_closing((uv_handle_t *)&w->server.udp))
		uv_close((uv_handle_t *)&w->server.udp, NULL);
	if (w->second.w != NULL)
		uv_close((uv_handle_t *)&w->second.udp, NULL);
	while (uv_loop_alive(&w->loop))
		step(w);
	assert_int_equal(uv_loop_close(&w->loop), 0);
	close(w->listener4);
	close(w->listener6);
	assert_int_equal(count_descriptors(), w->descriptors);
	assert_int_equal(w->limit.n, 0);
	free(w);
	return 0;
}

static void
on_dialled(void *arg, const struct dial_result *result)
{
	struct world *w = arg;

	w->answers++;
	w->result = *result;
	if (result->address == NULL)
		return;
	memcpy(&w->address, result->address, addr_len(result->address));
	w->result.address = (struct sockaddr *)&w->address;
}

static struct dial *
start(struct world *w, const char *host, uint64_t timeout_ms)
{
	struct target target;
	struct dial *d;

	w->answers = 0;
	assert_int_equal(target_set(&target, host, strlen(host), w->port), 0);
	w->dialer.timeout_ms = timeout_ms;
	assert_int_equal(dial_start(&d, &w->dialer, &target, w->requester,
			     on_dialled, w),
	    0);
	assert_int_equal(w->answers, 0);
	return d;
}

/*
 * Runs until so many dials have ended since now; w->result is the last result.
 */
static void
run_until(struct world *w, int answers)
{
	uint64_t end = clock_ms + 10 * DIAL_TIMEOUT_MS;

	w->answers = 0;
	while (w->answers < answers && clock_ms < end)
		step(w);
	assert_int_equal(w->answers, answers);
}

static enum dial_status
dial_for(struct world *w, const char *host, uint64_t timeout_ms)
{
	uint64_t begin = clock_ms;

	start(w, host, timeout_ms);
	run_until(w, 1);
	w->taken_ms = clock_ms - begin;
	assert_int_equal(w->result.fd >= 0, w->result.status == DIAL_OK);
	return w->result.status;
}

static enum dial_status
dial(struct world *w, const char *host)
{
	return dial_for(w, host, DIAL_TIMEOUT_MS);
}

static void
assert_address(const struct world *w, const char *host)
{
	struct sockaddr_storage ss;
	char expected[ADDR_STRLEN], found[ADDR_STRLEN];

	assert_true(addr_literal(&ss, host, w->port));
	assert_non_null(w->result.address);
	assert_string_equal(addr_format(w->result.address, found),
	    addr_format((struct sockaddr *)&ss, expected));
}

static void
close_result(struct world *w, const struct dial_result *result)
{
	close(result->fd);
	descriptors_give(&w->limit, result->share);
}

/* A connection to the expected address, made as the header says. */
static void
assert_connected(struct world *w, const char *host)
{
	struct sockaddr_storage peer;
	char expected[ADDR_STRLEN], found[ADDR_STRLEN];
	socklen_t len = sizeof(peer);

	assert_address(w, host);
	assert_int_equal(getpeername(w->result.fd, (struct sockaddr *)&peer,
			     &len),
	    0);
	assert_string_equal(addr_format((struct sockaddr *)&peer, found),
	    addr_format(w->result.address, expected));
	assert_true(fcntl(w->result.fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(w->result.fd, F_GETFD) & FD_CLOEXEC);
	close_result(w, &w->result);
}

/* A listener that answers no handshake: its queue is full (backlog 0). */
static void
fill(struct world *w, const char *host, int listener, int fds[3])
{
	struct sockaddr_storage ss;

	assert_int_equal(listen(listener, 0), 0);
	assert_true(addr_literal(&ss, host, w->port));
	for (int i = 0; i < 3; i++) {
		fds[i] = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(fds[i], (struct sockaddr *)&ss,
		    addr_len((struct sockaddr *)&ss));
	}
}

static void
drain(int fds[3])
{
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

static void
literal_connects(void **state)
{
	struct world *w = *state;

	listen(w->listener4, BACKLOG);
	listen(w->listener6, BACKLOG);
	assert_int_equal(dial(w, "127.0.0.1"), DIAL_OK);
	assert_connected(w, "127.0.0.1");
	assert_int_equal(dial(w, "::1"), DIAL_OK);
	assert_connected(w, "::1");
	assert_int_equal(w->queries, 0);
}

static void
a_closed_port_is_refused(void **state)
{
	struct world *w = *state;

	assert_int_equal(dial(w, "127.0.0.1"), DIAL_REFUSED);
	assert_address(w, "127.0.0.1");
	assert_int_equal(dial(w, "both.test"), DIAL_REFUSED);
}

static void
policy_prohibits(void **state)
{
	struct world *w = *state;

	listen(w->listener4, BACKLOG);
	policy_init(&w->policy, false);
	assert_int_equal(dial(w, "127.0.0.1"), DIAL_PROHIBITED);
	assert_address(w, "127.0.0.1");
	assert_int_equal(dial(w, "::ffff:127.0.0.1"), DIAL_PROHIBITED);
	assert_int_equal(dial(w, "four.test"), DIAL_PROHIBITED);
	assert_int_equal(dial(w, "mapped.test"), DIAL_PROHIBITED);
	assert_int_equal(dial(w, "both.test"), DIAL_PROHIBITED);
	assert_int_equal(dial(w, "localhost"), DIAL_PROHIBITED);
}

static void
prohibited_address_is_skipped(void **state)
{
	struct world *w = *state;

	listen(w->listener4, BACKLOG);
	policy_init(&w->policy, false);
	assert_int_equal(policy_allow(&w->policy, "127.0.0.2"), 0);
	assert_int_equal(dial(w, "mixed.test"), DIAL_OK);
	assert_connected(w, "127.0.0.2");
}

static void
names_resolve(void **state)
{
	static const char *const names[] = {
		"four.test",
		"FOUR.test.",
		"under_score.test",
		"xn--bcher-kva.test",
	};
	struct world *w = *state;

	listen(w->listener4, BACKLOG);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(dial(w, names[i]), DIAL_OK);
		assert_connected(w, "127.0.0.1");
	}
}

static void
hosts_file_is_read(void **state)
{
	static const char *const names[] = {
		"localhost",
		"localhost.",
		"LOCALHOST.",
		"127.0.0.1.",
	};
	struct world *w = *state;

	listen(w->listener4, BACKLOG);
	listen(w->listener6, BACKLOG);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(dial(w, names[i]), DIAL_OK);
		assert_true(addr_is_loopback(w->result.address));
		close_result(w, &w->result);
	}
	assert_int_equal(w->queries, 0);
}

static void
unknown_name_is_a_dns_error(void **state)
{
	struct world *w = *state;

	assert_int_equal(dial(w, "missing.test"), DIAL_DNS_ERROR);
	assert_null(w->result.address);
	assert_true(w->queries > 0);
}

static void
silent_server_is_a_dns_timeout(void **state)
{
	struct world *w = *state;

	assert_int_equal(dial_for(w, "silent.test", SHORT_MS),
	    DIAL_DNS_TIMEOUT);
	assert_true(w->queries > 0);
}

static void
number_is_no_name(void **state)
{
	static const char *const hosts[] = {
		"127.1",
		"2130706433",
		"0x7f000001",
		"0x7f.1",
		"0X7F.0.0.0x1",
		"0177.0.0.1",
		"127.0.0.256",
		"1.2.3.4.5",
		"four.test.0x7f",
		"four.test.1",
		"0x",
		"0",
	};
	struct world *w = *state;

	listen(w->listener4, BACKLOG);
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
		assert_int_equal(dial(w, hosts[i]), DIAL_DNS_ERROR);
	assert_int_equal(w->queries, 0);
	/* These only look a little like numbers. */
	assert_int_equal(dial(w, "1.beef"), DIAL_DNS_ERROR);
	assert_int_equal(dial(w, "1.0xyz"), DIAL_DNS_ERROR);
	assert_true(w->queries > 0);
}

static void
full_listener_times_out(void **state)
{
	struct world *w = *state;
	int fds[3];

	fill(w, "127.0.0.1", w->listener4, fds);
	assert_int_equal(dial(w, "127.0.0.1"), DIAL_TIMEOUT);
	assert_int_equal(w->taken_ms,
	    DIAL_TIMEOUT_MS * DIAL_CONNECT_TENTHS / 10);
	assert_address(w, "127.0.0.1");
	drain(fds);
}

static void
second_family_overtakes_a_silent_first(void **state)
{
	struct world *w = *state;
	int fds[3];

	listen(w->listener4, BACKLOG);
	fill(w, "::1", w->listener6, fds);
	assert_int_equal(dial(w, "both.test"), DIAL_OK);
	assert_connected(w, "127.0.0.1");
	assert_int_equal(w->taken_ms, DIAL_ATTEMPT_DELAY_MS);
	drain(fds);
}

static void
failed_attempt_starts_the_next(void **state)
{
	struct world *w = *state;

	listen(w->listener4, BACKLOG);
	assert_int_equal(dial(w, "both.test"), DIAL_OK);
	assert_connected(w, "127.0.0.1");
	assert_int_equal(w->taken_ms, 0);
}

/* Takes a second: then the kernel sends its SYNs again. */
static void
late_answers_count(void **state)
{
	struct world *w = *state, refused = { 0 };
	struct target target = { "127.0.0.1", w->port };
	int fds6[3], fds4[3], fd;
	struct dial *d;

	fill(w, "::1", w->listener6, fds6);
	fill(w, "127.0.0.1", w->listener4, fds4);
	start(w, "::1", DIAL_TIMEOUT_MS);
	assert_int_equal(dial_start(&d, &w->dialer, &target, "someone",
			     on_dialled, &refused),
	    0);
	fcntl(w->listener6, F_SETFL, O_NONBLOCK);
	while ((fd = accept(w->listener6, NULL, NULL)) >= 0)
		close(fd);
	close(w->listener4);
	w->listener4 = -1;
	while (w->answers == 0 || refused.answers == 0)
		uv_run(&w->loop, UV_RUN_ONCE);
	assert_int_equal(w->result.status, DIAL_OK);
	assert_connected(w, "::1");
	assert_int_equal(refused.result.status, DIAL_REFUSED);
	drain(fds6);
	drain(fds4);
}

static void
out_of_descriptors_is_a_limit(void **state)
{
	struct world *w = *state;
	struct rlimit old, none = { 0, 0 };

	listen(w->listener4, BACKLOG);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(dial(w, "127.0.0.1"), DIAL_LIMIT);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	/* Some are not for us. */
	w->limit.end = w->listener6 + 1;
	assert_int_equal(dial(w, "127.0.0.1"), DIAL_LIMIT);
	w->limit.end++;
	assert_int_equal(dial(w, "127.0.0.1"), DIAL_OK);
	assert_connected(w, "127.0.0.1");
}

/* Open sockets count; waiting dials do not. */
static void
descriptors_have_shares(void **state)
{
	enum { LEFT = 12, MINE = 10 };
	struct world *w = *state;
	struct dial_result held[MINE];

	listen(w->listener4, BACKLOG);
	w->limit.end = w->listener6 + 1 + LEFT;
	for (int i = 0; i < MINE; i++) {
		assert_int_equal(dial(w, "127.0.0.1"), DIAL_OK);
		held[i] = w->result;
	}
	assert_int_equal(dial(w, "127.0.0.1"), DIAL_SHARE);
	assert_int_equal(descriptors_share(&w->limit), MINE);
	w->requester = "another";
	assert_int_equal(dial(w, "127.0.0.1"), DIAL_OK);
	assert_connected(w, "127.0.0.1");
	w->requester = "someone";
	close_result(w, &held[0]);
	assert_int_equal(dial(w, "127.0.0.1"), DIAL_OK);
	held[0] = w->result;
	for (int i = 0; i < MINE; i++)
		close_result(w, &held[i]);
	assert_int_equal(w->limit.n, 0);
}

static void
waiting_takes_no_descriptor(void **state)
{
	enum { WAITING = 30 };
	struct world *w = *state;
	struct dial *dials[1 + WAITING];
	int fds[3];

	fill(w, "127.0.0.1", w->listener4, fds);
	w->limit.end = fds[2] + 1 + WAITING / 2;
	w->origins.dials_max = 1;
	for (int i = 0; i < 1 + WAITING; i++)
		dials[i] = start(w, "127.0.0.1", DIAL_TIMEOUT_MS);
	assert_int_equal(w->origins.waiting, WAITING);
	assert_int_equal(w->limit.n, 1);
	uv_run(&w->loop, UV_RUN_NOWAIT);
	assert_int_equal(w->answers, 0);
	for (int i = 0; i < 1 + WAITING; i++)
		dial_cancel(dials[i]);
	assert_int_equal(w->limit.n, 0);
	drain(fds);
}

static void
cancel_at_any_time(void **state)
{
	struct world *w = *state;
	struct dial *d;
	int fds[3];

	dial_cancel(NULL);
	/* Resolving, before and after the question has left. */
	dial_cancel(start(w, "silent.test", DIAL_TIMEOUT_MS));
	w->queries = 0;
	d = start(w, "silent.test", DIAL_TIMEOUT_MS);
	while (w->queries == 0)
		step(w);
	dial_cancel(d);
	/* An answer that comes after the cancel. */
	dial_cancel(start(w, "four.test", DIAL_TIMEOUT_MS));
	/* Both families. */
	fill(w, "127.0.0.1", w->listener4, fds);
	dial_cancel(start(w, "127.0.0.1", DIAL_TIMEOUT_MS));
	/* Connected or refused, not reported yet. */
	dial_cancel(start(w, "::1", DIAL_TIMEOUT_MS));
	listen(w->listener6, BACKLOG);
	dial_cancel(start(w, "::1", DIAL_TIMEOUT_MS));
	assert_int_equal(dial(w, "missing.test"), DIAL_DNS_ERROR);
	drain(fds);
}

static void
resolver_goes_first(void **state)
{
	struct world *w = *state;

	start(w, "silent.test", DIAL_TIMEOUT_MS);
	resolver_free(w->resolver);
	w->resolver = NULL;
	while (w->answers == 0)
		step(w);
	assert_int_equal(w->result.status, DIAL_DNS_ERROR);
}

/* A thousand lookups of one name are one question, and each gets the result. */
static void
one_name_is_one_question(void **state)
{
	struct world *w = *state;
	struct dial *cancelled;

	start(w, "four.test", DIAL_TIMEOUT_MS);
	start(w, "Four.Test", DIAL_TIMEOUT_MS);
	cancelled = start(w, "four.test", DIAL_TIMEOUT_MS);
	start(w, "four.test", DIAL_TIMEOUT_MS);
	dial_cancel(cancelled);
	run_until(w, 3);
	assert_int_equal(w->result.status, DIAL_REFUSED);
	assert_address(w, "127.0.0.1");
	assert_int_equal(w->queries, 2); /* A and AAAA */
	/* It is over, and does not delay the next question. */
	listen(w->listener4, BACKLOG);
	assert_int_equal(dial(w, "four.test"), DIAL_OK);
	assert_connected(w, "127.0.0.1");
}

static void
note_addresses(void *arg, const struct ares_addrinfo_node *list, bool more)
{
	char *to = arg, name[ADDR_STRLEN];

	(void)more;
	for (; list != NULL; list = list->ai_next)
		to += sprintf(to, "%s ", addr_format(list->ai_addr, name));
}

/* Of so many addresses as an answer may hold none costs a socket. */
static void
answers_keep_their_order(void **state)
{
	char text[4 * ADDR_STRLEN] = "";
	struct world *w = *state;
	struct lookup *lookup;

	assert_int_equal(resolver_lookup(w->resolver, "order.test",
			     w->requester, &lookup, note_addresses, text),
	    0);
	while (text[0] == '\0')
		step(w);
	assert_string_equal(text, "192.0.2.1:0 127.0.0.1:0 192.0.2.2:0 ");
}

#define CROWD 1000   /* lookups that wait for one name */
#define TURN_MAX 100 /* of them that may end in one iteration */

struct crowd {
	struct lookup *lookups[CROWD];
	int ended, parts;
};

static void
on_result(void *arg, const struct ares_addrinfo_node *list, bool more)
{
	struct crowd *crowd = arg;

	assert_true(list != NULL || !more);
	crowd->parts += more;
	crowd->ended += !more;
}

/* Iterations until all have ended, few in each; with AAAA late or not. */
static void
tell_crowd(struct world *w, const char *name, int parts)
{
	struct crowd crowd = { .ended = 0 };
	int before;

	for (int i = 0; i < CROWD; i++)
		assert_int_equal(resolver_lookup(w->resolver, name,
				     w->requester, &crowd.lookups[i], on_result,
				     &crowd),
		    0);
	for (int i = 0; i < CROWD; i += 2)
		resolver_cancel(crowd.lookups[i]);
	while (crowd.ended < CROWD / 2) {
		before = crowd.ended + crowd.parts;
		step(w); /* two iterations */
		assert_in_range(crowd.ended + crowd.parts - before, 0,
		    2 * TURN_MAX);
	}
	assert_int_equal(crowd.ended, CROWD / 2);
	assert_int_equal(crowd.parts, parts);
}

/* Others are served while many wait for one name. */
static void
many_results_come_in_parts(void **state)
{
	struct world *w = *state;
	struct crowd crowd = { .ended = 0 };

	tell_crowd(w, "four.test", 0);
	tell_crowd(w, "missing.test", 0);
	w->server.drops[1] = true;
	tell_crowd(w, "both.test", CROWD / 2);
	/* The resolver is freed while it reports results. */
	w->server.drops[1] = false;
	for (int i = 0; i < CROWD; i++)
		assert_int_equal(resolver_lookup(w->resolver, "four.test",
				     w->requester, &crowd.lookups[i], on_result,
				     &crowd),
		    0);
	while (crowd.ended == 0)
		step(w);
	resolver_free(w->resolver);
	w->resolver = NULL;
	assert_int_equal(crowd.ended, CROWD);
}

/*
 * Starts lookups of so many names whose servers are silent, and does not wait.
 */
static void
look_up_silent(struct world *w, int n, const char *requester)
{
	struct target target = { "", 80 };
	struct dial *d;

	w->dialer.timeout_ms = DIAL_TIMEOUT_MS;
	for (int i = 0; i < n; i++) {
		snprintf(target.host, sizeof(target.host), "silent%d-%s.test",
		    i, requester);
		assert_int_equal(dial_start(&d, &w->dialer, &target, requester,
				     on_dialled, w),
		    0);
		dial_cancel(d);
		/* The name server's queue holds a few hundred. */
		if (i % 64 == 0)
			uv_run(&w->loop, UV_RUN_NOWAIT);
	}
}

static void
questions_are_bounded(void **state)
{
	struct world *w = *state;
	char requester[8];
	int i = 0;

	for (; i < RESOLVER_QUESTIONS_MAX / RESOLVER_QUESTIONS_PER_REQUESTER;
	     i++) {
		snprintf(requester, sizeof(requester), "a%d", i);
		look_up_silent(w, RESOLVER_QUESTIONS_PER_REQUESTER, requester);
	}
	assert_int_equal(dial(w, "four.test"), DIAL_LIMIT);
	/* A lookup that joins a question takes no further place. */
	dial_cancel(start(w, "silent7-a1.test", DIAL_TIMEOUT_MS));
	uv_run(&w->loop, UV_RUN_NOWAIT);
	assert_int_equal(w->answers, 0);
}

/* A requester with ever more names gets no more than its share. */
static void
requesters_have_shares(void **state)
{
	struct world *w = *state;

	listen(w->listener4, BACKLOG);
	look_up_silent(w, RESOLVER_QUESTIONS_MAX, "a");
	assert_int_equal(dial(w, "four.test"), DIAL_OK);
	assert_connected(w, "127.0.0.1");
	look_up_silent(w, RESOLVER_QUESTIONS_PER_REQUESTER, "someone");
	assert_int_equal(dial(w, "both.test"), DIAL_LIMIT);
}

/* ---- Servers that fail ---- */

static const int codes[] = { FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED };

#define FOR_EACH_CODE(code) \
	for (size_t n = 0; n < sizeof(codes) / sizeof(codes[0]) && \
	     ((code) = codes[n], true); \
	     n++)

/* The dial is as quick as if nothing were wrong, or takes that long. */
static void
assert_dials(struct world *w, const char *name, const char *addr,
    uint64_t taken_ms)
{
	assert_int_equal(dial(w, name), DIAL_OK);
	assert_connected(w, addr);
	assert_int_equal(w->taken_ms, taken_ms);
}

static void
one_type_may_be_dropped(void **state)
{
	struct world *w = *state;

	listen(w->listener4, BACKLOG);
	listen(w->listener6, BACKLOG);
	w->server.drops[1] = true;
	assert_dials(w, "both.test", "127.0.0.1", DELAY_MS);
	w->server.drops[1] = false;
	w->server.drops[0] = true;
	assert_dials(w, "both.test", "::1", 0);
}

static void
one_type_may_be_an_error(void **state)
{
	struct world *w = *state;
	int code;

	listen(w->listener4, BACKLOG);
	listen(w->listener6, BACKLOG);
	FOR_EACH_CODE(code)
	{
		w->server.code[0] = NOERROR;
		w->server.code[1] = code;
		assert_dials(w, "both.test", "127.0.0.1", 0);
		w->server.code[0] = code;
		w->server.code[1] = NOERROR;
		assert_dials(w, "both.test", "::1", 0);
	}
}

/* AAAA arrives when the attempts by A have begun, or have failed. */
static void
late_addresses_are_tried_too(void **state)
{
	struct world *w = *state;
	int fds[3];

	listen(w->listener6, BACKLOG);
	w->server.drops[1] = true;
	start(w, "both.test", DIAL_TIMEOUT_MS);
	for (uint64_t begin = clock_ms; clock_ms < begin + 2 * DELAY_MS;)
		step(w);
	assert_int_equal(w->answers, 0);
	answer_late(&w->server);
	run_until(w, 1);
	assert_connected(w, "::1");
	fill(w, "127.0.0.1", w->listener4, fds);
	start(w, "both.test", DIAL_TIMEOUT_MS);
	for (uint64_t begin = clock_ms; clock_ms < begin + 2 * DELAY_MS;)
		step(w);
	answer_late(&w->server);
	run_until(w, 1);
	assert_connected(w, "::1");
	drain(fds);
}

/* All addresses so far have failed, and no more arrive. */
static void
late_addresses_are_given_up(void **state)
{
	struct world *w = *state;

	w->server.drops[1] = true;
	assert_int_equal(dial(w, "both.test"), DIAL_REFUSED);
	assert_int_equal(w->taken_ms, DELAY_MS + LATE_MS);
	/* NXDOMAIN, which may come for one type alone. */
	assert_int_equal(dial(w, "missing.test"), DIAL_DNS_ERROR);
	assert_int_equal(w->taken_ms, LATE_MS);
	/* There is no A record: AAAA is all that counts. */
	assert_int_equal(dial(w, "six.test"), DIAL_DNS_TIMEOUT);
	assert_int_equal(w->taken_ms,
	    DIAL_TIMEOUT_MS * DIAL_RESOLVE_QUARTERS / 4);
}

static void
lost_packets_are_sent_again(void **state)
{
	struct world *w = *state;

	listen(w->listener4, BACKLOG);
	w->server.loses = 6;
	assert_int_equal(dial(w, "four.test"), DIAL_OK);
	assert_connected(w, "127.0.0.1");
}

static void
a_server_that_fails_is_skipped(void **state)
{
	struct world *w = *state;
	int code;

	serve_two(w);
	listen(w->listener4, BACKLOG);
	FOR_EACH_CODE(code)
	{
		if (code == NXDOMAIN)
			continue;
		w->server.code[0] = w->server.code[1] = code;
		assert_dials(w, "four.test", "127.0.0.1", 0);
	}
	/* When all servers fail, the result comes at once. */
	w->second.code[0] = w->second.code[1] = SERVFAIL;
	assert_int_equal(dial(w, "four.test"), DIAL_DNS_ERROR);
	assert_int_equal(w->taken_ms, 0);
}

/* An ICMP error reports that no server listens there. */
static void
a_server_that_is_gone_is_skipped(void **state)
{
	struct world *w = *state;

	serve_two(w);
	listen(w->listener4, BACKLOG);
	uv_close((uv_handle_t *)&w->server.udp, NULL);
	uv_run(&w->loop, UV_RUN_NOWAIT);
	assert_dials(w, "four.test", "127.0.0.1", 0);
}

static void
a_silent_server_costs_time_once(void **state)
{
	struct world *w = *state;
	uint64_t began;

	serve_two(w);
	listen(w->listener4, BACKLOG);
	w->server.drops[0] = w->server.drops[1] = true;
	began = clock_ms;
	assert_dials(w, "four.test", "127.0.0.1", PATIENCE_MS);
	w->server.queries = 0;
	while (clock_ms < began + PROBE_MS) {
		assert_dials(w, "four.test", "127.0.0.1", 0);
		/* But for the first query, and the retries. */
		assert_in_range(w->server.queries, 0, 2);
		clock_ms += PROBE_MS / 8;
		uv_update_time(&w->loop);
	}
	/*
	 * It is queried now and then beside the other one, and then first
	 * again.
	 */
	w->server.drops[0] = w->server.drops[1] = false;
	assert_dials(w, "four.test", "127.0.0.1", 0);
	while (uv_backend_timeout(&w->loop) >= 0)
		step(w);
	w->second.queries = 0;
	assert_dials(w, "four.test", "127.0.0.1", 0);
	assert_int_equal(w->second.queries, 0);
}

/* ---- Many addresses ---- */

static void
all_addresses_are_tried(void **state)
{
	struct world *w = *state;
	int last, fds[3];

	/* Refused, all but one. */
	last = bind_tcp(LAST, &w->port);
	listen(last, BACKLOG);
	assert_dials(w, "many.test", LAST, 0);
	/* Silent: the last one has half of the time. */
	fill(w, "127.0.0.1", w->listener4, fds);
	for (uint64_t ms = 1000; ms <= DIAL_TIMEOUT_MS; ms *= 10) {
		assert_int_equal(dial_for(w, "many.test", ms), DIAL_OK);
		assert_connected(w, LAST);
		assert_in_range(w->taken_ms, ms / 4, ms / 2);
	}
	drain(fds);
	close(last);
}

static void
denied_addresses_are_no_attempts(void **state)
{
	struct world *w = *state;
	int last, fds[3];

	last = bind_tcp(LAST, &w->port);
	listen(last, BACKLOG);
	fill(w, "127.0.0.1", w->listener4, fds);
	policy_init(&w->policy, false);
	assert_int_equal(policy_allow(&w->policy, LAST), 0);
	assert_dials(w, "many.test", LAST, 0);
	drain(fds);
	close(last);
}

/* ---- Servers that change ---- */

/*
 * A server in a file without a port has this one, for which a test needs a
 * privilege.
 */
#define SERVER "127.0.0.77"
#define SILENT "127.0.0.78"
#define NAME_PORT 53

static void
write_conf(const char *path, const char *server)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fprintf(file, "nameserver %s\n", server);
	assert_int_equal(fclose(file), 0);
}

/* As editors do: another file in its place. */
static void
replace_conf(const struct conf *conf, const char *server)
{
	write_conf(conf->beside, server);
	assert_int_equal(rename(conf->beside, conf->path), 0);
}

static void
begin_conf(struct world *w)
{
	struct conf *conf = &w->conf;
	struct sockaddr_storage ss;

	assert_true(addr_literal(&ss, SERVER, NAME_PORT));
	uv_udp_init(&w->loop, &conf->server.udp);
	if (uv_udp_bind(&conf->server.udp, (struct sockaddr *)&ss, 0) != 0) {
		uv_close((uv_handle_t *)&conf->server.udp, NULL);
		uv_run(&w->loop, UV_RUN_NOWAIT);
		print_message("port 53 of " SERVER " is not for us\n");
		skip();
	}
	conf->server.w = w;
	uv_udp_recv_start(&conf->server.udp, on_alloc, on_query);
	assert_true(addr_literal(&ss, SILENT, NAME_PORT));
	conf->silence = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(bind(conf->silence, (struct sockaddr *)&ss,
			     sizeof(struct sockaddr_in)),
	    0);
	snprintf(conf->path, sizeof(conf->path), "/tmp/culvert-dial-%d",
	    (int)getpid());
	snprintf(conf->beside, sizeof(conf->beside), "%s.new", conf->path);
	unlink(conf->path);
	resolver_free(w->resolver);
	assert_int_equal(resolver_new(&w->resolver, &w->loop, conf->path, NULL),
	    0);
	w->dialer.resolver = w->resolver;
	assert_int_equal(listen(w->listener4, BACKLOG), 0);
}

static void
servers_are_followed(void **state)
{
	struct world *w = *state;
	const struct conf *conf = &w->conf;

	begin_conf(w);
	/* There is no file, as at a start before there is a network. */
	assert_int_equal(dial_for(w, "four.test", SHORT_MS), DIAL_DNS_ERROR);
	replace_conf(conf, SERVER);
	assert_int_equal(dial(w, "four.test"), DIAL_OK);
	assert_connected(w, "127.0.0.1");
	/* In place, by another file, away and back. */
	write_conf(conf->path, SILENT);
	assert_int_equal(dial_for(w, "four.test", SHORT_MS), DIAL_DNS_TIMEOUT);
	replace_conf(conf, SERVER);
	assert_int_equal(dial(w, "four.test"), DIAL_OK);
	assert_connected(w, "127.0.0.1");
	assert_int_equal(unlink(conf->path), 0);
	assert_int_equal(dial_for(w, "four.test", SHORT_MS), DIAL_DNS_ERROR);
	write_conf(conf->path, SERVER);
	assert_int_equal(dial(w, "four.test"), DIAL_OK);
	assert_connected(w, "127.0.0.1");
	/* The file is a symbolic link that now leads elsewhere. */
	assert_int_equal(unlink(conf->path), 0);
	write_conf(conf->beside, SERVER);
	assert_int_equal(symlink("/dev/null", conf->path), 0);
	assert_int_equal(dial_for(w, "four.test", SHORT_MS), DIAL_DNS_ERROR);
	assert_int_equal(unlink(conf->path), 0);
	assert_int_equal(symlink(conf->beside, conf->path), 0);
	assert_int_equal(dial(w, "four.test"), DIAL_OK);
	assert_connected(w, "127.0.0.1");
	unlink(conf->beside);
}

/* Lookups that wait for the old servers do not wait for their time-out. */
static void
new_servers_are_queried(void **state)
{
	struct world *w = *state;
	struct dial *gone;
	const struct conf *conf = &w->conf;

	begin_conf(w);
	replace_conf(conf, SILENT);
	start(w, "four.test", DIAL_TIMEOUT_MS);
	gone = start(w, "both.test", DIAL_TIMEOUT_MS);
	uv_run(&w->loop, UV_RUN_NOWAIT);
	dial_cancel(gone);
	assert_int_equal(w->queries, 0);
	replace_conf(conf, SERVER);
	dial_cancel(start(w, "missing.test", DIAL_TIMEOUT_MS));
	run_until(w, 1);
	assert_connected(w, "127.0.0.1");
	assert_int_equal(w->queries,
	    4); /* no lookup waits for the third name */
	/* Nor does it take another name: the file is looked at while waiting. */
	replace_conf(conf, SILENT);
	start(w, "four.test", DIAL_TIMEOUT_MS);
	replace_conf(conf, SERVER);
	run_until(w, 1);
	assert_connected(w, "127.0.0.1");
}

static void
a_reload_queries_again(void **state)
{
	struct world *w = *state;
	const struct conf *conf = &w->conf;

	begin_conf(w);
	replace_conf(conf, SERVER);
	start(w, "silent.test", DIAL_TIMEOUT_MS);
	while (w->queries < 2)
		step(w);
	/* Whether the file has changed or not. */
	resolver_reload(w->resolver);
	while (w->queries < 4)
		step(w);
	assert_int_equal(dial(w, "four.test"), DIAL_OK);
	assert_connected(w, "127.0.0.1");
	/* Returned and not queried again yet, when the resolver is freed. */
	resolver_reload(w->resolver);
	resolver_free(w->resolver);
	w->resolver = NULL;
	run_until(w, 1);
	assert_int_equal(w->result.status, DIAL_DNS_ERROR);
}

/* ---- The queue of an origin ---- */

/* The next one is refused at once. */
static void
stop_listening(struct world *w, int fds[3])
{
	drain(fds);
	close(w->listener4);
	w->listener4 = bind_tcp("127.0.0.1", &w->port);
	assert_true(w->listener4 >= 0);
}

static void
dials_to_one_origin_wait_in_order(void **state)
{
	struct world *w = *state;
	struct dial *first;
	uint16_t port;
	int fds[3];

	w->origins.dials_max = 1;
	fill(w, "127.0.0.1", w->listener4, fds);
	first = start(w, "127.0.0.1", DIAL_TIMEOUT_MS);
	start(w, "127.0.0.1", DIAL_TIMEOUT_MS);
	start(w, "127.0.0.1", SHORT_MS);
	assert_int_equal(w->origins.waiting, 2);
	/* Another origin does not wait, even at the same host. */
	listen(w->listener6, BACKLOG);
	assert_int_equal(dial(w, "::1"), DIAL_OK);
	assert_connected(w, "::1");
	port = w->port;
	w->port = 1;
	assert_int_equal(dial_for(w, "127.0.0.1", SHORT_MS), DIAL_REFUSED);
	w->port = port;
	/* A dial that waits too long fails with its reason. */
	run_until(w, 1);
	assert_int_equal(w->result.status, DIAL_LIMIT);
	assert_int_equal(w->origins.waiting, 1);
	/* The next one goes when one has gone. */
	stop_listening(w, fds);
	dial_cancel(first);
	assert_int_equal(w->origins.waiting, 0);
	run_until(w, 1);
	assert_int_equal(w->result.status, DIAL_REFUSED);
	assert_null(w->origins.tree);
}

/* Each fails within its own start: none may nest in another. */
static void
a_long_queue_is_served_in_order(void **state)
{
	struct world *w = *state;
	struct dial *first;
	int n = ORIGIN_WAITING_MAX, fds[3];

	w->origins.dials_max = 1;
	fill(w, "127.0.0.1", w->listener4, fds);
	first = start(w, "127.0.0.1", DIAL_TIMEOUT_MS);
	for (int i = 0; i < n; i++)
		start(w, "127.0.0.1", 10 * DIAL_TIMEOUT_MS);
	assert_int_equal(w->origins.waiting, n);
	assert_int_equal(dial(w, "127.0.0.1"), DIAL_LIMIT);
	assert_int_equal(w->origins.waiting, n);
	stop_listening(w, fds);
	dial_cancel(first);
	run_until(w, n);
	assert_int_equal(w->result.status, DIAL_REFUSED);
	assert_null(w->origins.tree);
}

static void
a_waiting_dial_may_be_cancelled(void **state)
{
	struct world *w = *state;
	struct dial *d[4];
	int fds[3];

	w->origins.dials_max = 1;
	fill(w, "127.0.0.1", w->listener4, fds);
	for (int i = 0; i < 4; i++)
		d[i] = start(w, "127.0.0.1", DIAL_TIMEOUT_MS);
	dial_cancel(d[2]);
	assert_int_equal(w->origins.waiting, 2);
	dial_cancel(d[0]);
	/* Started, and cancelled before it has begun. */
	dial_cancel(d[1]);
	dial_cancel(d[3]);
	assert_null(w->origins.tree);
	drain(fds);
}

/* However it is called, it is one host that gets the SYNs. */
static void
names_of_one_address_share_its_queue(void **state)
{
	static const char *const names[] = {
		"four.test",
		"under_score.test",
		"xn--bcher-kva.test",
		"127.0.0.1",
		"::ffff:127.0.0.1",
		"mapped.test",
	};
	struct world *w = *state;
	struct dial *first;
	size_t n = sizeof(names) / sizeof(names[0]);
	int fds[3];

	w->origins.dials_max = 1;
	fill(w, "127.0.0.1", w->listener4, fds);
	first = start(w, "127.0.0.1", DIAL_TIMEOUT_MS);
	for (size_t i = 0; i < n; i++)
		start(w, names[i], DIAL_TIMEOUT_MS);
	while (w->origins.waiting < n)
		step(w);
	assert_int_equal(w->answers, 0);
	stop_listening(w, fds);
	dial_cancel(first);
	run_until(w, (int)n);
	assert_int_equal(w->result.status, DIAL_REFUSED);
	assert_null(w->origins.tree);
}

/* An address that others wait for does not keep a dial from the next one. */
static void
every_attempt_takes_a_place(void **state)
{
	struct world *w = *state;
	struct dial *first;
	int fds[3];

	w->origins.dials_max = 1;
	listen(w->listener4, BACKLOG);
	fill(w, "::1", w->listener6, fds);
	first = start(w, "::1", DIAL_TIMEOUT_MS);
	start(w, "both.test", DIAL_TIMEOUT_MS);
	while (w->origins.waiting == 0)
		step(w);
	while (w->answers == 0)
		step(w);
	assert_int_equal(w->result.status, DIAL_OK);
	assert_connected(w, "127.0.0.1");
	assert_int_equal(w->origins.waiting, 0);
	dial_cancel(first);
	assert_null(w->origins.tree);
	drain(fds);
}

static void
the_same_address_is_one_attempt(void **state)
{
	struct world *w = *state;
	size_t most = 0;
	int fds[3];

	w->origins.dials_max = 1;
	fill(w, "127.0.0.1", w->listener4, fds);
	start(w, "twice.test", 2 * DIAL_ATTEMPT_DELAY_MS);
	while (w->answers == 0) {
		step(w);
		if (w->origins.waiting > most)
			most = w->origins.waiting;
	}
	assert_int_equal(w->result.status, DIAL_TIMEOUT);
	assert_int_equal(most, 0);
	drain(fds);
}

/* IPv6 by its /64, and addresses of NAT64 as the IPv4 address inside. */
static void
hosts_have_queues_of_their_own(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} rows[] = {
		{ "192.0.2.1", "192.0.2.2", false },
		{ "192.0.2.1", "::ffff:192.0.2.1", true },
		{ "192.0.2.1", "64:ff9b::192.0.2.1", true },
		{ "64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", false },
		{ "2001:db8::1", "2001:db8::ffff:1:1", true },
		{ "2001:db8::1", "2001:db8:0:1::1", false },
		{ "::1", "0.0.0.1", false },
	};
	struct dial_queue origins = { .dials_max = 1 };
	struct sockaddr_storage a, b;
	struct dial_slot first, second;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(addr_literal(&a, rows[i].a, 80));
		assert_true(addr_literal(&b, rows[i].b, 80));
		assert_int_equal(dial_slot_take(&first, &origins,
				     (struct sockaddr *)&a, NULL, NULL),
		    1);
		assert_int_equal(dial_slot_take(&second, &origins,
				     (struct sockaddr *)&b, NULL, NULL),
		    !rows[i].same);
		dial_slot_release(&second);
		/* Another port has a queue of its own. */
		assert_true(addr_literal(&b, rows[i].a, 81));
		assert_int_equal(dial_slot_take(&second, &origins,
				     (struct sockaddr *)&b, NULL, NULL),
		    1);
		dial_slot_release(&second);
		dial_slot_release(&first);
		assert_null(origins.tree);
	}
}

static void
the_policy_may_change_meanwhile(void **state)
{
	struct world *w = *state;
	struct dial *first;
	int fds[3];

	w->origins.dials_max = 1;
	fill(w, "127.0.0.1", w->listener4, fds);
	first = start(w, "127.0.0.1", DIAL_TIMEOUT_MS);
	start(w, "127.0.0.1", DIAL_TIMEOUT_MS);
	assert_int_equal(policy_deny(&w->policy, "127.0.0.1"), 0);
	dial_cancel(first);
	run_until(w, 1);
	assert_int_equal(w->result.status, DIAL_PROHIBITED);
	assert_null(w->origins.tree);
	drain(fds);
}

static void
refusals_have_their_texts(void **state)
{
	(void)state;
	assert_int_equal(dial_http_status(DIAL_OK), 200);
	assert_null(dial_proxy_error(DIAL_OK));
	assert_int_equal(dial_http_status(DIAL_PROHIBITED), 403);
	assert_string_equal(dial_proxy_error(DIAL_PROHIBITED),
	    "destination_ip_prohibited");
	assert_int_equal(dial_http_status(DIAL_LIMIT), 503);
	assert_int_equal(dial_http_status(DIAL_SHARE), 503);
	assert_string_equal(dial_proxy_error(DIAL_REFUSED),
	    "connection_refused");
	assert_string_equal(dial_proxy_error(DIAL_TIMEOUT),
	    "connection_timeout");
	assert_string_equal(dial_proxy_error(DIAL_UNROUTABLE),
	    "destination_ip_unroutable");
	assert_string_equal(dial_proxy_error(DIAL_DNS_ERROR), "dns_error");
	assert_string_equal(dial_proxy_error(DIAL_DNS_TIMEOUT), "dns_timeout");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(literal_connects),
		TEST(a_closed_port_is_refused),
		TEST(policy_prohibits),
		TEST(prohibited_address_is_skipped),
		TEST(names_resolve),
		TEST(hosts_file_is_read),
		TEST(unknown_name_is_a_dns_error),
		TEST(silent_server_is_a_dns_timeout),
		TEST(number_is_no_name),
		TEST(full_listener_times_out),
		TEST(second_family_overtakes_a_silent_first),
		TEST(failed_attempt_starts_the_next),
		TEST(late_answers_count),
		TEST(out_of_descriptors_is_a_limit),
		TEST(descriptors_have_shares),
		TEST(waiting_takes_no_descriptor),
		TEST(cancel_at_any_time),
		TEST(resolver_goes_first),
		TEST(one_name_is_one_question),
		TEST(answers_keep_their_order),
		TEST(many_results_come_in_parts),
		TEST(questions_are_bounded),
		TEST(requesters_have_shares),
		TEST(one_type_may_be_dropped),
		TEST(one_type_may_be_an_error),
		TEST(late_addresses_are_tried_too),
		TEST(late_addresses_are_given_up),
		TEST(lost_packets_are_sent_again),
		TEST(a_server_that_fails_is_skipped),
		TEST(a_server_that_is_gone_is_skipped),
		TEST(a_silent_server_costs_time_once),
		TEST(all_addresses_are_tried),
		TEST(denied_addresses_are_no_attempts),
		TEST(servers_are_followed),
		TEST(new_servers_are_queried),
		TEST(a_reload_queries_again),
		TEST(dials_to_one_origin_wait_in_order),
		TEST(a_long_queue_is_served_in_order),
		TEST(a_waiting_dial_may_be_cancelled),
		TEST(names_of_one_address_share_its_queue),
		TEST(every_attempt_takes_a_place),
		TEST(the_same_address_is_one_attempt),
		TEST(hosts_have_queues_of_their_own),
		TEST(the_policy_may_change_meanwhile),
		TEST(refusals_have_their_texts),
	};

	return cmocka_run_group_tests(tests, warm_up, NULL);
}
