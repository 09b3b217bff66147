/*
 * Rules files. For each word of what is accepted, the rule that is found is the
 * one that is found when the lines are read one by one, each as a file.
 */
#include <stdint.h>
#include <string.h>

#include "proxy/local/outbound/route_rules.h"
#include "tests/fuzz/fuzz.h"

#define LINES_MAX 32

static struct route_rules *lines[LINES_MAX];
static size_t nlines;

static void
ignore(void *arg, const char *file, unsigned line, const char *what)
{
	(void)arg, (void)file, (void)line;
	must(what[0] != '\0');
}

static const struct route_reader reader = { .complain = ignore };

static void
parse(struct route_rules **rules, const char *text, size_t len)
{
	must(route_rules_parse(rules, "rules", text, len, &reader) == 0);
}

/* The line that decides; 0: none. */
static unsigned
first_line(const struct target *target, struct route_rule *rule)
{
	for (unsigned i = 0; i < nlines; i++)
		if (route_rules_find(lines[i], target, rule))
			return i + 1;
	return 0;
}

/* A word of the text as a target, without what precedes a name. */
static void
look_up(const struct route_rules *rules, const char *s, size_t len)
{
	struct route_rule rule, alone;
	struct target target;
	unsigned line;

	for (; len > 0 && (s[0] == '*' || s[0] == '.'); s++, len--)
		;
	if (target_parse(&target, s, len, 443) != 0)
		return;
	line = first_line(&target, &alone);
	must(route_rules_find(rules, &target, &rule) == (line > 0));
	if (line == 0)
		return;
	must(rule.line == line && rule.action == alone.action);
	must((rule.action == ROUTE_EDGE) == (rule.edge != NULL));
	must(rule.edge == NULL || strcmp(rule.edge, alone.edge) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct route_rules *rules;
	size_t len;

	/* A list would read the disk. */
	if (memchr(data, '@', size) != NULL ||
	    route_rules_parse(&rules, "rules", text, size, &reader) != 0)
		return 0;
	nlines = 0;
	for (size_t at = 0; at < size && nlines < LINES_MAX; at += len + 1) {
		const char *eol = memchr(text + at, '\n', size - at);

		len = eol == NULL ? size - at : (size_t)(eol - text) - at;
		parse(&lines[nlines++], text + at, len);
		if (nlines == LINES_MAX)
			size = 0; /* the rest is not compared */
	}
	for (size_t at = 0; at < size; at += len + 1) {
		for (len = 0; at + len < size &&
		     memchr(" \t\n\r", text[at + len], 4) == NULL;
		     len++)
			;
		look_up(rules, text + at, len);
	}
	while (nlines > 0)
		route_rules_free(lines[--nlines]);
	route_rules_free(rules);
	return 0;
}
