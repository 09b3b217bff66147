#ifndef CULVERT_TESTS_UNIT_CHILD_H
#define CULVERT_TESTS_UNIT_CHILD_H

#include <unistd.h>

/*
 * Tests of what cannot be undone in a process run in a child. Its exit status
 * is the line at which an expectation failed.
 */

#define CHILD_LINES 250	  /* exit statuses that lines share */
#define CHILD_SKIPPED 255 /* this kernel, build or user cannot do it */

#define EXPECT(condition) \
	do { \
		if (!(condition)) \
			_exit(1 + __LINE__ % CHILD_LINES); \
	} while (0)

/*
 * Runs the body in a child and returns how that ended, as waitpid(2) says. The
 * test is skipped if the child has left with CHILD_SKIPPED.
 */
int child_run(void (*body)(void));

/* The same for a body that must return. */
void in_child(void (*body)(void));

#endif
