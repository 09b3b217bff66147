#include <crypt.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "proxy/base/login_failures.h"
#include "proxy/base/fair_queue.h"
#include "proxy/base/user_table.h"
#include "proxy/base/users.h"

/*
 * Checks of the same name and password from one source share a job:
 *
 *	waiting ──▶ hashing ──▶ answered, freed
 *	   └─▶ refused ──────────▲	it waited too long, or made room
 *
 * If the same credentials were right before, a check is answered at once. If
 * all checks of a job are cancelled, a waiting job is freed at once, and a
 * hashing one, which the thread pool uses, by on_hashed().
 *
 * Right credentials are cached as an HMAC of name and password, under a key
 * that is freed with the object, so that the memory contains no password. So a
 * browser that opens a hundred connections at once costs one crypt(3), and a
 * flood of guesses does not delay users whose credentials are cached.
 *
 * Waiting jobs are served in round robin by source, and within a source by
 * name: a flood delays only its own source, or if all clients have one address,
 * only the names that it uses.
 */

/* Threads of libuv's four that may hash at once; the rest stay free. */
#define HASHING_MAX 2

/*
 * Milliseconds that a check may wait: less than the 10 s for which clients wait
 * for a tunnel, so that they still receive the reason; and the interval in
 * which expired checks are looked for.
 */
#define WAITING_MS 8000
#define EXPIRY_MS 500

/* Jobs that were refused and that the loop has yet to answer. */
#define REFUSED_MAX FAIR_MAX

TAILQ_HEAD(checks, users_check);
TAILQ_HEAD(jobs, job);

struct users {
	unsigned refs; /* the owner, each job, and each timer */
	struct user_table *table;
	uint8_t key[USER_DIGEST_SIZE];
	unsigned nhashing;
	struct fair_queue waiting;
	struct jobs refused;
	size_t nrefused;
	uv_timer_t expiry; /* runs while jobs wait */
	bool has_expiry;
	struct login_failures failures;
};

struct job {
	struct fair_item item; /* first: cast back to the job */
	uv_work_t work;
	uv_loop_t *loop;
	struct users *users;
	struct user_table *table; /* while it hashes */
	const char *setting;	  /* the hash to compare with; in the table */
	bool exists;		  /* there is a user of that name */
	struct credentials credentials;
	uint8_t digest[USER_DIGEST_SIZE];
	char source[ADDR_SOURCE_STRLEN];
	uint64_t since_ms;
	enum users_verdict verdict; /* written by the thread, read after it */
	struct checks checks;
	TAILQ_ENTRY(job) entry; /* in users->refused */
};

struct users_check {
	struct job *job;
	void (*on_checked)(void *arg, enum users_verdict);
	void *arg;
	TAILQ_ENTRY(users_check) entry;
};

/* ---- Life cycle ---- */

int
users_load(struct users **users, const char *path, char *err, size_t errlen)
{
	struct users *u = calloc(1, sizeof(*u));
	const char *wrong = strerror(ENOMEM);
	unsigned number = 0;

	if (u != NULL) {
		u->refs = 1;
		fair_queue_init(&u->waiting);
		TAILQ_INIT(&u->refused);
		wrong = user_table_load(&u->table, path, &number);
	}
	if (wrong == NULL &&
	    gnutls_rnd(GNUTLS_RND_KEY, u->key, sizeof(u->key)) != 0)
		wrong = "no random numbers are available";
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

static void
release(struct users *users)
{
	if (--users->refs > 0)
		return;
	user_table_release(users->table);
	explicit_bzero(users, sizeof(*users));
	free(users);
}

static void
on_timer_closed(uv_handle_t *timer)
{
	struct login_failures *failures = timer->data;

	release((struct users *)((char *)failures -
	    offsetof(struct users, failures)));
}

static void
on_expiry_closed(uv_handle_t *timer)
{
	release(timer->data);
}

void
users_free(struct users *users)
{
	if (users == NULL)
		return;
	if (login_failures_close(&users->failures, on_timer_closed))
		users->refs++;
	if (users->has_expiry) {
		users->refs++;
		users->has_expiry = false;
		uv_close((uv_handle_t *)&users->expiry, on_expiry_closed);
	}
	release(users);
}

/* Copies the cached results of users whose line has not changed. */
static void
keep_cached(struct user_table *table, const struct user_table *old)
{
	for (size_t i = 0; i < table->n; i++) {
		struct user *user = &table->list[i];
		const struct user *before = user_table_find(old, user->name);

		if (before == NULL || !before->cached ||
		    strcmp(before->hash, user->hash) != 0)
			continue;
		memcpy(user->digest, before->digest, USER_DIGEST_SIZE);
		user->cached = true;
	}
}

void
users_replace(struct users **users, struct users *fresh)
{
	struct user_table *old;

	if (*users == NULL || fresh == NULL) {
		users_free(*users);
		*users = fresh;
		return;
	}
	old = (*users)->table;
	keep_cached(fresh->table, old);
	(*users)->table = fresh->table;
	fresh->table = old;
	users_free(fresh);
}

/* ---- Jobs ---- */

/* The NUL between the two distinguishes "ab" "c" from "a" "bc". */
static int
digest(const struct users *users, const char *name, const char *password,
    uint8_t *out)
{
	char pair[sizeof(struct credentials)];
	size_t userlen = strlen(name) + 1;
	size_t passwordlen = strlen(password);
	int rv;

	memcpy(pair, name, userlen);
	memcpy(pair + userlen, password, passwordlen);
	rv = gnutls_hmac_fast(GNUTLS_MAC_SHA256, users->key, sizeof(users->key),
	    pair, userlen + passwordlen, out);
	explicit_bzero(pair, sizeof(pair));
	return rv == 0 ? 0 : -ENOMEM;
}

static bool
is_cached(const struct user *user, const uint8_t *out)
{
	return user != NULL && user->cached &&
	    gnutls_memcmp(user->digest, out, USER_DIGEST_SIZE) == 0;
}

static void
job_free(struct job *job)
{
	struct users *users = job->users;

	user_table_release(job->table);
	explicit_bzero(job, sizeof(*job));
	free(job);
	release(users);
}

/* A callback may cancel other checks of the same job. */
static void
answer(struct job *job, enum users_verdict verdict)
{
	struct users_check *check;

	while ((check = TAILQ_FIRST(&job->checks)) != NULL) {
		void (*on_checked)(void *,
		    enum users_verdict) = check->on_checked;
		void *arg = check->arg;

		TAILQ_REMOVE(&job->checks, check, entry);
		free(check);
		if (verdict != USERS_RIGHT)
			login_failures_note(&job->users->failures, job->loop,
			    job->source, verdict == USERS_OVERLOAD);
		on_checked(arg, verdict);
	}
	job_free(job);
}

/* Runs in the thread pool; reads only members that never change. */
static void
hash(uv_work_t *work)
{
	struct job *job = work->data;
	struct crypt_data *data = calloc(1, sizeof(*data));
	size_t len = strlen(job->setting);
	const char *found;

	job->verdict = USERS_OVERLOAD;
	if (data == NULL)
		return;
	found = crypt_r(job->credentials.password, job->setting, data);
	job->verdict = found != NULL && strlen(found) == len &&
		gnutls_memcmp(found, job->setting, len) == 0 && job->exists
	    ? USERS_RIGHT
	    : USERS_WRONG;
	explicit_bzero(data, sizeof(*data));
	free(data);
}

/*
 * The hash for a name that does not exist: that of a user, always the same one
 * for that name. So response times do not reveal which names exist, even if
 * some hashes are slower than others.
 */
static const char *
decoy_hash(const struct job *job)
{
	const struct user_table *table = job->users->table;
	uint8_t out[USER_DIGEST_SIZE] = { 0 };
	uint32_t number;

	(void)digest(job->users, job->credentials.user, "", out);
	memcpy(&number, out, sizeof(number));
	return table->list[number % table->n].hash;
}

static void on_hashed(uv_work_t *work, int status);

static void
start_hashing(struct job *job)
{
	const struct user *user = user_table_find(job->users->table,
	    job->credentials.user);

	user_table_release(job->table);
	job->table = job->users->table;
	job->table->refs++;
	job->exists = user != NULL;
	job->setting = user != NULL ? user->hash : decoy_hash(job);
	job->users->nhashing++;
	job->work.data = job;
	uv_queue_work(job->loop, &job->work, hash, on_hashed);
}

/* Answers jobs that waited too long, and those that made room for others. */
static void
answer_refused(struct users *users, uv_loop_t *loop)
{
	struct fair_item *item;
	struct job *job;

	while ((item = fair_queue_oldest(&users->waiting)) != NULL &&
	    uv_now(loop) - ((struct job *)item)->since_ms > WAITING_MS) {
		fair_queue_remove(&users->waiting, item);
		answer((struct job *)item, USERS_OVERLOAD);
	}
	while ((job = TAILQ_FIRST(&users->refused)) != NULL) {
		TAILQ_REMOVE(&users->refused, job, entry);
		users->nrefused--;
		answer(job, USERS_OVERLOAD);
	}
}

static void
start_waiting(struct users *users)
{
	struct fair_item *item;

	while (users->nhashing < HASHING_MAX &&
	    (item = fair_queue_take(&users->waiting)) != NULL) {
		struct job *job = (struct job *)item;

		if (is_cached(user_table_find(users->table,
				  job->credentials.user),
			job->digest))
			answer(job, USERS_RIGHT);
		else
			start_hashing(job);
	}
}

/*
 * A reload may have changed the hash that the job was compared with. Returns
 * whether the verdict is valid for the current file.
 */
static bool
verdict_holds(struct job *job, const struct user *user)
{
	if (job->table == job->users->table)
		return true;
	if (user == NULL) {
		job->verdict = USERS_WRONG;
		return true;
	}
	return job->exists && strcmp(user->hash, job->setting) == 0;
}

static void
on_hashed(uv_work_t *work, int status)
{
	struct job *job = work->data;
	struct users *users = job->users;
	struct user *user = user_table_find(users->table,
	    job->credentials.user);

	(void)status;
	users->nhashing--;
	if (!TAILQ_EMPTY(&job->checks) && !verdict_holds(job, user)) {
		start_hashing(job);
		return;
	}
	if (job->verdict == USERS_RIGHT && verdict_holds(job, user)) {
		memcpy(user->digest, job->digest, USER_DIGEST_SIZE);
		user->cached = true;
	}
	/* The reference of this job keeps the users. */
	start_waiting(users);
	answer_refused(users, job->loop);
	answer(job, job->verdict);
}

/* ---- Checks ---- */

static bool
has_digest(const struct fair_item *item, const void *out)
{
	return gnutls_memcmp(((const struct job *)item)->digest, out,
		   USER_DIGEST_SIZE) == 0;
}

static struct job *
job_new(struct users *users, uv_loop_t *loop, const char *source,
    const struct credentials *credentials, const uint8_t *out)
{
	struct job *job = calloc(1, sizeof(*job));

	if (job == NULL)
		return NULL;
	TAILQ_INIT(&job->checks);
	job->loop = loop;
	job->users = users;
	users->refs++;
	job->credentials = *credentials;
	job->since_ms = uv_now(loop);
	memcpy(job->digest, out, USER_DIGEST_SIZE);
	snprintf(job->source, sizeof(job->source), "%s", source);
	return job;
}

static void
on_expiry(uv_timer_t *timer)
{
	struct users *users = timer->data;

	users->refs++; /* a callback may free the owner */
	answer_refused(users, timer->loop);
	if (users->waiting.n == 0 && users->has_expiry)
		uv_timer_stop(timer);
	release(users);
}

static void
arm_expiry(struct users *users, uv_loop_t *loop)
{
	if (!users->has_expiry) {
		uv_timer_init(loop, &users->expiry);
		uv_unref((uv_handle_t *)&users->expiry);
		users->expiry.data = users;
		users->has_expiry = true;
	}
	if (!uv_is_active((uv_handle_t *)&users->expiry))
		uv_timer_start(&users->expiry, on_expiry, EXPIRY_MS, EXPIRY_MS);
}

/* Hashes at once, or queues the job. */
static int
start(struct users *users, struct job *job)
{
	struct fair_item *out;
	struct job *other;
	int rv;

	if (users->nhashing < HASHING_MAX) {
		start_hashing(job);
		return 0;
	}
	if (users->nrefused == REFUSED_MAX)
		return -EAGAIN;
	rv = fair_queue_put(&users->waiting, &job->item, job->source,
	    job->credentials.user, &out);
	if (rv == 0 && out != NULL) {
		/* The timer answers it. */
		other = (struct job *)out;
		TAILQ_INSERT_TAIL(&users->refused, other, entry);
		users->nrefused++;
	}
	if (rv == 0)
		arm_expiry(users, job->loop);
	return rv;
}

/* Finds a waiting job with these credentials, or makes a new one. */
static int
job_for(struct job **job, struct users *users, uv_loop_t *loop,
    const char *source, const struct credentials *credentials,
    const uint8_t *out)
{
	struct job *j;
	int rv;

	j = (struct job *)fair_queue_find(&users->waiting, source,
	    credentials->user, has_digest, out);
	if (j == NULL) {
		j = job_new(users, loop, source, credentials, out);
		if (j == NULL)
			return -ENOMEM;
		if ((rv = start(users, j)) != 0) {
			job_free(j);
			return rv;
		}
	}
	*job = j;
	return 0;
}

int
users_check(struct users *users, uv_loop_t *loop, const struct sockaddr *from,
    const struct credentials *credentials, struct users_check **check,
    void (*on_checked)(void *arg, enum users_verdict), void *arg)
{
	char source[ADDR_SOURCE_STRLEN];
	uint8_t out[USER_DIGEST_SIZE];
	struct users_check *c;
	int rv;

	if (digest(users, credentials->user, credentials->password, out) < 0)
		return -ENOMEM;
	if (is_cached(user_table_find(users->table, credentials->user), out))
		return 1;
	if ((c = calloc(1, sizeof(*c))) == NULL)
		return -ENOMEM;
	addr_source(from, source);
	rv = job_for(&c->job, users, loop, source, credentials, out);
	if (rv != 0) {
		free(c);
		login_failures_note(&users->failures, loop, source, true);
		return rv;
	}
	c->on_checked = on_checked;
	c->arg = arg;
	TAILQ_INSERT_TAIL(&c->job->checks, c, entry);
	*check = c;
	return 0;
}

void
users_check_cancel(struct users_check *check)
{
	struct job *job;

	if (check == NULL)
		return;
	job = check->job;
	TAILQ_REMOVE(&job->checks, check, entry);
	free(check);
	/* A job that hashes or is being answered is freed afterwards. */
	if (job->item.name == NULL || !TAILQ_EMPTY(&job->checks))
		return;
	fair_queue_remove(&job->users->waiting, &job->item);
	job_free(job);
}
