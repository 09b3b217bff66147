#ifndef CULVERT_PROXY_CONFIG_VALUE_H
#define CULVERT_PROXY_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/*
 * Types of configuration values: how to parse text into a field of struct
 * config, and how to explain an error.  Pure.
 */
struct value_type {
	/*
	 * Sets the field from text, or adds to it if the type repeats.
	 * NULL stands for a bare flag; only bare types accept it.  Returns 0,
	 * or with the field unchanged -EINVAL (the text is not a value of
	 * this type), -ENOSPC (the list is full) or -ENOMEM.
	 */
	int (*set)(void *field, const char *text);
	size_t size;	      /* bytes of the field */
	const char *expected; /* completes "the value is not ..." */
	bool owned;	      /* the field is a char * to memory of its own */
	bool bare;	      /* a flag of this type takes no value */
	bool repeats; /* the field is a list with room for .most values */
	unsigned most;
	bool secret;   /* wiped from the command line */
	bool readable; /* the path of a file that must be readable */
};

extern const struct value_type value_file;
extern const struct value_type value_directory;
extern const struct value_type value_socket;	/* fits a sockaddr_un */
extern const struct value_type value_user_name; /* a local account */
extern const struct value_type value_flag;	/* bool */
extern const struct value_type value_verbose;	/* unsigned; each flag adds 1 */
extern const struct value_type value_mtu;	/* unsigned, IP bytes */
extern const struct value_type value_seconds;	/* unsigned; may be 0 */
extern const struct value_type value_timeout;	/* unsigned seconds, not 0 */
extern const struct value_type value_connections; /* unsigned */
extern const struct value_type value_spread;	  /* unsigned */
extern const struct value_type value_streams;	  /* unsigned */
extern const struct value_type value_count;	  /* unsigned, not 0 */
extern const struct value_type value_quota;	  /* unsigned; 0: no limit */
extern const struct value_type value_head;	  /* unsigned, bytes */
extern const struct value_type value_memory;	  /* size_t, bytes; 64M, 1G */
extern const struct value_type value_cc;	  /* enum quic_cc */
extern const struct value_type value_log_format;  /* enum log_format */
extern const struct value_type value_interface;	  /* fits a struct quic_via */
extern const struct value_type value_mark;	  /* uint32_t, not 0 */
extern const struct value_type value_addrs;	  /* struct config_addrs */
extern const struct value_type value_forwards;	  /* struct config_forwards */
extern const struct value_type value_targets;	  /* struct config_targets */
extern const struct value_type value_ranges;	  /* struct config_ranges */
extern const struct value_type value_pins;	  /* struct config_pins */
extern const struct value_type value_user;	  /* struct config_user */

/* Wipes a field, releases its memory, and sets it to zero. */
void value_clear(const struct value_type *type, void *field);

/*
 * Copies a field, with memory of its own. Returns 0, or -ENOMEM with `to` set
 * to zero.
 */
int value_copy(const struct value_type *type, void *to, const void *from);

/* Whether two fields have equal values. */
bool value_equal(const struct value_type *type, const void *a, const void *b);

/*
 * Writes why set failed with this error, as the end of a sentence and without
 * a newline.  The text itself is never shown: whatever the option, it may be
 * a password that was meant for another one.
 */
void value_explain(const struct value_type *type, int error, FILE *stream);

#endif
