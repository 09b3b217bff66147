#include "proxy/local/outbound/route_rules.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/local/outbound/route_table.h"

/* Errors that are told; after so many the file is probably no rules file. */
#define ERRORS_MAX 10

/* Characters of a token that an error shows. */
#define SHOWN_MAX 64

/* Bytes of an error, with a path. */
#define ERROR_MAX 512

/* Actions with different names of edges. */
#define ACTIONS_MAX 64

struct action {
	enum route_action action;
	char edge[ROUTE_EDGE_MAX + 1];
};

struct route_rules {
	struct route_table table;
	struct action actions[ACTIONS_MAX];
	size_t nactions;
	char *files[ROUTE_FILES_MAX];
	size_t nfiles;
	struct route_shown *shown; /* the first patterns */
	size_t nshown;
};

/* What is being read. */
struct reader {
	struct route_rules *rules;
	const struct route_reader *from;
	unsigned errors;
	bool no_memory;
	size_t file; /* index */
	unsigned line;
	size_t action; /* index: of this line, or of the line with the list */
};

/* A token of a line; it needs no NUL. */
struct token {
	const char *s;
	size_t len;
};

/* ---- Errors ---- */

__attribute__((format(printf, 2, 3))) static void
complain(struct reader *r, const char *fmt, ...)
{
	char what[ERROR_MAX];
	va_list args;

	if (r->errors++ >= ERRORS_MAX)
		return;
	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	r->from->complain(r->from->arg, r->rules->files[r->file], r->line,
	    what);
}

static int
shown(const struct token *token)
{
	return token->len > SHOWN_MAX ? SHOWN_MAX : (int)token->len;
}

/* ---- Tokens ---- */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* The next token of a line that ends at `end`. False: no more. */
static bool
next_token(const char **at, const char *end, struct token *token)
{
	while (*at < end && is_blank(**at))
		++*at;
	if (*at == end || **at == '#')
		return false;
	token->s = *at;
	while (*at < end && !is_blank(**at))
		++*at;
	token->len = (size_t)(*at - token->s);
	return true;
}

static bool
is_word(const struct token *token, const char *word)
{
	return token->len == strlen(word) &&
	    memcmp(token->s, word, token->len) == 0;
}

/* ---- Patterns ---- */

/* Keeps the first ones for those who write the rules down elsewhere. */
static void
show_pattern(struct reader *r, const struct route_pattern *pattern)
{
	struct route_rules *rules = r->rules;

	if (rules->nshown == ROUTE_SHOWN_MAX)
		return;
	if (rules->shown == NULL)
		rules->shown = calloc(ROUTE_SHOWN_MAX, sizeof(*rules->shown));
	r->no_memory |= rules->shown == NULL;
	if (rules->shown != NULL)
		rules->shown[rules->nshown++] = (struct route_shown){ *pattern,
			rules->actions[r->action].action };
}

static void
add_pattern(struct reader *r, const struct token *token)
{
	struct route_value value = { r->line, (uint16_t)r->file,
		(uint16_t)r->action };
	struct route_pattern pattern;
	const char *wrong = route_pattern_parse(&pattern, token->s, token->len);

	if (wrong == NULL)
		wrong = route_table_add(&r->rules->table, &pattern, &value);
	if (wrong == route_no_memory)
		r->no_memory = true;
	else if (wrong != NULL)
		complain(r, "%.*s: %s", shown(token), token->s, wrong);
	else
		show_pattern(r, &pattern);
}

/* ---- Files ---- */

typedef void read_line(struct reader *, const char *line, const char *end);

static void
read_lines(struct reader *r, const char *text, size_t len, read_line *each)
{
	const char *end = text + len, *eol;

	if (memchr(text, '\0', len) != NULL) {
		complain(r, "this is not a text file");
		return;
	}
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3; /* a mark that editors of Windows write */
	for (r->line = 1; text < end && !r->no_memory && r->errors < ERRORS_MAX;
	     r->line++) {
		eol = memchr(text, '\n', (size_t)(end - text));
		if (eol == NULL)
			eol = end;
		each(r, text, eol);
		text = eol < end ? eol + 1 : end;
	}
	r->line = 0;
}

/* The whole of an open file. NULL: an error was told. */
static char *
read_all(struct reader *r, int fd, size_t *len)
{
	struct stat st;
	char *text;
	ssize_t n = 1;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		complain(r, "this is not a regular file");
		return NULL;
	}
	if (st.st_size > ROUTE_FILE_MAX) {
		complain(r, "the file is longer than 256 MiB");
		return NULL;
	}
	text = malloc((size_t)st.st_size + 1);
	r->no_memory |= text == NULL;
	*len = 0;
	while (text != NULL && n > 0 && *len < (size_t)st.st_size) {
		n = read(fd, text + *len, (size_t)st.st_size - *len);
		*len += n > 0 ? (size_t)n : 0;
	}
	if (n >= 0)
		return text;
	complain(r, "%s", strerror(errno));
	free(text);
	return NULL;
}

static void
read_file(struct reader *r, const char *path, read_line *each)
{
	int fd = r->from->open(path);
	size_t len;
	char *text;

	if (fd < 0) {
		complain(r, "%s", r->from->strerror(-fd));
		return;
	}
	text = read_all(r, fd, &len);
	close(fd);
	if (text == NULL)
		return;
	read_lines(r, text, len, each);
	free(text);
}

/* The index of a file, which is new in most cases. False: an error was told. */
static bool
add_file(struct reader *r, char *path, size_t *index)
{
	struct route_rules *rules = r->rules;

	for (*index = 0; path != NULL && *index < rules->nfiles; ++*index)
		if (strcmp(rules->files[*index], path) == 0) {
			free(path);
			return true;
		}
	if (path != NULL && *index < ROUTE_FILES_MAX) {
		rules->files[rules->nfiles++] = path;
		return true;
	}
	if (path == NULL)
		r->no_memory = true;
	else
		complain(r, "there are more than %d lists",
		    ROUTE_FILES_MAX - 1);
	free(path);
	return false;
}

/* ---- Lists ---- */

/* What hosts files have for this machine itself. */
static bool
is_own_name(const struct token *token)
{
	static const char *const names[] = { "localhost",
		"localhost.localdomain", "local", "broadcasthost", "0.0.0.0",
		"ip6-localhost", "ip6-loopback", "ip6-localnet",
		"ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters",
		"ip6-allhosts" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (is_word(token, names[i]))
			return true;
	return false;
}

static bool
is_address(const struct token *token)
{
	char text[TARGET_HOST_MAX + 1];
	struct sockaddr_storage addr;

	if (token->len > TARGET_HOST_MAX)
		return false;
	memcpy(text, token->s, token->len);
	text[token->len] = '\0';
	text[strcspn(text, "%")] = '\0'; /* fe80::1%lo0 */
	return addr_literal(&addr, text, 0);
}

/* A line of patterns, or of a hosts file: an address, and names. */
static void
read_list_line(struct reader *r, const char *line, const char *end)
{
	struct token first, token;
	bool hosts;

	if (!next_token(&line, end, &first))
		return;
	hosts = is_address(&first);
	if (!next_token(&line, end, &token)) {
		add_pattern(r, &first);
		return;
	}
	if (!hosts)
		add_pattern(r, &first);
	else if (is_address(&token) && !is_own_name(&token)) {
		complain(r,
		    "%.*s: one address in a line is enough; a line of "
		    "a hosts file is an address and names",
		    shown(&token), token.s);
		return;
	}
	do
		if (!hosts || !is_own_name(&token))
			add_pattern(r, &token);
	while (next_token(&line, end, &token));
}

/* A path that is not absolute begins where the rules file is. */
static char *
list_path(const struct reader *r, const struct token *token)
{
	const char *rules = r->rules->files[0], *slash = strrchr(rules, '/');
	int dir = slash == NULL || token->s[0] == '/'
	    ? 0
	    : (int)(slash + 1 - rules);
	char *path;

	return asprintf(&path, "%.*s%.*s", dir, rules, (int)token->len,
		   token->s) < 0
	    ? NULL
	    : path;
}

static void
read_list(struct reader *r, const struct token *token)
{
	size_t file = r->file;
	unsigned line = r->line;

	if (token->len == 0) {
		complain(r, "@ needs the name of a file behind it");
		return;
	}
	if (!add_file(r, list_path(r, token), &r->file)) {
		r->file = file;
		return;
	}
	r->line = 0;
	if (r->file == 0)
		complain(r, "the rules file cannot be a list of itself");
	else
		read_file(r, r->rules->files[r->file], read_list_line);
	r->file = file;
	r->line = line;
}

/* ---- Rules ---- */

/* Sets r->action. False: an error was told. */
static bool
find_action(struct reader *r, enum route_action action, const char *edge,
    size_t len)
{
	struct route_rules *rules = r->rules;
	struct action *a;

	for (size_t i = 0; i < rules->nactions; i++) {
		a = &rules->actions[i];
		r->action = i;
		if (a->action == action && strlen(a->edge) == len &&
		    memcmp(a->edge, edge, len) == 0)
			return true;
	}
	if (rules->nactions == ACTIONS_MAX) {
		complain(r, "there are more than %d edges", ACTIONS_MAX - 3);
		return false;
	}
	r->action = rules->nactions++;
	a = &rules->actions[r->action];
	a->action = action;
	memcpy(a->edge, edge, len);
	return true;
}

static bool
read_action(struct reader *r, const struct token *token)
{
	static const char edge[] = "edge:";
	const char *name = token->s + sizeof(edge) - 1;
	size_t len = token->len - (sizeof(edge) - 1);

	if (is_word(token, "tunnel"))
		return find_action(r, ROUTE_TUNNEL, "", 0);
	if (is_word(token, "direct"))
		return find_action(r, ROUTE_DIRECT, "", 0);
	if (is_word(token, "block"))
		return find_action(r, ROUTE_BLOCK, "", 0);
	if (token->len < sizeof(edge) - 1 ||
	    memcmp(token->s, edge, sizeof(edge) - 1) != 0) {
		complain(r,
		    "%.*s is no action: tunnel, edge:NAME, direct or block",
		    shown(token), token->s);
		return false;
	}
	if (len > 0 && len <= ROUTE_EDGE_MAX)
		return find_action(r, ROUTE_EDGE, name, len);
	complain(r, "the name of an edge has 1 to %d characters",
	    ROUTE_EDGE_MAX);
	return false;
}

static void
read_rule_line(struct reader *r, const char *line, const char *end)
{
	struct token token;
	bool any = false;

	if (!next_token(&line, end, &token) || !read_action(r, &token))
		return;
	for (; next_token(&line, end, &token); any = true) {
		if (token.s[0] != '@') {
			add_pattern(r, &token);
			continue;
		}
		token.s++;
		token.len--;
		read_list(r, &token);
	}
	if (!any)
		complain(r, "the rule has no pattern behind its action");
}

/* ---- The whole ---- */

static int
begin(struct reader *r, const char *path, const struct route_reader *from)
{
	*r = (struct reader){ .from = from };
	r->rules = calloc(1, sizeof(*r->rules));
	if (r->rules == NULL)
		return -ENOMEM;
	if (add_file(r, strdup(path), &r->file))
		return 0;
	route_rules_free(r->rules);
	return -ENOMEM;
}

static int
end(struct reader *r, struct route_rules **out)
{
	int rv = r->no_memory ? -ENOMEM : r->errors > 0 ? -EINVAL : 0;

	if (rv != 0) {
		route_rules_free(r->rules);
		return rv;
	}
	route_table_shrink(&r->rules->table);
	*out = r->rules;
	return 0;
}

int
route_rules_load(struct route_rules **out, const char *path,
    const struct route_reader *from)
{
	struct reader r;
	int rv = begin(&r, path, from);

	if (rv != 0)
		return rv;
	read_file(&r, path, read_rule_line);
	return end(&r, out);
}

int
route_rules_parse(struct route_rules **out, const char *path, const char *text,
    size_t len, const struct route_reader *from)
{
	struct reader r;
	int rv = begin(&r, path, from);

	if (rv != 0)
		return rv;
	read_lines(&r, text, len, read_rule_line);
	return end(&r, out);
}

void
route_rules_free(struct route_rules *rules)
{
	if (rules == NULL)
		return;
	route_table_free(&rules->table);
	for (size_t i = 0; i < rules->nfiles; i++)
		free(rules->files[i]);
	free(rules->shown);
	free(rules);
}

bool
route_rules_find(const struct route_rules *rules, const struct target *target,
    struct route_rule *rule)
{
	const struct route_value *value = route_table_find(&rules->table,
	    target);
	const struct action *a;

	if (value == NULL)
		return false;
	a = &rules->actions[value->action];
	*rule = (struct route_rule){ .action = a->action,
		.edge = a->action == ROUTE_EDGE ? a->edge : NULL,
		.file = rules->files[value->file],
		.line = value->line };
	return true;
}

const char *
route_rules_edge(const struct route_rules *rules, size_t n)
{
	for (size_t i = 0; i < rules->nactions; i++)
		if (rules->actions[i].action == ROUTE_EDGE && n-- == 0)
			return rules->actions[i].edge;
	return NULL;
}

const char *
route_rules_file(const struct route_rules *rules, size_t n)
{
	return n < rules->nfiles ? rules->files[n] : NULL;
}

const struct route_shown *
route_rules_shown(const struct route_rules *rules, size_t *n)
{
	*n = rules->nshown;
	return rules->shown;
}

size_t
route_rules_count(const struct route_rules *rules)
{
	return rules->table.npatterns;
}

size_t
route_rules_size(const struct route_rules *rules)
{
	return sizeof(*rules) + route_table_size(&rules->table);
}
