#ifndef CULVERT_PROXY_CONFIG_OPTION_H
#define CULVERT_PROXY_CONFIG_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "proxy/config/config.h"
#include "proxy/config/value.h"

/*
 * The table of options.  One row serves the flag, the key in the file, the
 * usage text and the tests.
 */
struct config_option {
	char letter; /* short flag, or 0 */
	const char *name; /* long flag and key */
	const char *section; /* of the file; NULL: a flag alone, no key */
	const struct value_type *type; /* NULL where section is */
	size_t offset; /* of the field in struct config */
	const char *metavar; /* NULL: the flag takes no value */
	const char *fallback; /* the default as text, or NULL */
	const char *help; /* without a full stop */
};

/*
 * Returns row i of a program: its own rows, those of both programs, then
 * those of the command line alone; or NULL past the end.
 */
const struct config_option *option_at(enum config_program program, size_t i);

/* Returns the row of that name, with its index unless i is NULL; or NULL. */
const struct config_option *option_find(enum config_program program,
    const char *name, size_t *i);

/*
 * The field of a row that has a type. What was const stays so by the caller's
 * care, as with strchr(3).
 */
void *option_field(const struct config_option *option,
    const struct config *config);

/* Whether a program that runs cannot change it: it takes a restart. */
bool option_is_fixed(const struct config_option *option);

/* What a program is called, also in front of what it complains about. */
const char *option_program_name(enum config_program program);

/*
 * Writes how a program is called: the usage in the order of an mdoc(7)
 * SYNOPSIS, wrapped and indented, an empty line, and a line for each option.
 */
void option_usage(enum config_program program, FILE *stream);

#endif
