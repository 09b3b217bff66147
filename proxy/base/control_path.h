#ifndef CULVERT_PROXY_BASE_CONTROL_PATH_H
#define CULVERT_PROXY_BASE_CONTROL_PATH_H

#include <sys/un.h>

/*
 * Where culvert and culvertctl meet: the path of the control socket.
 */

/* Bytes of the path of a Unix socket, with its NUL (unix(7)). */
#define CONTROL_PATH_SIZE sizeof(((struct sockaddr_un *)0)->sun_path)

/*
 * Writes into buf the path that both use when nobody says another: in
 * the directory culvert of $XDG_RUNTIME_DIR, when that is an absolute path that
 * fits, else of /run.
 *
 * Returns buf.
 */
const char *control_path_default(char buf[CONTROL_PATH_SIZE]);

/*
 * Makes the directory that a path is in, which is the socket's own. Returns 0,
 * also when it exists, or a negative errno of mkdir(2).
 */
int control_path_make_directory(const char *path);

/*
 * Makes an address of a path.  Returns 0, -ENAMETOOLONG, or -ENOENT for an
 * empty path, which bind(2) and connect(2) would take for something else.
 */
int control_path_address(const char *path, struct sockaddr_un *address);

/*
 * Connects to the socket at path, and lets every later read(2) and write(2)
 * on it take timeout_s seconds at most (-EAGAIN then).
 *
 * Returns a blocking, close-on-exec descriptor for the caller to close, or a
 * negative errno:
 *	-ENOENT		nothing is there
 *	-ECONNREFUSED	nobody listens: the file is left over, or no socket
 *	-EAGAIN		somebody listens but accepts nobody
 *	-ENAMETOOLONG	no Unix socket can have that path
 *	others		of socket(2) and connect(2), such as -EACCES
 */
int control_path_connect(const char *path, unsigned timeout_s);

#endif
