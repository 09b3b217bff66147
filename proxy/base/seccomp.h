#ifndef CULVERT_PROXY_BASE_SECCOMP_H
#define CULVERT_PROXY_BASE_SECCOMP_H

/*
 * Which system calls a process may still make, as lists for seccomp(2) by
 * libseccomp.
 *
 * A call that is on no list fails with ENOSYS, as in an older kernel: a newer C
 * library that tries a newer call then takes the older one, and the daemon goes
 * on. What only an intruder asks for (a new program, another process's memory,
 * a mount) ends the process.
 *
 * All take effect for good, and the last two for all threads. They return 0; 1
 * when this build has sanitizers, whose own calls differ, and no filter was
 * set; or a negative errno: the kernel takes no filter, and nothing has
 * changed.
 */

/*
 * Before there is a loop or a thread: takes io_uring away, whose operations no
 * filter sees. libuv (seen: 1.50, 1.53) uses it for each loop, whatever
 * UV_USE_IO_URING says, and aborts if it is taken away later.
 */
int seccomp_early(void);

/*
 * What the daemons need once their listeners are open: files to read, sockets
 * of IPv4, IPv6, Unix and rtnetlink, threads, timers, memory that holds no
 * code.
 */
int seccomp_daemon(void);

/* What the process of privsep_start() needs: to open, make and remove files. */
int seccomp_privsep(void);

#endif
