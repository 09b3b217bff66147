#include "tests/hostile/target.h"

const char *const target_names[TARGETS] = {
	[ECHO_BACK] = "echo",
	[ONE] = "one",
	[FLOOD] = "flood",
	[HOLD] = "hold",
	[DROP] = "drop",
	[SILENT] = "silent",
};
