#ifndef CULVERT_TESTS_HOSTILE_TARGET_H
#define CULVERT_TESTS_HOSTILE_TARGET_H

/* What the program target does, each at a port of its own; its head says it. */
enum target { ECHO_BACK, ONE, FLOOD, HOLD, DROP, SILENT, TARGETS };
extern const char *const target_names[TARGETS];

#endif
