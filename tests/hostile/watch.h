#ifndef CULVERT_TESTS_HOSTILE_WATCH_H
#define CULVERT_TESTS_HOSTILE_WATCH_H

#include <stdint.h>

/*
 * The file that watch.c maps: one record for each process that polls. All are
 * of this machine's byte order, and a reader may set the maxima to zero.
 */
#define WATCH_RECORDS 8
struct watch_record {
	uint64_t pid;
	uint64_t iterations;
	uint64_t began; /* ns of CLOCK_MONOTONIC: this one has; 0: it sleeps */
	uint64_t wall_max; /* ns: the longest iteration ... */
	uint64_t cpu_max;  /* ... and the one that took the most CPU time */
};

#endif
