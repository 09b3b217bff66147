/*
 * The test's end of a TCP connection, as far away as an origin: what it sends
 * and expects is pattern(0). Asserts with cmocka.
 */
#ifndef CULVERT_TESTS_UNIT_SOCKET_END_H
#define CULVERT_TESTS_UNIT_SOCKET_END_H

#include <stdbool.h>
#include <stddef.h>

struct socket_end {
	int fd; /* does not block; -1: closed */
	size_t to_send, sent, received;
	bool finishes; /* FIN after to_send */
	bool holds;    /* reads nothing */
	bool finished, ended, reset, send_failed;
	bool spoilt; /* received what was not sent */
};

/* Both ends of a connection with small buffers; the second does not block. */
void socket_end_pair(int fds[2]);

/* Sends and reads what it can. */
void socket_end_pump(struct socket_end *);

/* Closes with RST. */
void socket_end_reset(struct socket_end *);

/* Whether all of to_send is in the kernel at the other end. */
bool socket_end_delivered(const struct socket_end *);

#endif
