/* Faults of the operating system for one process: loaded with LD_PRELOAD, told what to do by a
 * page of memory that it shares with the test (QUORATE_FAULTS), and only for files below one
 * directory (QUORATE_FAULTS_ROOT). All numbers of the page are 64 bits wide:
 *
 *   0 fail_syncs   so many syncs fail with EIO
 *   1 stall        while it is not 0, syncs wait
 *   2 delay_us     each sync takes so much longer
 *   3 fail_writes  so many writes fail with EIO
 *   4 is_full      if it is not 0, there is a limit: `space` more bytes, then ENOSPC
 *   5 space
 *   6 clock_ms     is added to CLOCK_REALTIME (signed)
 *   7.. counters   syncs, syncs failed, syncs held up, writes failed, writes without space
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct page {
    _Atomic int64_t fail_syncs, stall, delay_us, fail_writes, is_full, space, clock_ms;
    _Atomic int64_t syncs, syncs_failed, syncs_held, writes_failed, writes_full;
};

static struct page *page;
static char root[4096];
static size_t root_length;

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);
static int (*real_sync_file_range)(int, off64_t, off64_t, unsigned);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off64_t);

__attribute__((constructor)) static void start(void) {
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_sync_file_range = dlsym(RTLD_NEXT, "sync_file_range");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_pwritev = dlsym(RTLD_NEXT, "pwritev64");
    const char *file = getenv("QUORATE_FAULTS"), *below = getenv("QUORATE_FAULTS_ROOT");
    if (!file || !below) return;
    root_length = strlen(below);
    if (root_length >= sizeof root) return;
    memcpy(root, below, root_length + 1);
    int fd = open(file, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (memory != MAP_FAILED) page = memory;
}

/* Whether a descriptor is a file of the node's data. */
static int is_ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    return length > (ssize_t)root_length && !memcmp(path, root, root_length) && path[root_length] == '/';
}

/* Takes one of a number of faults. */
static int take(_Atomic int64_t *left) {
    int64_t now = *left;
    while (now > 0)
        if (__atomic_compare_exchange_n((int64_t *)left, &now, now - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return 1;
    return 0;
}

static int before_sync(int fd) {
    if (!page || !is_ours(fd)) return 0;
    page->syncs++;
    if (page->stall || page->delay_us > 0) page->syncs_held++;
    if (page->delay_us > 0) usleep((useconds_t)page->delay_us);
    while (page->stall) usleep(1000);
    if (!take(&page->fail_syncs)) return 0;
    page->syncs_failed++;
    errno = EIO;
    return -1;
}

int fdatasync(int fd) { return before_sync(fd) ? -1 : real_fdatasync(fd); }
int fsync(int fd) { return before_sync(fd) ? -1 : real_fsync(fd); }
int sync_file_range(int fd, off64_t offset, off64_t bytes, unsigned flags) {
    return before_sync(fd) ? -1 : real_sync_file_range(fd, offset, bytes, flags);
}

/* A write needs space for what lies behind the blocks that the file has. */
static int before_write(int fd, off64_t offset, size_t bytes) {
    if (!page || (page->fail_writes <= 0 && !page->is_full) || !is_ours(fd)) return 0;
    if (take(&page->fail_writes)) {
        page->writes_failed++;
        errno = EIO;
        return -1;
    }
    struct stat64 have;
    if (!page->is_full || fstat64(fd, &have) || !S_ISREG(have.st_mode)) return 0;
    if (offset < 0) offset = lseek64(fd, 0, SEEK_CUR);
    int64_t need = (int64_t)offset + (int64_t)bytes - (int64_t)have.st_blocks * 512;
    if (need <= 0) return 0;
    if (page->space >= need) {
        page->space -= need;
        return 0;
    }
    page->writes_full++;
    errno = ENOSPC;
    return -1;
}

static size_t bytes_of(const struct iovec *parts, int count) {
    size_t bytes = 0;
    for (int i = 0; i < count; i++) bytes += parts[i].iov_len;
    return bytes;
}

ssize_t write(int fd, const void *from, size_t bytes) {
    return before_write(fd, -1, bytes) ? -1 : real_write(fd, from, bytes);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    return before_write(fd, -1, bytes_of(parts, count)) ? -1 : real_writev(fd, parts, count);
}
ssize_t pwrite64(int fd, const void *from, size_t bytes, off64_t offset) {
    return before_write(fd, offset, bytes) ? -1 : real_pwrite(fd, from, bytes, offset);
}
ssize_t pwrite(int fd, const void *from, size_t bytes, off_t offset) { return pwrite64(fd, from, bytes, offset); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return before_write(fd, offset, bytes_of(parts, count)) ? -1 : real_pwritev(fd, parts, count, offset);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return pwritev64(fd, parts, count, offset); }

/* Only the wall clock is wrong; what measures time goes on evenly. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = real_clock_gettime(clock, now);
    if (!page || result || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return result;
    int64_t shift = page->clock_ms;
    int64_t nanos = now->tv_nsec + shift % 1000 * 1000000;
    now->tv_sec += shift / 1000 + (nanos >= 1000000000) - (nanos < 0);
    now->tv_nsec = nanos + (nanos < 0 ? 1000000000 : nanos >= 1000000000 ? -1000000000 : 0);
    return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *out) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    if (out) *out = exact.tv_sec;
    return exact.tv_sec;
}
