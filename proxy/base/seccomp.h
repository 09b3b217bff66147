#ifndef CULVERT_PROXY_BASE_SECCOMP_H
#define CULVERT_PROXY_BASE_SECCOMP_H

/*
 * Filters of system calls: lists for seccomp(2) by libseccomp.
 *
 * A call that is on no list fails with ENOSYS, as in an older kernel: a newer C
 * library that tries a newer call then falls back to the older one. A call that
 * only an attacker makes (a new program, another process's memory, a mount)
 * ends the process.
 *
 * Each filter is permanent, and the last two apply to all threads. The
 * functions return 0; 1 without a filter if this build has sanitizers, which
 * make other calls; or a negative errno if the kernel does not accept a filter,
 * and then nothing has changed.
 */

/*
 * Denies io_uring, whose operations bypass filters. Call it before there is a
 * loop or a thread: libuv (seen: 1.50, 1.53) uses io_uring for each loop,
 * whatever UV_USE_IO_URING says, and aborts if it is denied later.
 */
int seccomp_early(void);

/*
 * Allows what the daemons need once their listeners are open: reading files,
 * sockets of IPv4, IPv6, Unix and rtnetlink, threads, timers, and memory
 * without code.
 */
int seccomp_daemon(void);

/* Allows what the child of privsep_start() needs: files, and its socket. */
int seccomp_privsep(void);

#endif
