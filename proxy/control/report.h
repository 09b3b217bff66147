#ifndef CULVERT_PROXY_CONTROL_REPORT_H
#define CULVERT_PROXY_CONTROL_REPORT_H

#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

/*
 * The reports of culvertctl: the objects of the control socket as text.
 * Members that are missing, null or of another type are left out or read as
 * zero.  Text is escaped, so that it stays within its line and harmless to a
 * terminal: bytes that are not printable ASCII become "\xNN", a backslash
 * "\\".  Callers check the stream for errors with ferror(3).
 */

/* The object of /status, one line per subject, in aligned columns. */
void report_status(const json_t *status, FILE *stream);

/*
 * The object of /status as culvertctl watch shows it: values that change, and
 * the tunnels with the highest rates. Rates and loss are those since `earlier`,
 * the object of `seconds` before. It is NULL for the first refresh, which has
 * no rates, and ignored if it came from another process.
 */
void report_rates(const json_t *status, const json_t *earlier, double seconds,
    FILE *stream);

/* Instead of it: there is no answer, why, and for how long. */
void report_outage(const char *error, uint64_t seconds, FILE *stream);

/* In addition to it: culvert answers again after so many seconds. */
void report_recovery(uint64_t seconds, FILE *stream);

/* The object of /tunnels as a table with a header, in the same order. */
void report_tunnels(const json_t *object, FILE *stream);

/* The object of /mtu, one line per subject. */
void report_mtu(const json_t *mtu, FILE *stream);

/* The object of /route, one line per subject. */
void report_route(const json_t *route, FILE *stream);

/* The answer to /reprobe: the search has begun. */
void report_reprobe(const json_t *object, FILE *stream);

/* The answer to /reconnect: the new connection has begun. */
void report_reconnect(const json_t *object, FILE *stream);

#endif
