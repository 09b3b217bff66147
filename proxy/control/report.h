#ifndef CULVERT_PROXY_CONTROL_REPORT_H
#define CULVERT_PROXY_CONTROL_REPORT_H

#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

/*
 * What culvertctl tells people: the objects of the control socket as text.
 * Members that are missing, null or of another type are left out or read as
 * zero.  Text is printed so that it stays within its line and is harmless to a
 * terminal: bytes that are not printable ASCII become "\xNN", a backslash
 * "\\".  Errors are left in the stream, for ferror(3).
 */

/* The object of /status, a line for each subject, in aligned columns. */
void report_status(const json_t *status, FILE *stream);

/*
 * The object of /status as culvertctl watch shows it: what changes, and the
 * tunnels that move the most. The rates and the loss are those since `earlier`,
 * such an object `seconds` before; it is NULL for the first, which has none,
 * and left aside if it came from another process.
 */
void report_watch(const json_t *status, const json_t *earlier, double seconds,
    FILE *stream);

/* In its place: there is no answer, why, and for how long. */
void report_lost(const char *error, uint64_t seconds, FILE *stream);

/* Beside it: there was no answer for so long, and now there is. */
void report_back(uint64_t seconds, FILE *stream);

/* The object of /tunnels, a table with a head, in the order it came. */
void report_tunnels(const json_t *object, FILE *stream);

/* The object of /mtu, a line for each subject. */
void report_mtu(const json_t *mtu, FILE *stream);

/* The answer to /reprobe: that it has begun. */
void report_reprobe(const json_t *object, FILE *stream);

/* The answer to /reconnect: that it has begun. */
void report_reconnect(const json_t *object, FILE *stream);

#endif
