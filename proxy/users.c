#include <crypt.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "proxy/privsep.h"
#include "proxy/scheme.h"
#include "proxy/users.h"

/*
 * A check goes
 *
 *	waiting -> hashing -> answered, freed
 *
 * or is answered at once when the same credentials were right before. A
 * cancelled check is freed at once while it waits; while it hashes it belongs
 * to the thread pool, and on_hashed() frees it in silence.
 *
 * What was right before is remembered as an HMAC of name and password under a
 * key that lives no longer than the object, so a look at the memory shows no
 * password. A browser that opens a hundred connections at once pays for one
 * crypt(3): the checks that wait are held against the digests again.
 */

/* Threads of libuv's four that may hash at once; the rest stay free. */
#define HASHING_MAX 2

/* Checks that wait: at 50 ms each they are through within a few seconds. */
#define WAITING_MAX 128

#define DIGEST_SIZE 32	/* octets of a SHA-256 */

struct user {
	const char *name;	/* points into the text of the file */
	const char *hash;
	unsigned line;
	bool remembered;
	uint8_t digest[DIGEST_SIZE];
};

struct users {
	unsigned refs;		/* the owner and each check in flight */
	char *text;		/* the file */
	size_t textlen;		/* its octets, without the NUL */
	struct user *list;	/* in the order of their names */
	size_t n;
	uint8_t key[DIGEST_SIZE];
	unsigned nhashing;
	unsigned nwaiting;
	TAILQ_HEAD(, users_check) waiting;
};

struct users_check {
	uv_work_t work;
	uv_loop_t *loop;
	struct users *users;
	struct user *user;	/* NULL: no such name */
	struct credentials credentials;
	uint8_t digest[DIGEST_SIZE];
	bool hashing;
	bool ok;		/* written by the thread, read after it */
	void (*on_checked)(void *arg, bool ok);	/* NULL: cancelled */
	void *arg;
	TAILQ_ENTRY(users_check) entry;
};

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct user *)a)->name,
	    ((const struct user *)b)->name);
}

static struct user *
find(const struct users *users, const char *name)
{
	struct user key = { .name = name };

	return bsearch(&key, users->list, users->n, sizeof(key), by_name);
}

static void
release(struct users *users)
{
	if (--users->refs > 0)
		return;
	if (users->text != NULL)
		explicit_bzero(users->text, users->textlen);
	free(users->text);
	free(users->list);
	explicit_bzero(users, sizeof(*users));
	free(users);
}

/* Fills users->text, NUL-terminated; returns what is wrong, or NULL. */
static const char *
read_file(struct users *users, const char *path)
{
	int fd = privsep_open(path);
	ssize_t n = 1;

	if (fd < 0)
		return privsep_strerror(-fd);
	while (n > 0 && users->textlen <= USERS_FILE_MAX) {
		n = read(fd, users->text + users->textlen,
		    USERS_FILE_MAX + 1 - users->textlen);
		if (n > 0)
			users->textlen += (size_t)n;
	}
	close(fd);
	if (n < 0)
		return strerror(errno);
	if (users->textlen > USERS_FILE_MAX)
		return "the file is longer than 1 MiB";
	users->text[users->textlen] = '\0';
	return NULL;
}

/* Takes one line, which stays in place; returns what is wrong, or NULL. */
static const char *
parse_line(struct users *users, char *line, unsigned number)
{
	struct user *user = &users->list[users->n];
	char *hash = strchr(line, ':');
	size_t end = strlen(line);
	const char *wrong;

	while (end > 0 && strchr(" \t\r", line[end - 1]) != NULL)
		line[--end] = '\0';
	if (end == 0 || line[0] == '#')
		return NULL;
	if (hash == NULL || hash == line)
		return "a line is name:hash";
	*hash++ = '\0';
	if (hash - line > CREDENTIAL_MAX + 1)
		return "the name is longer than 255 octets";
	if ((wrong = scheme_check(hash)) != NULL)
		return wrong;
	*user = (struct user){ .name = line, .hash = hash, .line = number };
	users->n++;
	return NULL;
}

static const char *
parse(struct users *users, unsigned *number)
{
	char *line = users->text, *rest = users->text;
	const char *wrong;
	size_t lines = 1;

	if (memchr(users->text, '\0', users->textlen) != NULL)
		return "the file is not text";
	for (size_t i = 0; i < users->textlen; i++)
		lines += users->text[i] == '\n';
	users->list = calloc(lines, sizeof(*users->list));
	if (users->list == NULL)
		return strerror(ENOMEM);
	for (*number = 1; (line = strsep(&rest, "\n")) != NULL; ++*number) {
		wrong = parse_line(users, line, *number);
		if (wrong != NULL)
			return wrong;
	}
	*number = 0;
	return users->n > 0 ? NULL : "the file names no user";
}

static const char *
sort(struct users *users, unsigned *number)
{
	qsort(users->list, users->n, sizeof(*users->list), by_name);
	for (size_t i = 1; i < users->n; i++) {
		const struct user *a = &users->list[i - 1];
		const struct user *b = &users->list[i];

		if (by_name(a, b) != 0)
			continue;
		*number = a->line > b->line ? a->line : b->line;
		return "the name has a line above";
	}
	return NULL;
}

static const char *
load(struct users *users, const char *path, unsigned *number)
{
	const char *wrong;

	users->text = malloc(USERS_FILE_MAX + 1);
	if (users->text == NULL)
		return strerror(ENOMEM);
	wrong = read_file(users, path);
	if (wrong == NULL)
		wrong = parse(users, number);
	if (wrong == NULL)
		wrong = sort(users, number);
	return wrong;
}

int
users_load(struct users **users, const char *path, char *err, size_t errlen)
{
	struct users *u = calloc(1, sizeof(*u));
	const char *wrong = strerror(ENOMEM);
	unsigned number = 0;

	if (u != NULL) {
		u->refs = 1;
		TAILQ_INIT(&u->waiting);
		wrong = load(u, path, &number);
	}
	if (wrong == NULL && gnutls_rnd(GNUTLS_RND_KEY, u->key,
	    sizeof(u->key)) != 0)
		wrong = "no random numbers";
	if (wrong == NULL) {
		*users = u;
		return 0;
	}
	users_free(u);
	if (number > 0)
		snprintf(err, errlen, "%s:%u: %s", path, number, wrong);
	else
		snprintf(err, errlen, "%s: %s", path, wrong);
	return -EINVAL;
}

void
users_free(struct users *users)
{
	if (users != NULL)
		release(users);
}

/* The NUL between the two keeps "ab" "c" apart from "a" "bc". */
static int
digest(const struct users *users, const struct credentials *credentials,
    uint8_t *out)
{
	char pair[sizeof(*credentials)];
	size_t userlen = strlen(credentials->user) + 1;
	size_t passwordlen = strlen(credentials->password);
	int rv;

	memcpy(pair, credentials->user, userlen);
	memcpy(pair + userlen, credentials->password, passwordlen);
	rv = gnutls_hmac_fast(GNUTLS_MAC_SHA256, users->key,
	    sizeof(users->key), pair, userlen + passwordlen, out);
	explicit_bzero(pair, sizeof(pair));
	return rv == 0 ? 0 : -ENOMEM;
}

static bool
remembers(const struct user *user, const uint8_t *out)
{
	return user != NULL && user->remembered &&
	    gnutls_memcmp(user->digest, out, DIGEST_SIZE) == 0;
}

static void
discard(struct users_check *check)
{
	struct users *users = check->users;

	explicit_bzero(check, sizeof(*check));
	free(check);
	release(users);
}

static void
answer(struct users_check *check, bool ok)
{
	void (*on_checked)(void *, bool) = check->on_checked;
	void *arg = check->arg;

	discard(check);
	if (on_checked != NULL)
		on_checked(arg, ok);
}

/*
 * Runs in a thread of the pool and reads only what never changes. A name
 * that does not exist is held against the first user's hash, for the time
 * that takes.
 */
static void
hash(uv_work_t *work)
{
	struct users_check *check = work->data;
	const char *setting = check->user != NULL ? check->user->hash :
	    check->users->list[0].hash;
	struct crypt_data *data = calloc(1, sizeof(*data));
	const char *found = NULL;
	size_t len = strlen(setting);

	if (data != NULL)
		found = crypt_r(check->credentials.password, setting, data);
	check->ok = found != NULL && strlen(found) == len &&
	    gnutls_memcmp(found, setting, len) == 0 && check->user != NULL;
	if (data != NULL)
		explicit_bzero(data, sizeof(*data));
	free(data);
}

static void on_hashed(uv_work_t *work, int status);

static void
start_hashing(struct users_check *check)
{
	check->hashing = true;
	check->users->nhashing++;
	check->work.data = check;
	uv_queue_work(check->loop, &check->work, hash, on_hashed);
}

static void
start_waiting(struct users *users)
{
	struct users_check *check;

	while (users->nhashing < HASHING_MAX &&
	    (check = TAILQ_FIRST(&users->waiting)) != NULL) {
		TAILQ_REMOVE(&users->waiting, check, entry);
		users->nwaiting--;
		if (remembers(check->user, check->digest))
			answer(check, true);
		else
			start_hashing(check);
	}
}

static void
on_hashed(uv_work_t *work, int status)
{
	struct users_check *check = work->data;
	struct users *users = check->users;

	(void)status;
	users->nhashing--;
	if (check->ok) {
		memcpy(check->user->digest, check->digest, DIGEST_SIZE);
		check->user->remembered = true;
	}
	/* This check still holds the users. */
	start_waiting(users);
	answer(check, check->ok);
}

int
users_check(struct users *users, uv_loop_t *loop,
    const struct credentials *credentials, struct users_check **check,
    void (*on_checked)(void *arg, bool ok), void *arg)
{
	struct users_check *c;
	struct user *user = find(users, credentials->user);
	uint8_t out[DIGEST_SIZE];

	if (digest(users, credentials, out) < 0)
		return -ENOMEM;
	if (remembers(user, out))
		return 1;
	if (users->nwaiting == WAITING_MAX)
		return -EAGAIN;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	c->loop = loop;
	c->users = users;
	c->user = user;
	c->credentials = *credentials;
	memcpy(c->digest, out, sizeof(out));
	c->on_checked = on_checked;
	c->arg = arg;
	users->refs++;
	*check = c;
	if (users->nhashing < HASHING_MAX) {
		start_hashing(c);
	} else {
		TAILQ_INSERT_TAIL(&users->waiting, c, entry);
		users->nwaiting++;
	}
	return 0;
}

void
users_check_cancel(struct users_check *check)
{
	if (check == NULL)
		return;
	if (check->hashing) {
		check->on_checked = NULL;
		return;
	}
	TAILQ_REMOVE(&check->users->waiting, check, entry);
	check->users->nwaiting--;
	discard(check);
}
