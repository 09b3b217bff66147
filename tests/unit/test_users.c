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

#include "proxy/users.h"

/*
 * The real crypt(3), counted, and behind a gate: while it is shut, hashing
 * stands still, so that the tests say when an answer comes.
 */

static struct {
	uv_mutex_t mutex;
	uv_cond_t opened;
	bool shut;
	int hashes;
} gate;

static uv_loop_t loop;
static char path[] = "/tmp/culvert-users-XXXXXX";
static char err[512];

static void
gate_set(bool shut)
{
	uv_mutex_lock(&gate.mutex);
	gate.shut = shut;
	uv_cond_broadcast(&gate.opened);
	uv_mutex_unlock(&gate.mutex);
}

/* Stands before the one in libcrypt. */
char *
crypt_r(const char *password, const char *setting, struct crypt_data *data)
{
	char *(*real)(const char *, const char *, struct crypt_data *);

	uv_mutex_lock(&gate.mutex);
	gate.hashes++;
	while (gate.shut)
		uv_cond_wait(&gate.opened, &gate.mutex);
	uv_mutex_unlock(&gate.mutex);
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
	snprintf(text, sizeof(text),
	    "# who may come in\n\nbob:%s\r\nalice:%s", hash_of("hunter2"),
	    alice);
	assert_int_equal(load_text(&users, text), 0);
	return users;
}

struct asker {
	struct users_check *check;
	int answers;
	bool ok;
};

static void
on_checked(void *arg, bool ok)
{
	struct asker *asker = arg;

	asker->answers++;
	asker->ok = ok;
}

static int
ask(struct users *users, struct asker *asker, const char *user,
    const char *password)
{
	struct credentials c = { 0 };

	memset(asker, 0, sizeof(*asker));
	strcpy(c.user, user);
	strcpy(c.password, password);
	return users_check(users, &loop, &c, &asker->check, on_checked, asker);
}

/* Asks and waits; true when the credentials are right. */
static bool
admits(struct users *users, const char *user, const char *password)
{
	struct asker asker;

	if (ask(users, &asker, user, password) == 1)
		return true;
	assert_int_equal(asker.answers, 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(asker.answers, 1);
	return asker.ok;
}

static void
right_and_wrong_are_told_apart(void **state)
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
		unsigned long count;	/* the least that crypt(5) takes */
	} kinds[] = {
		{ "$y$", 1 }, { "$6$", 1000 }, { "$2b$", 4 }, { "$2y$", 4 },
		{ "$5$", 1000 }, { "$gy$", 1 }, { "$7$", 6 },
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
	struct asker asker;
	int before;

	(void)state;
	assert_true(admits(users, "alice", "secret"));
	before = gate.hashes;
	assert_int_equal(ask(users, &asker, "alice", "secret"), 1);
	assert_int_equal(gate.hashes, before);
	/* And only these, and only for that name. */
	assert_int_equal(ask(users, &asker, "bob", "secret"), 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_false(asker.ok);
	assert_false(admits(users, "alice", "wrong"));
	assert_int_equal(ask(users, &asker, "alice", "secret"), 1);
	assert_int_equal(gate.hashes, before + 2);
	users_free(users);
}

static void
unknown_name_costs_a_hash(void **state)
{
	struct users *users = load_alice_and_bob();
	int before = gate.hashes;

	(void)state;
	/* Even with the password of the line it is held against. */
	assert_false(admits(users, "mallory", "secret"));
	assert_false(admits(users, "mallory", "secret"));
	assert_int_equal(gate.hashes, before + 2);
	users_free(users);
}

static void
hundred_at_once_cost_few_hashes(void **state)
{
	struct users *users = load_alice_and_bob();
	struct asker askers[100];
	int before = gate.hashes;

	(void)state;
	gate_set(true);
	for (int i = 0; i < 100; i++)
		assert_int_equal(ask(users, &askers[i], "alice", "secret"),
		    0);
	gate_set(false);
	uv_run(&loop, UV_RUN_DEFAULT);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(askers[i].answers, 1);
		assert_true(askers[i].ok);
	}
	assert_in_range(gate.hashes - before, 1, 4);
	users_free(users);
}

static void
waiting_is_bounded(void **state)
{
	struct users *users = load_alice_and_bob();
	static struct asker askers[1000];
	int n = 0;

	(void)state;
	gate_set(true);
	while (n < 1000 && ask(users, &askers[n], "bob", "wrong") == 0)
		n++;
	assert_in_range(n, 100, 200);
	assert_int_equal(ask(users, &askers[n], "alice", "secret"), -EAGAIN);
	gate_set(false);
	uv_run(&loop, UV_RUN_DEFAULT);
	for (int i = 0; i < n; i++) {
		assert_int_equal(askers[i].answers, 1);
		assert_false(askers[i].ok);
	}
	assert_true(admits(users, "alice", "secret"));
	users_free(users);
}

static void
cancelled_check_stays_silent(void **state)
{
	struct users *users = load_alice_and_bob();
	struct asker askers[8];

	(void)state;
	users_check_cancel(NULL);
	gate_set(true);
	for (int i = 0; i < 8; i++)
		ask(users, &askers[i], "alice", "secret");
	/* One that hashes and one that waits. */
	users_check_cancel(askers[0].check);
	users_check_cancel(askers[5].check);
	gate_set(false);
	uv_run(&loop, UV_RUN_DEFAULT);
	for (int i = 0; i < 8; i++)
		assert_int_equal(askers[i].answers, i != 0 && i != 5);
	users_free(users);
}

static void
freed_users_still_answer(void **state)
{
	struct users *users = load_alice_and_bob();
	struct asker askers[4];

	(void)state;
	gate_set(true);
	ask(users, &askers[0], "alice", "secret");
	ask(users, &askers[1], "alice", "wrong");
	ask(users, &askers[2], "bob", "hunter2");
	ask(users, &askers[3], "bob", "hunter2");
	users_free(users);
	users_check_cancel(askers[3].check);
	gate_set(false);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(askers[0].ok);
	assert_int_equal(askers[1].answers, 1);
	assert_false(askers[1].ok);
	assert_true(askers[2].ok);
	assert_int_equal(askers[3].answers, 0);
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
	expect_error("", ":", "the file names no user");
	expect_error("# only this\n\n", ":", "the file names no user");
	expect_error("\n\nalice\n", ":3:", "a line is name:hash");
	expect_error(":$5$culvert$x\n", ":1:", "a line is name:hash");
	snprintf(text, sizeof(text), "a:%s\nb:%s\na:%s\n", hash, hash, hash);
	expect_error(text, ":3:", "the name has a line above");
	memset(text, 'n', CREDENTIAL_MAX + 1);
	snprintf(text + CREDENTIAL_MAX + 1, 256, ":%s", hash);
	expect_error(text, ":1:", "the name is longer than 255 octets");
}

/* What is weak, locked, foreign or damaged is told by line and name. */
static void
bad_hashes_are_refused(void **state)
{
	static const char *const cases[][2] = {
		{ "", "there is no hash after the colon" },
		{ "ab1XJrbVJjrwo", "the hash is of DES, " },
		{ "_J9..CCCCXBrJUJV154M", "the hash is of BSDi's DES (_)" },
		{ "$1$culvert$2lB2cYvhNqG9QMQ3RQyDs0", "the hash is of MD5 " },
		{ "$md5,rounds=904$iPPKEBnEkp3JV8uX$$9BbpVf1dvZNQoVlJHC8lx0",
		    "the hash is of Sun's MD5" },
		{ "$apr1$abc$d", "the hash is of Apache's MD5" },
		{ "$sha1$24680$abc$d", "the hash is of SHA-1" },
		{ "$3$$8846f7eaee8fb117ad06bdd830b7586c",
		    "the hash is of NT's MD4" },
		{ "$2a$04$abcdefghijklmnopqrstuu", "the hash is of an old" },
		{ "$2x$04$abcdefghijklmnopqrstuu", "the hash is of an old" },
		{ "$argon2id$v=19$m=1", "the hash is of a scheme that is not "
		    "known here" },
		{ "!", "the password is locked (!)" },
		{ "!$5$culvert$x", "the password is locked (!)" },
		{ "*", "the password is locked (*)" },
		{ "secret!", "what follows the colon is no hash" },
		{ "x", "what follows the colon is no hash" },
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
	/* One character less, and what shadow(5) has behind it. */
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
	assert_non_null(strstr(err, ": the file is not text"));
	memset(big, '\n', USERS_FILE_MAX + 1);
	write_file(big, USERS_FILE_MAX + 1);
	assert_int_equal(users_load(&users, path, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, ": the file is longer than 1 MiB"));
	write_file(big, USERS_FILE_MAX);
	assert_int_equal(users_load(&users, path, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, ": the file names no user"));
	free(big);
}

static int
setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	uv_mutex_init(&gate.mutex);
	uv_cond_init(&gate.opened);
	return fd < 0 || close(fd) != 0 || uv_loop_init(&loop) != 0;
}

static int
teardown(void **state)
{
	(void)state;
	unlink(path);
	return uv_loop_close(&loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right_and_wrong_are_told_apart),
		cmocka_unit_test(kinds_of_hashes),
		cmocka_unit_test(right_ones_are_remembered),
		cmocka_unit_test(unknown_name_costs_a_hash),
		cmocka_unit_test(hundred_at_once_cost_few_hashes),
		cmocka_unit_test(waiting_is_bounded),
		cmocka_unit_test(cancelled_check_stays_silent),
		cmocka_unit_test(freed_users_still_answer),
		cmocka_unit_test(bad_files_are_refused),
		cmocka_unit_test(bad_hashes_are_refused),
		cmocka_unit_test(bad_paths_are_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
