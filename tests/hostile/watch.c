/*
 * watch: how long a program's event loop is away from its poll.
 *
 *	CULVERT_WATCH=FILE LD_PRELOAD=watch.so PROGRAM
 *
 * An iteration lasts from the return of epoll_wait() to the next call. The
 * longest one is noted in FILE, as watch.h says, by the clock and by the CPU
 * time of the thread: a machine that does something else adds to the first
 * alone. The file is mapped before main(), so that no sandbox is in the way.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/hostile/watch.h"

#define NS_PER_S UINT64_C(1000000000)

static struct watch_record *records; /* NULL: there is no file */
static struct watch_record *mine;    /* of this process, once it polls */

/* libuv polls in one thread; others may poll, but are not looked at. */
static pthread_t poller;
static uint64_t wall, cpu; /* when the last poll returned; 0: none has */

typedef int pwait(int, struct epoll_event *, int, int, const sigset_t *);
static pwait *real;

static uint64_t
read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void
forget(void)
{
	mine = NULL;
	wall = 0;
}

__attribute__((constructor)) static void
map_file(void)
{
	const char *path = getenv("CULVERT_WATCH");
	size_t len = WATCH_RECORDS * sizeof(*records);
	int fd;

	*(void **)&real = dlsym(RTLD_NEXT, "epoll_pwait");
	if (path == NULL || (fd = open(path, O_RDWR | O_CLOEXEC)) < 0)
		return;
	if (ftruncate(fd, (off_t)len) == 0) {
		void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED,
		    fd, 0);
		records = map != MAP_FAILED ? map : NULL;
	}
	close(fd);
	pthread_atfork(NULL, NULL, forget);
}

/* The first free record: processes of one tree start one after the other. */
static void
take_record(void)
{
	for (size_t i = 0; i < WATCH_RECORDS && mine == NULL; i++)
		if (records[i].pid == 0)
			mine = &records[i];
	if (mine == NULL)
		return;
	mine->pid = (uint64_t)getpid();
	poller = pthread_self();
}

static void
note(void)
{
	uint64_t took;

	if (wall == 0)
		return;
	mine->iterations++;
	mine->began = 0;
	took = read_clock(CLOCK_MONOTONIC) - wall;
	if (took > mine->wall_max)
		mine->wall_max = took;
	took = read_clock(CLOCK_THREAD_CPUTIME_ID) - cpu;
	if (took > mine->cpu_max)
		mine->cpu_max = took;
}

int
epoll_pwait(int fd, struct epoll_event *events, int max, int timeout,
    const sigset_t *mask)
{
	int rv;

	if (records != NULL && mine == NULL)
		take_record();
	if (mine == NULL || !pthread_equal(poller, pthread_self()))
		return real(fd, events, max, timeout, mask);
	note();
	rv = real(fd, events, max, timeout, mask);
	mine->began = wall = read_clock(CLOCK_MONOTONIC);
	cpu = read_clock(CLOCK_THREAD_CPUTIME_ID);
	return rv;
}

int
epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
	return epoll_pwait(fd, events, max, timeout, NULL);
}
