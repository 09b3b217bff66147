#ifndef CULVERT_PROXY_CONFIG_CONFIG_SOURCE_H
#define CULVERT_PROXY_CONFIG_CONFIG_SOURCE_H

#include <stddef.h>

#include "proxy/config/config.h"
#include "proxy/config/option.h"

/* Characters of an unknown name that an error shows: no option has as many. */
#define SOURCE_NAME_MAX 32

/*
 * A source of configuration values: a file or the command line.  The caller
 * fills the first four fields.
 */
struct source {
	struct config *config;
	enum config_origin origin;
	const char *name; /* of the file or the program, for error messages */
	unsigned line;	  /* within the file; 0: none in particular */
	unsigned errors;  /* printed so far */
	const char *next, *end; /* private: text that is not read yet */
};

/*
 * Prints "name:line: " or "name: ", the message and a newline to the
 * configuration's err stream, and counts an error.
 */
void source_complain(struct source *source, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Sets an option, whose index in the table is i, from text, or from NULL for
 * a bare flag.  Prints an error if the text is not valid.
 */
void source_assign(struct source *source, const struct config_option *option,
    size_t i, const char *text);

/* The same, with the option given as section and key. */
void source_assign_key(struct source *source, const char *section,
    const char *key, const char *text);

/* Reads len bytes of INI text, which need no NUL.  Prints errors. */
void source_read_text(struct source *source, const char *text, size_t len);

/* Reads the INI file whose path is source->name.  Prints errors. */
void source_read_file(struct source *source);

/* Sets the user from the first line of the file source->name. */
void source_read_user(struct source *source);

#endif
