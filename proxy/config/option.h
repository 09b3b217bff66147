#ifndef CULVERT_PROXY_CONFIG_OPTION_H
#define CULVERT_PROXY_CONFIG_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "proxy/config/config.h"
#include "proxy/config/value.h"

/*
 * The table of options.  One row defines the flag, the key in the file and the
 * line of the usage text; tests compare the manual pages with it.
 */
struct config_option {
	char letter;	     /* short flag, or 0 */
	const char *name;    /* long flag and key */
	const char *section; /* of the file; NULL: a flag without a key */
	const struct value_type *type; /* NULL if section is NULL */
	size_t offset;		       /* of the field in struct config */
	const char *metavar;	       /* NULL: the flag takes no value */
	const char *fallback;	       /* the default as text, or NULL */
	const char *help;	       /* without a full stop */
};

/*
 * Returns row i of a program: its own rows, those of both programs, then
 * those without a key; or NULL past the end.
 */
const struct config_option *option_at(enum config_program program, size_t i);

/* Returns the row of that name, with its index unless i is NULL; or NULL. */
const struct config_option *
option_find(enum config_program program, const char *name, size_t *i);

/*
 * Returns the field of a row that has a type. As with strchr(3), the caller
 * must not write to it if `config` is const.
 */
void *
option_field(const struct config_option *option, const struct config *config);

/* Whether a running program cannot change the option: a restart is needed. */
bool option_is_fixed(const struct config_option *option);

/* Returns the name of a program, with which its messages begin. */
const char *option_program_name(enum config_program program);

/*
 * Writes the usage: the options in the order of an mdoc(7) SYNOPSIS, wrapped
 * and indented, an empty line, and a line for each option.
 */
void option_usage(enum config_program program, FILE *stream);

#endif
