#ifndef CULVERT_PROXY_BASE_USER_TABLE_H
#define CULVERT_PROXY_BASE_USER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The contents of a user file: lines of name:hash. Private to users.c.
 */

#define USER_DIGEST_SIZE 32 /* octets of a SHA-256 */

struct user {
	const char *name; /* points into the text of the file */
	const char *hash;
	unsigned line;
	bool cached;
	uint8_t digest[USER_DIGEST_SIZE];
};

/* Threads read only members that never change. */
struct user_table {
	unsigned refs;	   /* the users and each job that hashes */
	char *text;	   /* the file */
	size_t textlen;	   /* its octets, without the NUL */
	struct user *list; /* sorted by name */
	size_t n;
};

/*
 * Reads and checks a file. Returns NULL, and a table with one reference; or an
 * error text, and the number of the line, or 0 if it is about no line.
 */
const char *
user_table_load(struct user_table **, const char *path, unsigned *number);

/* Gives a reference up. NULL is a no-op. */
void user_table_release(struct user_table *);

/* The user of that name, or NULL. */
struct user *user_table_find(const struct user_table *, const char *name);

#endif
