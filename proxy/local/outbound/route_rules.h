#ifndef CULVERT_PROXY_LOCAL_OUTBOUND_ROUTE_RULES_H
#define CULVERT_PROXY_LOCAL_OUTBOUND_ROUTE_RULES_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/local/outbound/route_pattern.h"

/*
 * The rules of a user for which target goes where: the contents of a rules
 * file, and of the lists that it names. The first rule that covers a target
 * decides.
 *
 *	direct   *.corp.example 10.0.0.0/8
 *	block    @ads.txt		# a list of names, or a hosts file
 *	edge:eu  *.example.org:443
 *	tunnel   *
 *
 * route_pattern.h has the patterns.
 */

/* Octets of a rules file or a list: some millions of names. */
#define ROUTE_FILE_MAX (256 * 1024 * 1024)

/* Files that the rules may be in, the rules file itself included. */
#define ROUTE_FILES_MAX 16

/* Characters of an edge's name. */
#define ROUTE_EDGE_MAX 63

enum route_action {
	ROUTE_TUNNEL, /* through the edges of the listener */
	ROUTE_EDGE,   /* through the edge that has the name */
	ROUTE_DIRECT, /* from this machine */
	ROUTE_BLOCK   /* refused */
};

/* What a rule says, and where it is written. Valid as long as the rules are. */
struct route_rule {
	enum route_action action;
	const char *edge; /* ROUTE_EDGE: its name */
	const char *file; /* as the user has given it */
	unsigned line;
};

struct route_rules;

/* Where rules come from, and where errors go. */
struct route_reader {
	/* Opens a file for reading: a descriptor, or a negative errno. */
	int (*open)(const char *path);

	/* Explains such an errno, which is passed as a positive one. */
	const char *(*strerror)(int error);

	/*
	 * An error: the file, the line (0: none in particular) and a sentence
	 * without its full stop, which are valid during the call.
	 */
	void (*complain)(void *arg, const char *file, unsigned line,
	    const char *what);
	void *arg;
};

/*
 * Reads the rules file at `path`. Returns 0, or -EINVAL after complaints, or
 * -ENOMEM.
 */
int route_rules_load(struct route_rules **, const char *path,
    const struct route_reader *);

/*
 * The same from `len` octets of text, which need no NUL, in place of the file.
 */
int route_rules_parse(struct route_rules **, const char *path, const char *text,
    size_t len, const struct route_reader *);

void route_rules_free(struct route_rules *);

/* The rule for a target. False: no rule covers it. */
bool route_rules_find(const struct route_rules *, const struct target *,
    struct route_rule *);

/* The name of the n-th edge that a rule names; NULL: there are no more. */
const char *route_rules_edge(const struct route_rules *, size_t n);

/* The path of the n-th file: the rules file, then lists. NULL: no more. */
const char *route_rules_file(const struct route_rules *, size_t n);

/* A pattern, and what its rule does. */
struct route_shown {
	struct route_pattern pattern;
	enum route_action action;
};

/*
 * The first patterns, in their order: `n` of them, and all if that is less than
 * ROUTE_SHOWN_MAX.
 */
#define ROUTE_SHOWN_MAX 256
const struct route_shown *
route_rules_shown(const struct route_rules *, size_t *n);

/* How many patterns there are, and the octets that all of it has allocated. */
size_t route_rules_count(const struct route_rules *);
size_t route_rules_size(const struct route_rules *);

#endif
