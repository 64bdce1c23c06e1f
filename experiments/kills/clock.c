/* Preloaded into a driver and the processes of a cluster: their calendar clock is an hour behind from the moment that
   the file CLOCK_BACK exists. The monotonic clock goes on, as when a machine's time is set back. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define HOUR 3600

typedef int (*Clock)(clockid_t, struct timespec *);

static Clock real(void) {
    static Clock found;
    if (!found)
        found = (Clock)dlsym(RTLD_NEXT, "clock_gettime");
    return found;
}

/* Seconds to be behind; asks for the file once a second at most. */
static time_t behind(void) {
    static time_t next, seconds;
    struct timespec now;
    real()(CLOCK_MONOTONIC, &now);
    if (now.tv_sec >= next) {
        const char *path = getenv("CLOCK_BACK");
        next = now.tv_sec + 1;
        seconds = path && access(path, F_OK) == 0 ? HOUR : 0;
    }
    return seconds;
}

int clock_gettime(clockid_t which, struct timespec *at) {
    int status = real()(which, at);
    if (status == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
        at->tv_sec -= behind();
    return status;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now))
        return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}
