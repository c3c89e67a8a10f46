/* Moves the wall clock of one process, for tests: built as a shared object and loaded by LD_PRELOAD.
 *
 * SHIFT_FILE names a file with a number of seconds, read at each call. Only the time of day moves; monotonic clocks and
 * timers stay, as when an operator or NTP sets the clock. (libfaketime also shifts timerfd_settime on the monotonic clock,
 * so that timers of libdispatch never fire.)
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void)
{
    const char *path = getenv("SHIFT_FILE");
    FILE *file = path ? fopen(path, "re") : NULL;
    long seconds = 0;

    if (file == NULL) return 0;
    if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
    fclose(file);
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int failed = (int)syscall(SYS_clock_gettime, clock, time);

    if (failed == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += shift();
    return failed;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    int failed = (int)syscall(SYS_gettimeofday, time, zone);

    if (failed == 0) time->tv_sec += shift();
    return failed;
}

time_t time(time_t *result)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (result != NULL) *result = now.tv_sec;
    return now.tv_sec;
}
