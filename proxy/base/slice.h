#ifndef CULVERT_PROXY_BASE_SLICE_H
#define CULVERT_PROXY_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A range of bytes in another object's buffer, without a NUL.  It is valid as
 * long as that buffer is neither changed nor moved.  The case of letters is
 * that of ASCII, whatever the locale.
 */
struct slice {
	const char *p; /* NULL only where a comment says so, with len 0 */
	size_t len;    /* bytes */
};

/* The slice of a string literal: SLICE("close"). */
#define SLICE(literal) ((struct slice){ literal, sizeof(literal) - 1 })

/* Whether s is exactly text, case included. */
bool slice_is(struct slice s, const char *text);

/* Whether s is text, ignoring case. */
bool slice_is_nocase(struct slice s, const char *text);

/* Whether the two are equal, ignoring case. */
bool slice_equal_nocase(struct slice a, struct slice b);

/* Whether s begins with text, ignoring case. */
bool slice_begins_nocase(struct slice s, const char *text);

/* Whether s is a token (RFC 9110, section 5.6.2): at least one tchar. */
bool slice_is_token(struct slice s);

/*
 * Reads s as a decimal number of 1 to max_digits digits and nothing else;
 * max_digits is at most 18, which keeps *value below 2^63.  Returns false, with
 * *value undefined, if s is anything else.
 */
bool slice_number(struct slice s, size_t max_digits, uint64_t *value);

/* s without the spaces and tabs (OWS) around it. */
struct slice slice_trim(struct slice s);

/*
 * Removes everything up to and including the first c from the front of *rest,
 * and returns it without c.  If there is no c, that is all of *rest, and
 * rest->p becomes NULL.  So this visits all members of a list:
 *
 *	do {
 *		member = slice_trim(slice_cut(&list, ','));
 *	} while (list.p != NULL);
 */
struct slice slice_cut(struct slice *rest, char c);

#endif
