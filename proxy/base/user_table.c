#include "proxy/base/user_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/hash_scheme.h"
#include "proxy/base/privsep.h"
#include "proxy/base/users.h"

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct user *)a)->name,
	    ((const struct user *)b)->name);
}

struct user *
user_table_find(const struct user_table *table, const char *name)
{
	struct user key = { .name = name };

	return bsearch(&key, table->list, table->n, sizeof(key), by_name);
}

void
user_table_release(struct user_table *table)
{
	if (table == NULL || --table->refs > 0)
		return;
	if (table->text != NULL)
		explicit_bzero(table->text, table->textlen);
	if (table->list != NULL)
		explicit_bzero(table->list, table->n * sizeof(*table->list));
	free(table->text);
	free(table->list);
	free(table);
}

/* Fills table->text, NUL-terminated. Returns NULL or an error text. */
static const char *
read_file(struct user_table *table, const char *path)
{
	int fd = privsep_open(path);
	ssize_t n = 1;

	if (fd < 0)
		return privsep_strerror(-fd);
	while (n > 0 && table->textlen <= USERS_FILE_MAX) {
		n = read(fd, table->text + table->textlen,
		    USERS_FILE_MAX + 1 - table->textlen);
		if (n > 0)
			table->textlen += (size_t)n;
	}
	close(fd);
	if (n < 0)
		return strerror(errno);
	if (table->textlen > USERS_FILE_MAX)
		return "the file is longer than 1 MiB";
	table->text[table->textlen] = '\0';
	return NULL;
}

/* Parses one line in place. Returns NULL or an error text. */
static const char *
parse_line(struct user_table *table, char *line, unsigned number)
{
	struct user *user = &table->list[table->n];
	char *hash = strchr(line, ':');
	size_t end = strlen(line);
	const char *wrong;

	while (end > 0 && strchr(" \t\r", line[end - 1]) != NULL)
		line[--end] = '\0';
	if (end == 0 || line[0] == '#')
		return NULL;
	if (hash == NULL || hash == line)
		return "the line is not name:hash";
	*hash++ = '\0';
	if (hash - line > CREDENTIAL_MAX + 1)
		return "the name is longer than 255 bytes";
	if ((wrong = hash_scheme_check(hash)) != NULL)
		return wrong;
	*user = (struct user){ .name = line, .hash = hash, .line = number };
	table->n++;
	return NULL;
}

static const char *
parse(struct user_table *table, unsigned *number)
{
	char *line = table->text, *rest = table->text;
	const char *wrong;
	size_t lines = 1;

	if (memchr(table->text, '\0', table->textlen) != NULL)
		return "the file is not a text file";
	for (size_t i = 0; i < table->textlen; i++)
		lines += table->text[i] == '\n';
	table->list = calloc(lines, sizeof(*table->list));
	if (table->list == NULL)
		return strerror(ENOMEM);
	for (*number = 1; (line = strsep(&rest, "\n")) != NULL; ++*number) {
		wrong = parse_line(table, line, *number);
		if (wrong != NULL)
			return wrong;
	}
	*number = 0;
	return table->n > 0 ? NULL : "the file contains no users";
}

static const char *
sort(struct user_table *table, unsigned *number)
{
	qsort(table->list, table->n, sizeof(*table->list), by_name);
	for (size_t i = 1; i < table->n; i++) {
		const struct user *a = &table->list[i - 1];
		const struct user *b = &table->list[i];

		if (by_name(a, b) != 0)
			continue;
		*number = a->line > b->line ? a->line : b->line;
		return "the name already has a line above";
	}
	return NULL;
}

static const char *
load(struct user_table *table, const char *path, unsigned *number)
{
	const char *wrong;

	table->text = malloc(USERS_FILE_MAX + 1);
	if (table->text == NULL)
		return strerror(ENOMEM);
	wrong = read_file(table, path);
	if (wrong == NULL)
		wrong = parse(table, number);
	if (wrong == NULL)
		wrong = sort(table, number);
	return wrong;
}

const char *
user_table_load(struct user_table **out, const char *path, unsigned *number)
{
	struct user_table *table = calloc(1, sizeof(*table));
	const char *wrong;

	*number = 0;
	if (table == NULL)
		return strerror(ENOMEM);
	table->refs = 1;
	wrong = load(table, path, number);
	if (wrong == NULL)
		*out = table;
	else
		user_table_release(table);
	return wrong;
}
