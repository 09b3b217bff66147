#ifndef CULVERT_PROXY_REPORT_H
#define CULVERT_PROXY_REPORT_H

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

/* The object of /tunnels, a table with a head, in the order it came. */
void report_tunnels(const json_t *object, FILE *stream);

/* The object of /mtu, a line for each subject. */
void report_mtu(const json_t *mtu, FILE *stream);

/* The answer to /reprobe: that it has begun. */
void report_reprobe(const json_t *object, FILE *stream);

/* The answer to /reconnect: that it has begun. */
void report_reconnect(const json_t *object, FILE *stream);

#endif
