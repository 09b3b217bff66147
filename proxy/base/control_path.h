#ifndef CULVERT_PROXY_BASE_CONTROL_PATH_H
#define CULVERT_PROXY_BASE_CONTROL_PATH_H

#include <sys/un.h>

/*
 * The path of the control socket, which culvert and culvertctl share.
 */

/* Bytes of the path of a Unix socket, with its NUL (unix(7)). */
#define CONTROL_PATH_SIZE sizeof(((struct sockaddr_un *)0)->sun_path)

/*
 * Writes into buf the default path: in the directory culvert below
 * $XDG_RUNTIME_DIR, if that is an absolute path that fits, else below /run.
 *
 * Returns buf.
 */
const char *control_path_default(char buf[CONTROL_PATH_SIZE]);

/*
 * Makes the directory that contains the path; no other file is in it. Returns
 * 0, also if it exists already, or a negative errno of mkdir(2).
 */
int control_path_make_directory(const char *path);

/*
 * Makes a socket address of a path.  Returns 0, -ENAMETOOLONG, or -ENOENT for
 * an empty path, to which bind(2) and connect(2) give another meaning.
 */
int control_path_address(const char *path, struct sockaddr_un *address);

/*
 * Connects to the socket at path, and limits every later read(2) and write(2)
 * on it to timeout_s seconds (then -EAGAIN).
 *
 * Returns a blocking, close-on-exec descriptor for the caller to close, or a
 * negative errno:
 *	-ENOENT		no file has that path
 *	-ECONNREFUSED	no process listens: the file is stale, or no socket
 *	-EAGAIN		a process listens but does not accept
 *	-ENAMETOOLONG	the path is too long for a Unix socket
 *	others		of socket(2) and connect(2), such as -EACCES
 */
int control_path_connect(const char *path, unsigned timeout_s);

#endif
