#ifndef CULVERT_TESTS_BENCH_WIRE_H
#define CULVERT_TESTS_BENCH_WIRE_H

#include <netinet/in.h>
#include <stdint.h>

/*
 * What a client asks of the origin: heads of 9 bytes, a letter and a count in
 * this machine's byte order, one after the other on a connection. The count is
 * of bytes, which the origin sends or takes. It answers what it takes with one
 * byte for each WIRE_REPORT of it and one for what is left at the end, so that
 * a client knows at any time how much has arrived.
 */
#define WIRE_HEAD_LEN 9
#define WIRE_DOWN 'D'
#define WIRE_UP 'U'
#define WIRE_REPORT 16384 /* bytes */

/* Writes a head of WIRE_HEAD_LEN bytes. */
void wire_write_head(uint8_t *head, char what, uint64_t count);

/* The count of a head. */
uint64_t wire_count(const uint8_t *head);

/* The bytes of answer that are due once `taken` bytes of `count` have come. */
uint64_t wire_reports(uint64_t taken, uint64_t count);

/* Reads "a.b.c.d:port", or says what is wrong with it and exits. */
struct sockaddr_in wire_address(const char *text);

/* Allows this process all the open files it may have. */
void wire_raise_files(void);

#endif
