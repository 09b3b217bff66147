#ifndef CULVERT_PROXY_CONFIG_FLAGS_H
#define CULVERT_PROXY_CONFIG_FLAGS_H

#include <getopt.h>
#include <stdbool.h>

#include "proxy/config/config_source.h"

/*
 * The command line, which is read in two passes: first for -h, -V, -n and -f,
 * then, after the file has been read, for the values.
 */
struct flags {
	const char *file; /* of -f, or NULL; points into argv */
	bool check;	  /* -n was given */

	/* Private: arguments of getopt_long(3), made from the table. */
	int argc;
	char **argv;
	bool started;
	char letters[2 * CONFIG_OPTIONS_MAX + 2];
	struct option names[CONFIG_OPTIONS_MAX + 1];
};

/* Keeps argv by reference; getopt_long(3) will reorder it. */
void flags_init(struct flags *flags, enum config_program program, int argc,
    char **argv);

/*
 * First pass: finds -f and -n, handles -h and -V, and prints errors about
 * arguments that are not options of the program.
 *
 * Returns true after -h or -V: the program should exit.
 */
bool flags_first_pass(struct flags *flags, struct source *source);

/*
 * Second pass: sets the values, prints errors about invalid ones, and wipes
 * secrets from argv.
 */
void flags_second_pass(struct flags *flags, struct source *source);

#endif
