#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/unit/child.h"

int
child_run(void (*body)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_SKIPPED) {
		print_message("this kernel lacks it, this build has "
			      "sanitizers, or we are not root\n");
		skip();
	}
	return status;
}

void
in_child(void (*body)(void))
{
	int status = child_run(body);

	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) != 0)
		fail_msg("an expectation failed at line %d modulo %d",
		    WEXITSTATUS(status) - 1, CHILD_LINES);
}
