#ifndef CULVERT_PROXY_CONFIG_FLAGS_H
#define CULVERT_PROXY_CONFIG_FLAGS_H

#include <getopt.h>
#include <stdbool.h>

#include "proxy/config/config_source.h"

/*
 * The command line, which is walked twice: first for the questions and the
 * name of the file, then, when that has been read, for the values.
 */
struct flags {
	const char *file; /* of -f, or NULL; points into argv */
	bool check; /* -n was given */

	/* Private: what getopt_long(3) wants, made from the table. */
	int argc;
	char **argv;
	bool walking;
	char letters[2 * CONFIG_OPTIONS_MAX + 2];
	struct option names[CONFIG_OPTIONS_MAX + 1];
};

/* Keeps argc and argv by reference; getopt_long(3) will reorder argv. */
void flags_init(struct flags *flags, enum config_program program, int argc,
    char **argv);

/*
 * First walk: finds -f and -n, answers -h and -V, and complains about what is
 * no option of the program.
 *
 * Returns true when all has been said and the program should exit.
 */
bool flags_ask(struct flags *flags, struct source *source);

/*
 * Second walk: sets the values, complains about those that are wrong, and
 * wipes secrets out of argv.
 */
void flags_assign(struct flags *flags, struct source *source);

#endif
