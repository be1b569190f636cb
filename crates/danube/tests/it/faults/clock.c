/* A wall clock that a test moves: preloaded into one process, it adds the seconds in the file
 * TEST_CLOCK to the system's. The clock that never jumps is left alone, as it would be. It
 * allocates nothing, so it can stand below an allocator that asks for the time. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

typedef const volatile long long *seconds_at;

static seconds_at mapped;

static long long moved_by(void) {
    seconds_at at = __atomic_load_n(&mapped, __ATOMIC_ACQUIRE);
    if (at == NULL) {
        const char *path = getenv("TEST_CLOCK");
        int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0)
            return 0;
        void *page = mmap(NULL, sizeof(long long), PROT_READ, MAP_SHARED, file, 0);
        close(file);
        if (page == MAP_FAILED)
            return 0;
        /* Threads that come at once map it once each, which harms nothing. */
        at = page;
        __atomic_store_n(&mapped, at, __ATOMIC_RELEASE);
    }
    return *at;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += moved_by();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0)
        return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0)
        return -1;
    if (out != NULL)
        *out = exact.tv_sec;
    return exact.tv_sec;
}
