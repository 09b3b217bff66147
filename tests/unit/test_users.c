#include <arpa/inet.h>
#include <crypt.h>
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/base/login_failures.h"
#include "proxy/base/log.h"
#include "proxy/base/fair_queue.h"
#include "proxy/base/users.h"

/*
 * The real crypt(3), counted, and behind a lock: while it is locked, hashing
 * stops, so that a test decides when a result comes.
 */

static struct {
	uv_mutex_t mutex;
	uv_cond_t opened;
	bool shut;
	int hashes;
} hashing_lock;

static uv_loop_t loop;
static char path[] = "/tmp/culvert-users-XXXXXX";
static char err[512];

static void
admission_set(bool shut)
{
	uv_mutex_lock(&hashing_lock.mutex);
	hashing_lock.shut = shut;
	uv_cond_broadcast(&hashing_lock.opened);
	uv_mutex_unlock(&hashing_lock.mutex);
}

/* Stands before the one in libcrypt. */
char *
crypt_r(const char *password, const char *setting, struct crypt_data *data)
{
	char *(*real)(const char *, const char *, struct crypt_data *);

	uv_mutex_lock(&hashing_lock.mutex);
	hashing_lock.hashes++;
	while (hashing_lock.shut)
		uv_cond_wait(&hashing_lock.opened, &hashing_lock.mutex);
	uv_mutex_unlock(&hashing_lock.mutex);
	*(void **)&real = dlsym(RTLD_NEXT, "crypt_r");
	return real(password, setting, data);
}

static void
write_file(const char *text, size_t len)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static int
load_text(struct users **users, const char *text)
{
	err[0] = '\0';
	write_file(text, strlen(text));
	return users_load(users, path, err, sizeof(err));
}

/* A cheap hash, so that the tests are quick. */
static const char *
hash_of(const char *password)
{
	static struct crypt_data data;
	char *(*real)(const char *, const char *, struct crypt_data *);

	*(void **)&real = dlsym(RTLD_NEXT, "crypt_r");
	memset(&data, 0, sizeof(data));
	return real(password, "$5$rounds=1000$culvert", &data);
}

static struct users *
load_alice_and_bob(void)
{
	struct users *users;
	char text[512], alice[128];

	strcpy(alice, hash_of("secret"));
	snprintf(text, sizeof(text), "# who may come in\n\nbob:%s\r\nalice:%s",
	    hash_of("hunter2"), alice);
	assert_int_equal(load_text(&users, text), 0);
	return users;
}

struct caller {
	struct users_check *check;
	int answers, order;
	bool ok;
	enum users_verdict verdict;
};

static int answers; /* of all callers */

static void
on_checked(void *arg, enum users_verdict verdict)
{
	struct caller *caller = arg;

	caller->answers++;
	caller->order = answers++;
	caller->verdict = verdict;
	caller->ok = verdict == USERS_RIGHT;
}

static int
check_from(struct users *users, struct caller *caller, const char *from,
    const char *user, const char *password)
{
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct credentials c = { 0 };
	bool v4 = inet_pton(AF_INET, from, &sin.sin_addr) == 1;

	assert_true(v4 || inet_pton(AF_INET6, from, &sin6.sin6_addr) == 1);
	memset(caller, 0, sizeof(*caller));
	strcpy(c.user, user);
	strcpy(c.password, password);
	return users_check(users, &loop,
	    v4 ? (struct sockaddr *)&sin : (struct sockaddr *)&sin6, &c,
	    &caller->check, on_checked, caller);
}

static int
check(struct users *users, struct caller *caller, const char *user,
    const char *password)
{
	return check_from(users, caller, "127.0.0.1", user, password);
}

/* Checks and waits; true if the credentials are right. */
static bool
admits(struct users *users, const char *user, const char *password)
{
	struct caller caller;

	if (check(users, &caller, user, password) == 1)
		return true;
	assert_int_equal(caller.answers, 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(caller.answers, 1);
	return caller.ok;
}

static void
credentials_are_right_or_wrong(void **state)
{
	struct users *users = load_alice_and_bob();

	(void)state;
	assert_true(admits(users, "alice", "secret"));
	assert_true(admits(users, "bob", "hunter2"));
	assert_false(admits(users, "alice", "hunter2"));
	assert_false(admits(users, "alice", "secre"));
	assert_false(admits(users, "alice", ""));
	assert_false(admits(users, "bob", "secret"));
	assert_false(admits(users, "Bob", "hunter2"));
	assert_false(admits(users, "", ""));
	users_free(users);
	users_free(NULL);
}

static void
kinds_of_hashes(void **state)
{
	static const struct {
		const char *prefix;
		unsigned long count; /* the least that crypt(5) takes */
	} kinds[] = {
		{ "$y$", 1 },
		{ "$6$", 1000 },
		{ "$2b$", 4 },
		{ "$2y$", 4 },
		{ "$5$", 1000 },
		{ "$gy$", 1 },
		{ "$7$", 6 },
	};
	static struct crypt_data data;
	struct users *users;
	char text[512], setting[CRYPT_GENSALT_OUTPUT_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		memset(&data, 0, sizeof(data));
		assert_non_null(crypt_gensalt_rn(kinds[i].prefix,
		    kinds[i].count, NULL, 0, setting, sizeof(setting)));
		snprintf(text, sizeof(text), "carol:%s\n",
		    crypt_r("pass", setting, &data));
		assert_int_equal(load_text(&users, text), 0);
		assert_false(admits(users, "carol", "word"));
		assert_true(admits(users, "carol", "pass"));
		users_free(users);
	}
}

static void
right_ones_are_remembered(void **state)
{
	struct users *users = load_alice_and_bob();
	struct caller caller;
	int before;

	(void)state;
	assert_true(admits(users, "alice", "secret"));
	before = hashing_lock.hashes;
	assert_int_equal(check(users, &caller, "alice", "secret"), 1);
	assert_int_equal(hashing_lock.hashes, before);
	/* And only these, and only for that name. */
	assert_int_equal(check(users, &caller, "bob", "secret"), 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_false(caller.ok);
	assert_false(admits(users, "alice", "wrong"));
	assert_int_equal(check(users, &caller, "alice", "secret"), 1);
	assert_int_equal(hashing_lock.hashes, before + 2);
	users_free(users);
}

static void
unknown_name_costs_a_hash(void **state)
{
	struct users *users = load_alice_and_bob();
	int before = hashing_lock.hashes;

	(void)state;
	/* Even with the password of the line it is held against. */
	assert_false(admits(users, "mallory", "secret"));
	assert_false(admits(users, "mallory", "secret"));
	assert_int_equal(hashing_lock.hashes, before + 2);
	users_free(users);
}

static void
hundred_at_once_cost_few_hashes(void **state)
{
	struct users *users = load_alice_and_bob();
	struct caller callers[100];
	int before = hashing_lock.hashes;

	(void)state;
	admission_set(true);
	for (int i = 0; i < 100; i++)
		assert_int_equal(check(users, &callers[i], "alice", "secret"),
		    0);
	admission_set(false);
	uv_run(&loop, UV_RUN_DEFAULT);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(callers[i].answers, 1);
		assert_true(callers[i].ok);
	}
	assert_in_range(hashing_lock.hashes - before, 1, 4);
	users_free(users);
}

/* The last line for the log; in place of log.o. */
static struct {
	int lines;
	char last[256], all[8192];
} warned;

void
log_warn(const char *fmt, ...)
{
	va_list ap;

	warned.lines++;
	va_start(ap, fmt);
	vsnprintf(warned.last, sizeof(warned.last), fmt, ap);
	va_end(ap);
	snprintf(warned.all + strlen(warned.all),
	    sizeof(warned.all) - strlen(warned.all), "%s\n", warned.last);
}

/* Guesses, each another one, until no more are taken; how many there are. */
static int
flood(struct users *users, struct caller *callers, int max, const char *from,
    bool names)
{
	char user[32], password[32];
	int n;

	for (n = 0; n < max; n++) {
		snprintf(user, sizeof(user), names ? "guest%d" : "bob", n);
		snprintf(password, sizeof(password), "guess%d", n);
		if (check_from(users, &callers[n], from, user, password) != 0)
			break;
	}
	return n;
}

#define FLOOD 3000
static struct caller guesses[FLOOD];

static void
expect_answers(const struct caller *callers, int n, enum users_verdict verdict)
{
	for (int i = 0; i < n; i++) {
		assert_int_equal(callers[i].answers, 1);
		assert_int_equal(callers[i].verdict, verdict);
	}
}

static void
waiting_is_bounded(void **state)
{
	struct users *users = load_alice_and_bob();
	struct caller alice;
	int n;

	(void)state;
	admission_set(true);
	n = flood(users, guesses, FLOOD, "127.0.0.1", false);
	assert_int_equal(n, 2 + FAIR_SOURCE_MAX);
	/* One more guess at the same name is refused; the same one waits. */
	assert_int_equal(check(users, &alice, "bob", "x"), -EAGAIN);
	assert_int_equal(check(users, &alice, "bob", "guess7"), 0);
	users_check_cancel(alice.check);
	admission_set(false);
	uv_run(&loop, UV_RUN_DEFAULT);
	expect_answers(guesses, n, USERS_WRONG);
	assert_true(admits(users, "alice", "secret"));
	users_free(users);
}

/*
 * 200 sources with as many checks as they may have: each gets its share only.
 */
static void
all_sources_are_bounded(void **state)
{
	struct users *users = load_alice_and_bob();
	struct caller late;
	char from[32];
	int n = 0;

	(void)state;
	admission_set(true);
	for (int i = 0; i < 8; i++) {
		snprintf(from, sizeof(from), "10.0.0.%d", i);
		n += flood(users, guesses + n, FAIR_SOURCE_MAX + (i == 0) * 2,
		    from, true);
	}
	assert_int_equal(n, FAIR_MAX + 2);
	/* A ninth has its share, at the cost of the largest. */
	assert_int_equal(check_from(users, &late, "10.0.1.1", "alice",
			     "secret"),
	    0);
	assert_int_equal(check_from(users, &guesses[n], "10.0.0.1", "x", "y"),
	    -EAGAIN);
	answers = 0;
	admission_set(false);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(late.ok);
	/* In the first round of nine; threads may end a second one before. */
	assert_in_range(late.order, 0, 18);
	n = 0;
	for (int i = 0; i < FAIR_MAX + 2; i++)
		n += guesses[i].verdict == USERS_OVERLOAD;
	assert_int_equal(n, 1);
	users_free(users);
}

/* 192.0.2.1 floods; checks of other sources wait for their own only. */
static void
sources_are_served_round_robin(void **state)
{
	struct users *users = load_alice_and_bob();
	struct caller alice, bob, neighbour;
	int n;

	(void)state;
	admission_set(true);
	n = flood(users, guesses, 250, "192.0.2.1", true);
	assert_int_equal(n, 250);
	check_from(users, &alice, "192.0.2.2", "alice", "secret");
	/* An IPv6 network is one source: this one has two. */
	check_from(users, &bob, "2001:db8:1:1::1", "bob", "hunter2");
	check_from(users, &neighbour, "2001:db8:1:1::2", "bob", "hunter2");
	answers = 0;
	admission_set(false);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(alice.ok && bob.ok && neighbour.ok);
	assert_in_range(alice.order, 0, 8);
	assert_in_range(bob.order, 0, 8);
	assert_in_range(neighbour.order, 0, 8);
	users_free(users);
}

/* All clients of a loopback listener are one source. */
static void
names_of_a_source_are_served_round_robin(void **state)
{
	struct users *users = load_alice_and_bob();
	struct caller alice;

	(void)state;
	admission_set(true);
	assert_int_equal(flood(users, guesses, FLOOD, "127.0.0.1", false),
	    2 + FAIR_SOURCE_MAX);
	/* There is room for another name, at the cost of bob's. */
	assert_int_equal(check(users, &alice, "alice", "secret"), 0);
	answers = 0;
	admission_set(false);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(alice.ok);
	assert_in_range(alice.order, 0, 8);
	assert_int_equal(guesses[1 + FAIR_SOURCE_MAX].verdict, USERS_OVERLOAD);
	users_free(users);
}

static void
cached_users_pass_a_flood(void **state)
{
	struct users *users = load_alice_and_bob();
	struct caller alice;

	(void)state;
	assert_true(admits(users, "alice", "secret"));
	admission_set(true);
	flood(users, guesses, FLOOD, "127.0.0.1", true);
	assert_int_equal(check(users, &alice, "alice", "secret"), 1);
	admission_set(false);
	uv_run(&loop, UV_RUN_DEFAULT);
	users_free(users);
}

/* All tunnels of a new client check the same password. */
static void
thousand_of_one_cost_few_hashes(void **state)
{
	struct users *users = load_alice_and_bob();
	int before = hashing_lock.hashes;

	(void)state;
	admission_set(true);
	for (int i = 0; i < FLOOD; i++)
		assert_int_equal(check(users, &guesses[i], "alice", "secret"),
		    0);
	admission_set(false);
	uv_run(&loop, UV_RUN_DEFAULT);
	expect_answers(guesses, FLOOD, USERS_RIGHT);
	assert_in_range(hashing_lock.hashes - before, 1, 4);
	users_free(users);
}

static void
login_failures_are_logged_by_source(void **state)
{
	struct users *users = load_alice_and_bob();
	struct caller callers[3];

	(void)state;
	memset(&warned, 0, sizeof(warned));
	assert_false(admits(users, "alice", "sesame"));
	assert_string_equal(warned.last,
	    "authentication failed from "
	    "127.0.0.1: 1 wrong name or password");
	/* Further ones within the interval are logged when it is over. */
	for (int i = 0; i < 5; i++)
		assert_false(admits(users, "mallory", "sesame"));
	admission_set(true);
	check_from(users, &callers[0], "2001:db8::1", "alice", "sesame");
	flood(users, guesses, FLOOD, "192.0.2.1", false);
	assert_int_equal(check_from(users, &callers[1], "192.0.2.1", "bob",
			     "x"),
	    -EAGAIN);
	admission_set(false);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(warned.lines, 1);
	users_free(users);
	assert_int_equal(warned.lines, 4);
	assert_non_null(strstr(warned.all,
	    "failed from 127.0.0.1: 5 wrong "
	    "names or passwords\n"));
	assert_non_null(strstr(warned.all, "failed from 2001:db8::/64: 1 "));
	assert_non_null(strstr(warned.all,
	    "failed from 192.0.2.1: 257 wrong "
	    "names or passwords, 2 refused without a check"));
	assert_null(strstr(warned.all, "mallory"));
	assert_null(strstr(warned.all, "sesame"));
}

/* Thousands of sources are some lines. */
static void
login_failures_of_many_are_few_lines(void **state)
{
	struct users *users = load_alice_and_bob();
	char from[64];

	(void)state;
	memset(&warned, 0, sizeof(warned));
	for (int i = 0; i < 200; i++) {
		struct caller caller;

		snprintf(from, sizeof(from), "2001:db8:0:%x::1", i);
		check_from(users, &caller, from, "alice", "x");
		uv_run(&loop, UV_RUN_DEFAULT);
	}
	users_free(users);
	assert_int_equal(warned.lines, 1 + LOGIN_FAILURES_LINES_MAX + 1);
	assert_non_null(strstr(warned.all, "from other addresses: 191 wrong"));
}

/* ---- Reloads ---- */

static struct users *
load_lines(const char *alice, const char *bob)
{
	struct users *users;
	char text[512];

	snprintf(text, sizeof(text), "%s%s%s%s%s", bob != NULL ? "bob:" : "",
	    bob != NULL ? bob : "", bob != NULL ? "\n" : "",
	    alice != NULL ? "alice:" : "", alice != NULL ? alice : "");
	assert_int_equal(load_text(&users, text), 0);
	return users;
}

static void
cached_users_survive_a_reload(void **state)
{
	char secret[128], other[128];
	struct caller caller;
	struct users *users;

	(void)state;
	strcpy(secret, hash_of("secret"));
	strcpy(other, hash_of("hunter2"));
	users = load_lines(secret, other);
	assert_true(admits(users, "alice", "secret"));
	assert_true(admits(users, "bob", "hunter2"));
	/* The same lines: both stay known. */
	users_replace(&users, load_lines(secret, other));
	assert_int_equal(check(users, &caller, "alice", "secret"), 1);
	assert_int_equal(check(users, &caller, "bob", "hunter2"), 1);
	/* alice has another password, and bob is gone. */
	users_replace(&users, load_lines(other, NULL));
	assert_false(admits(users, "alice", "secret"));
	assert_false(admits(users, "bob", "hunter2"));
	assert_true(admits(users, "alice", "hunter2"));
	/* Back again, they are not known from before. */
	users_replace(&users, load_lines(secret, other));
	assert_int_equal(check(users, &caller, "bob", "hunter2"), 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(caller.ok);
	assert_false(admits(users, "alice", "hunter2"));
	assert_true(admits(users, "alice", "secret"));
	users_replace(&users, NULL);
	assert_null(users);
	users_replace(&users, load_lines(secret, NULL));
	assert_true(admits(users, "alice", "secret"));
	users_free(users);
}

/*
 * Checks that are hashed or wait during a reload are answered by the new file.
 */
static void
a_reload_decides_checks_under_way(void **state)
{
	struct caller callers[6], late[4];
	char secret[128], other[128];
	struct users *users;

	(void)state;
	strcpy(secret, hash_of("secret"));
	strcpy(other, hash_of("hunter2"));
	users = load_lines(secret, other);
	admission_set(true);
	check(users, &callers[0], "alice", "secret"); /* hashes */
	check(users, &callers[1], "bob", "hunter2");
	check(users, &callers[2], "alice", "secret"); /* waits */
	check(users, &callers[3], "alice", "hunter2");
	check(users, &callers[4], "bob", "hunter2");
	check(users, &callers[5], "carol", "secret");
	users_replace(&users, load_lines(other, NULL));
	admission_set(false);
	uv_run(&loop, UV_RUN_DEFAULT);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(callers[i].answers, 1);
		assert_int_equal(callers[i].ok, i == 3);
	}
	/* A user whose line is unchanged keeps the cached result. */
	admission_set(true);
	check(users, &late[0], "alice", "hunter2x");
	check(users, &late[1], "bob", "secret");
	users_replace(&users, load_lines(other, secret));
	check(users, &late[2], "bob", "secret");
	admission_set(false);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(late[0].verdict, USERS_WRONG);
	assert_true(late[1].ok);
	assert_true(late[2].ok);
	users_free(users);
}

static void
cancelled_check_stays_silent(void **state)
{
	struct users *users = load_alice_and_bob();
	struct caller callers[8];

	(void)state;
	users_check_cancel(NULL);
	admission_set(true);
	for (int i = 0; i < 8; i++)
		check(users, &callers[i], "alice", "secret");
	/* One that hashes and one that waits. */
	users_check_cancel(callers[0].check);
	users_check_cancel(callers[5].check);
	admission_set(false);
	uv_run(&loop, UV_RUN_DEFAULT);
	for (int i = 0; i < 8; i++)
		assert_int_equal(callers[i].answers, i != 0 && i != 5);
	users_free(users);
}

static void
freed_users_still_answer(void **state)
{
	struct users *users = load_alice_and_bob();
	struct caller callers[4];

	(void)state;
	admission_set(true);
	check(users, &callers[0], "alice", "secret");
	check(users, &callers[1], "alice", "wrong");
	check(users, &callers[2], "bob", "hunter2");
	check(users, &callers[3], "bob", "hunter2");
	users_free(users);
	users_check_cancel(callers[3].check);
	admission_set(false);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(callers[0].ok);
	assert_int_equal(callers[1].answers, 1);
	assert_false(callers[1].ok);
	assert_true(callers[2].ok);
	assert_int_equal(callers[3].answers, 0);
}

static void
expect_error(const char *text, const char *where, const char *what)
{
	struct users *users;
	char expected[128];

	assert_int_equal(load_text(&users, text), -EINVAL);
	snprintf(expected, sizeof(expected), "%s%s %s", path, where, what);
	assert_string_equal(err, expected);
}

static void
bad_files_are_refused(void **state)
{
	char text[1024] = "# c\n\n", hash[128];

	(void)state;
	strcpy(hash, hash_of("x"));
	expect_error("", ":", "the file contains no users");
	expect_error("# only this\n\n", ":", "the file contains no users");
	expect_error("\n\nalice\n", ":3:", "the line is not name:hash");
	expect_error(":$5$culvert$x\n", ":1:", "the line is not name:hash");
	snprintf(text, sizeof(text), "a:%s\nb:%s\na:%s\n", hash, hash, hash);
	expect_error(text, ":3:", "the name already has a line above");
	memset(text, 'n', CREDENTIAL_MAX + 1);
	snprintf(text + CREDENTIAL_MAX + 1, 256, ":%s", hash);
	expect_error(text, ":1:", "the name is longer than 255 bytes");
}

/* A weak, locked, unknown or damaged hash is reported with line and name. */
static void
bad_hashes_are_refused(void **state)
{
	static const char *const cases[][2] = {
		{ "", "there is no hash after the colon" },
		{ "ab1XJrbVJjrwo", "DES hashes " },
		{ "_J9..CCCCXBrJUJV154M", "BSDi's DES hashes (_)" },
		{ "$1$culvert$2lB2cYvhNqG9QMQ3RQyDs0", "MD5 hashes " },
		{ "$md5,rounds=904$iPPKEBnEkp3JV8uX$$9BbpVf1dvZNQoVlJHC8lx0",
		    "Sun's MD5 hashes" },
		{ "$apr1$abc$d", "Apache's MD5 hashes" },
		{ "$sha1$24680$abc$d", "SHA-1 hashes" },
		{ "$3$$8846f7eaee8fb117ad06bdd830b7586c", "NT hashes" },
		{ "$2a$04$abcdefghijklmnopqrstuu", "bcrypt hashes before" },
		{ "$2x$04$abcdefghijklmnopqrstuu", "bcrypt hashes before" },
		{ "$argon2id$v=19$m=1", "the hash has an unknown scheme" },
		{ "!", "the password is locked (!)" },
		{ "!$5$culvert$x", "the password is locked (!)" },
		{ "*", "the password is locked (*)" },
		{ "secret!", "the text after the colon is not a hash" },
		{ "x", "the text after the colon is not a hash" },
		{ "$5$culvert$x", "the hash is damaged" },
		{ "$6$", "the hash is damaged" },
		{ "$6$culvert", "the hash is damaged" },
		{ "$y$j9T$abc", "the hash is damaged" },
		{ "$2b$04$abc", "the hash is damaged" },
	};
	char text[512], expected[256], cut[128];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct users *users;

		snprintf(text, sizeof(text), "# c\nalice:%s\n", cases[i][0]);
		assert_int_equal(load_text(&users, text), -EINVAL);
		snprintf(expected, sizeof(expected), "%s:2: %s", path,
		    cases[i][1]);
		assert_memory_equal(err, expected, strlen(expected));
		assert_non_null(strstr(err, "openssl passwd -6"));
		if (strlen(cases[i][0]) > 8)
			assert_null(strstr(err, cases[i][0]));
	}
	/* One character less, and the other fields of shadow(5). */
	strcpy(cut, hash_of("x"));
	snprintf(text, sizeof(text), "alice:%s:19000:0:99999:7:::\n", cut);
	cut[strlen(cut) - 1] = '\0';
	for (int i = 0; i < 2; i++) {
		struct users *users;

		assert_int_equal(load_text(&users, text), -EINVAL);
		assert_non_null(strstr(err, ":1: the hash is damaged"));
		snprintf(text, sizeof(text), "alice:%s\n", cut);
	}
}

static void
bad_paths_are_refused(void **state)
{
	struct users *users;
	char small[8], *big = calloc(1, USERS_FILE_MAX + 1);

	(void)state;
	assert_int_equal(users_load(&users, "/nonexistent", err, sizeof(err)),
	    -EINVAL);
	assert_string_equal(err, "/nonexistent: No such file or directory");
	assert_int_equal(users_load(&users, "/tmp", small, sizeof(small)),
	    -EINVAL);
	assert_string_equal(small, "/tmp: I");
	write_file(big, 10);
	assert_int_equal(users_load(&users, path, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, ": the file is not a text file"));
	memset(big, '\n', USERS_FILE_MAX + 1);
	write_file(big, USERS_FILE_MAX + 1);
	assert_int_equal(users_load(&users, path, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, ": the file is longer than 1 MiB"));
	write_file(big, USERS_FILE_MAX);
	assert_int_equal(users_load(&users, path, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, ": the file contains no users"));
	free(big);
}

static int
setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	uv_mutex_init(&hashing_lock.mutex);
	uv_cond_init(&hashing_lock.opened);
	return fd < 0 || close(fd) != 0 || uv_loop_init(&loop) != 0;
}

static int
teardown(void **state)
{
	(void)state;
	unlink(path);
	uv_run(&loop, UV_RUN_DEFAULT); /* handles that close are closed then */
	return uv_loop_close(&loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(credentials_are_right_or_wrong),
		cmocka_unit_test(kinds_of_hashes),
		cmocka_unit_test(right_ones_are_remembered),
		cmocka_unit_test(unknown_name_costs_a_hash),
		cmocka_unit_test(hundred_at_once_cost_few_hashes),
		cmocka_unit_test(waiting_is_bounded),
		cmocka_unit_test(all_sources_are_bounded),
		cmocka_unit_test(sources_are_served_round_robin),
		cmocka_unit_test(names_of_a_source_are_served_round_robin),
		cmocka_unit_test(cached_users_pass_a_flood),
		cmocka_unit_test(thousand_of_one_cost_few_hashes),
		cmocka_unit_test(login_failures_are_logged_by_source),
		cmocka_unit_test(login_failures_of_many_are_few_lines),
		cmocka_unit_test(cached_users_survive_a_reload),
		cmocka_unit_test(a_reload_decides_checks_under_way),
		cmocka_unit_test(cancelled_check_stays_silent),
		cmocka_unit_test(freed_users_still_answer),
		cmocka_unit_test(bad_files_are_refused),
		cmocka_unit_test(bad_hashes_are_refused),
		cmocka_unit_test(bad_paths_are_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
