/*
 * Faults between the broker and its system, put in by LD_PRELOAD and switched by a file that is looked at at each call:
 *
 *   FAULTS=/path/to/switch   one line: "write ERRNO PREFIX", "fsync ERRNO PREFIX", or "clock SECONDS"
 *
 * "write" and "fsync" fail with that error number for files whose path starts with PREFIX; "clock" moves the wall clock
 * (not the monotonic one) by so much.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The switch's line, by system calls alone: whoever calls may be inside anything. */
static int read_switch(char *line, size_t size) {
    const char *path = getenv("FAULTS");
    if (!path) return 0;
    int saved = errno;
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    long got = fd < 0 ? 0 : syscall(SYS_read, fd, line, size - 1);
    if (fd >= 0) syscall(SYS_close, fd);
    errno = saved;
    line[got > 0 ? got : 0] = 0;
    return got > 0;
}

static int fails(const char *what, int fd) {
    char line[PATH_MAX + 64], kind[16], prefix[PATH_MAX], link[64], path[PATH_MAX];
    int number;
    if (!read_switch(line, sizeof line) || sscanf(line, "%15s %d %4095s", kind, &number, prefix) != 3) return 0;
    if (strcmp(kind, what)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0 || strncmp(path, prefix, strlen(prefix))) return 0;
    errno = number;
    return 1;
}

ssize_t pwrite(int fd, const void *buf, size_t count, off_t at) {
    return fails("write", fd) ? -1 : syscall(SYS_pwrite64, fd, buf, count, at);
}

ssize_t pwrite64(int fd, const void *buf, size_t count, off64_t at) {
    return fails("write", fd) ? -1 : syscall(SYS_pwrite64, fd, buf, count, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    return fails("write", fd) ? -1 : syscall(SYS_pwritev, fd, parts, (long)count, at, 0L);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    return fails("write", fd) ? -1 : syscall(SYS_pwritev, fd, parts, (long)count, at, 0L);
}

int fdatasync(int fd) {
    return fails("fsync", fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
    return fails("fsync", fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    char line[PATH_MAX + 64];
    long seconds;
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME && read_switch(line, sizeof line) && sscanf(line, "clock %ld", &seconds) == 1)
        now->tv_sec += seconds;
    return failed;
}
