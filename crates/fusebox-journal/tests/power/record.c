/* Records what a process does to the files below one directory.
 *
 * Preloaded into the process. Every change of a file or a name, and every sync, is written to a trace
 * in the order in which it took effect; what the process writes to its standard output goes in between
 * as a mark, so that the trace tells what had been promised at each moment. Syncs are recorded and not
 * carried out: the replay decides what they would have saved.
 *
 * RECORD_DIR    the directory, absolute
 * RECORD_TRACE  the trace, outside of it
 *
 * A record: operation, length of the text, number of the file, offset, length of the data (4, 4, 8, 8
 * and 8 bytes), then text and data. A file keeps its number through renames; a new file gets a new one
 * even when the system gives it the inode of one that was removed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, SYNC, TRUNCATE, RENAME, UNLINK, MKDIR, SYNC_DIR, MARK };
enum { MAX_FDS = 4096, MAX_FILES = 65536, MAX_PATH = 4096 };

struct head {
    uint32_t operation, text_len;
    uint64_t file, offset, data_len;
};

/* What an open descriptor is. */
static struct { enum { OTHER, A_FILE, A_DIR } kind; uint64_t file; } fds[MAX_FDS];
/* The number of the file that has an inode now. */
static struct { ino_t inode; uint64_t file; } files[MAX_FILES];
static size_t file_count;
static uint64_t last_file;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char dir[MAX_PATH];
static size_t dir_len;
static int trace = -1;

static void give_up(const char *why)
{
    dprintf(2, "recorder: %s\n", why);
    abort();
}

__attribute__((constructor)) static void begin(void)
{
    const char *where = getenv("RECORD_DIR"), *to = getenv("RECORD_TRACE");
    if (!where || !to)
        return;
    dir_len = strlen(where);
    if (dir_len >= sizeof dir)
        give_up("the directory has too long a name");
    memcpy(dir, where, dir_len + 1);
    trace = syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (trace < 0)
        give_up("the trace cannot be written");
}

static void put(uint32_t operation, uint64_t file, uint64_t offset, const char *text,
                const void *data, size_t len)
{
    size_t text_len = text ? strlen(text) : 0;
    struct head head = { operation, text_len, file, offset, len };
    struct iovec parts[3] = { { &head, sizeof head }, { (void *)text, text_len }, { (void *)data, len } };
    ssize_t all = sizeof head + text_len + len;
    if (syscall(SYS_writev, trace, parts, 3) != all)
        give_up("the trace cannot be written");
}

/* The path if it lies in the directory that is watched. All paths of the journal are absolute. */
static int watched(const char *path)
{
    return trace >= 0 && !strncmp(path, dir, dir_len) && (path[dir_len] == '/' || !path[dir_len]);
}

static uint64_t number_of(ino_t inode, int is_new)
{
    size_t i;
    for (i = 0; i < file_count && files[i].inode != inode; i++)
        ;
    if (i == file_count) {
        if (!is_new)
            give_up("a file was there before the recording");
        if (file_count++ == MAX_FILES)
            give_up("too many files");
        files[i].inode = inode;
    }
    if (is_new)
        files[i].file = ++last_file;
    return files[i].file;
}

static int do_open(int at, const char *path, int flags, mode_t mode)
{
    if (!watched(path))
        return syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat before, now;
    int existed = stat(path, &before) == 0;
    int fd = syscall(SYS_openat, at, path, flags, mode);
    int error = errno;
    if (fd >= MAX_FDS)
        give_up("too many descriptors");
    if (fd >= 0 && fstat(fd, &now) == 0) {
        if (S_ISDIR(now.st_mode)) {
            fds[fd].kind = A_DIR;
        } else {
            fds[fd].kind = A_FILE;
            fds[fd].file = number_of(now.st_ino, !existed);
            if (!existed)
                put(CREATE, fds[fd].file, 0, path, 0, 0);
            else if (flags & O_TRUNC)
                put(TRUNCATE, fds[fd].file, 0, 0, 0, 0);
        }
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

#define OPEN(name, at_parameter, at)                                  \
    int name(at_parameter const char *path, int flags, ...)           \
    {                                                                 \
        mode_t mode = 0;                                              \
        if (flags & (O_CREAT | O_TMPFILE)) {                          \
            va_list rest;                                             \
            va_start(rest, flags);                                    \
            mode = va_arg(rest, int);                                 \
            va_end(rest);                                             \
        }                                                             \
        return do_open(at, path, flags, mode);                        \
    }
#define DIRFD int dirfd,
OPEN(open, , AT_FDCWD)
OPEN(open64, , AT_FDCWD)
OPEN(openat, DIRFD, dirfd)
OPEN(openat64, DIRFD, dirfd)

int close(int fd)
{
    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < MAX_FDS)
        fds[fd].kind = OTHER;
    int result = syscall(SYS_close, fd);
    pthread_mutex_unlock(&lock);
    return result;
}

static int is_file(int fd)
{
    return trace >= 0 && fd >= 0 && fd < MAX_FDS && fds[fd].kind == A_FILE;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    if (!is_file(fd))
        return syscall(SYS_pwrite64, fd, data, len, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = syscall(SYS_pwrite64, fd, data, len, offset);
    if (done > 0)
        put(WRITE, fds[fd].file, offset, 0, data, done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    return pwrite64(fd, data, len, offset);
}

ssize_t write(int fd, const void *data, size_t len)
{
    if (trace >= 0 && fd == 1) {
        pthread_mutex_lock(&lock);
        put(MARK, 0, 0, 0, data, len);
        pthread_mutex_unlock(&lock);
    }
    if (!is_file(fd))
        return syscall(SYS_write, fd, data, len);
    pthread_mutex_lock(&lock);
    off_t offset = syscall(SYS_lseek, fd, 0, SEEK_CUR);
    ssize_t done = syscall(SYS_write, fd, data, len);
    if (done > 0)
        put(WRITE, fds[fd].file, offset, 0, data, done);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate64(int fd, off64_t len)
{
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_ftruncate, fd, len);
    if (result == 0 && is_file(fd))
        put(TRUNCATE, fds[fd].file, len, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int fd, off_t len)
{
    return ftruncate64(fd, len);
}

static int sync_of(int fd, int call)
{
    if (trace < 0 || fd < 0 || fd >= MAX_FDS || fds[fd].kind == OTHER)
        return syscall(call, fd);
    pthread_mutex_lock(&lock);
    if (fds[fd].kind == A_FILE) {
        put(SYNC, fds[fd].file, 0, 0, 0, 0);
    } else {
        char link[64], path[MAX_PATH];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t len = readlink(link, path, sizeof path - 1);
        if (len < 0)
            give_up("a directory has no name");
        path[len] = 0;
        put(SYNC_DIR, 0, 0, path, 0, 0);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd)
{
    return sync_of(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_of(fd, SYS_fdatasync);
}

int rename(const char *from, const char *to)
{
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    int error = errno;
    if (result == 0 && watched(from)) {
        char both[2 * MAX_PATH + 2];
        snprintf(both, sizeof both, "%s\n%s", from, to);
        put(RENAME, 0, 0, both, 0, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int unlink(const char *path)
{
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    int error = errno;
    if (result == 0 && watched(path))
        put(UNLINK, 0, 0, path, 0, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    int error = errno;
    if (result == 0 && watched(path))
        put(MKDIR, 0, 0, path, 0, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
