#ifndef CULVERT_PROXY_CONTROL_REPORT_INTERNAL_H
#define CULVERT_PROXY_CONTROL_REPORT_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/control/report.h"

/* Shared by report.c, report_text.c and report_rates.c only. */

/* Columns of tables. */
#define AGE_COLUMNS 12	 /* "59 min 59 s" */
#define BYTES_COLUMNS 11 /* "1023.9 KiB" */

/* Bytes of a formatted quantity: enough for 2^64 of any unit. */
#define QUANTITY_SIZE 40

/* A member of an object: text, or ""; a number, or 0; whether it is one. */
const char *report_member(const json_t *object, const char *name);
uint64_t report_number(const json_t *object, const char *name);
bool report_knows(const json_t *object, const char *name);

/* Prints escaped text; the same, padded to columns; a label. */
void report_put(const char *text, FILE *stream);
void report_cell(const char *text, int columns, FILE *stream);
void report_label(const char *label, FILE *stream);

/* Prints "1 noun", "2 nouns". */
void report_count(uint64_t n, const char *noun, FILE *stream);

/* Write into buf and return it. */
const char *report_duration(uint64_t s, char buf[QUANTITY_SIZE]);
const char *report_bytes(uint64_t n, char buf[QUANTITY_SIZE]);

/* Print lines of the status: the state and its reason; the edge. */
void report_put_state(const json_t *status, FILE *stream);
void report_put_edge(const json_t *status, FILE *stream);

/* Prints the line of the process, without a newline. */
void report_put_process(const json_t *status, FILE *stream);

/* Returns the width of the column with the targets of these tunnels. */
int report_target_columns(const json_t *tunnels);

#endif
