// Has a program meet a disk that is full or broken, and a clock that is set: tests put it in front of the C library by LD_PRELOAD.
//
// FAULTS_UNDER: files whose path begins like this are on the disk that fails.
// FAULTS_WHILE: a file. While it is there, every call that changes the disk fails, with the number in it as the error.
// FAULTS_FIRST, FAULTS_LENGTH, FAULTS_ERROR: of such calls, that many fail from that one on, counted from 1.
// FAULTS_TOLD: a file that is made once one has failed by FAULTS_FIRST.
// FAULTS_UNSYNCED: syncs that do not fail do nothing, where what is tested is not the power's cut.
// FAULTS_CLOCK: a file with a number of seconds, by which the time of day is ahead.
//
// A disk that is full takes the first half of what it refuses, as a real one does.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

// The C library's, past this file.
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static atomic_long seen;

// By system calls of its own: what it reads is no call of the program's. 0 where there is no number.
static long number_in(const char *path) {
    char text[32] = {0};
    if (path == NULL) return 0;
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0) return 0;
    long length = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    return length > 0 ? strtol(text, NULL, 10) : 0;
}

static long number_of(const char *name) {
    const char *text = getenv(name);
    return text == NULL ? 0 : strtol(text, NULL, 10);
}

// The error with which a call fails that changes a file of this path; 0 where it does not.
static int fault(const char *path) {
    const char *under = getenv("FAULTS_UNDER");
    if (under == NULL || strncmp(path, under, strlen(under)) != 0) return 0;
    long error = number_in(getenv("FAULTS_WHILE"));
    if (error != 0) return (int)error;
    long first = number_of("FAULTS_FIRST");
    if (first == 0) return 0;
    long place = atomic_fetch_add(&seen, 1) + 1;
    if (place < first || place >= first + number_of("FAULTS_LENGTH")) return 0;
    const char *told = getenv("FAULTS_TOLD");
    if (told != NULL) syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, told, O_WRONLY | O_CREAT, 0600));
    return (int)number_of("FAULTS_ERROR");
}

static int fault_of(int file) {
    char link[64], path[PATH_MAX] = {0};
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    int before = errno;
    long length = readlink(link, path, sizeof path - 1);
    errno = before;
    return length > 0 ? fault(path) : 0;
}

static int fault_at(int directory, const char *name) {
    char link[64], path[2 * PATH_MAX] = {0};
    if (name[0] == '/') return fault(name);
    snprintf(link, sizeof link, directory == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", directory);
    long length = readlink(link, path, PATH_MAX);
    if (length <= 0) return 0;
    snprintf(path + length, sizeof path - (size_t)length, "/%s", name);
    return fault(path);
}

#define FAIL_BY(found)            \
    do {                          \
        int error_found = (found); \
        if (error_found != 0) {   \
            errno = error_found;  \
            return -1;            \
        }                         \
    } while (0)

// How much of a write is done though the disk is full.
static size_t taken(int error, size_t length) { return error == ENOSPC ? length / 2 : 0; }

ssize_t write(int file, const void *bytes, size_t length) {
    int error = fault_of(file);
    if (error == 0) return NEXT(write)(file, bytes, length);
    if (taken(error, length) > 0) return NEXT(write)(file, bytes, taken(error, length));
    errno = error;
    return -1;
}

#define PWRITE(name, offset_type)                                                                        \
    ssize_t name(int file, const void *bytes, size_t length, offset_type offset) {                        \
        int error = fault_of(file);                                                                       \
        if (error == 0) return NEXT(name)(file, bytes, length, offset);                                   \
        if (taken(error, length) > 0) return NEXT(name)(file, bytes, taken(error, length), offset);       \
        errno = error;                                                                                    \
        return -1;                                                                                        \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

static int synced(int (*sync)(int), int file) {
    FAIL_BY(fault_of(file) != 0 ? EIO : 0); // a sync has no other error
    return getenv("FAULTS_UNSYNCED") != NULL ? 0 : sync(file);
}

int fsync(int file) { return synced(NEXT(fsync), file); }
int fdatasync(int file) { return synced(NEXT(fdatasync), file); }

int ftruncate(int file, off_t length) {
    FAIL_BY(fault_of(file));
    return NEXT(ftruncate)(file, length);
}

int ftruncate64(int file, off64_t length) {
    FAIL_BY(fault_of(file));
    return NEXT(ftruncate64)(file, length);
}

int posix_fallocate64(int file, off64_t offset, off64_t length) {
    int error = fault_of(file);
    return error != 0 ? error : NEXT(posix_fallocate64)(file, offset, length);
}

int unlink(const char *path) {
    // Room is made on a full disk, too.
    int error = fault_at(AT_FDCWD, path);
    FAIL_BY(error == ENOSPC ? 0 : error);
    return NEXT(unlink)(path);
}

int rename(const char *from, const char *to) {
    FAIL_BY(fault_at(AT_FDCWD, to));
    return NEXT(rename)(from, to);
}

int mkdir(const char *path, mode_t mode) {
    FAIL_BY(fault_at(AT_FDCWD, path));
    return NEXT(mkdir)(path, mode);
}

// Only what makes a file changes the disk.
#define OPEN(name, parameters, directory, call)                                          \
    int name parameters {                                                                \
        mode_t mode = 0;                                                                 \
        if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {                                            \
            va_list rest;                                                                \
            va_start(rest, flags);                                                       \
            mode = va_arg(rest, mode_t);                                                 \
            va_end(rest);                                                                \
            if ((flags & O_CREAT) && syscall(SYS_faccessat, directory, path, F_OK) != 0) \
                FAIL_BY(fault_at(directory, path));                                      \
        }                                                                                \
        return call;                                                                     \
    }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD, NEXT(open)(path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, NEXT(open64)(path, flags, mode))
OPEN(openat, (int directory, const char *path, int flags, ...), directory, NEXT(openat)(directory, path, flags, mode))
OPEN(openat64, (int directory, const char *path, int flags, ...), directory, NEXT(openat64)(directory, path, flags, mode))

int clock_gettime(clockid_t clock, struct timespec *time) {
    int done = (int)syscall(SYS_clock_gettime, clock, time);
    if (done == 0 && clock == CLOCK_REALTIME) time->tv_sec += number_in(getenv("FAULTS_CLOCK"));
    return done;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int done = clock_gettime(CLOCK_REALTIME, &now);
    *time = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return done;
}
