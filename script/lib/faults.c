/* Faults of files for one process, for tests: built as a shared object and loaded by LD_PRELOAD.
 *
 * strace counts the calls of each thread by themselves, and drp stores each object by a thread of its own: the n-th call of
 * the whole process can be met only from inside.
 *
 *   FAULT_CALLS  names of the calls that count, as fsync,renameat
 *   FAULT_BELOW  folders, as /one:/two: only calls on what lies in them count
 *   FAULT_AT     the n-th of them meets the fault; 0 for none
 *   FAULT_LASTS  1: those after it too
 *   FAULT_ERRNO  what it fails with, nothing done; 0: the process is killed before the call
 *   FAULT_TEAR   a folder: a flush that fails in it loses the second half of its file, as pages that never reached the disk
 *   FAULT_LOG    a file that gets a line for each call that counts: name and path
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *names, *below, *torn;
static long at;
static int failure, lasts, log_file = -1;
static atomic_long count;

static long setting(const char *name)
{
    const char *value = getenv(name);

    return value == NULL ? 0 : atol(value);
}

__attribute__((constructor)) static void read_settings(void)
{
    const char *path = getenv("FAULT_LOG");

    below = getenv("FAULT_BELOW");
    at = setting("FAULT_AT");
    lasts = setting("FAULT_LASTS") == 1;
    failure = (int)setting("FAULT_ERRNO");
    torn = getenv("FAULT_TEAR");
    if (path != NULL)
        log_file = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    /* Last, since nothing counts before it is set. */
    names = getenv("FAULT_CALLS");
}

static int is_named(const char *name)
{
    size_t length = strlen(name);
    const char *place = names;

    while ((place = strstr(place, name)) != NULL) {
        if ((place == names || place[-1] == ',') && (place[length] == ',' || place[length] == 0)) return 1;
        place += length;
    }
    return 0;
}

/* What a call is about: `path` as seen from the open folder, or what is open if there is no path. */
static void resolve(int file, const char *path, char *full)
{
    char link[64];
    long length;

    if (path != NULL && path[0] == '/') {
        snprintf(full, PATH_MAX, "%s", path);
        return;
    }
    if (file == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    length = syscall(SYS_readlinkat, AT_FDCWD, link, full, PATH_MAX - 1);
    full[length < 0 ? 0 : length] = 0;
    if (path != NULL && length > 0) snprintf(full + length, PATH_MAX - length, "/%s", path);
}

static int is_in(const char *folder, const char *full)
{
    const char *end;

    while (folder != NULL) {
        end = strchrnul(folder, ':');
        if (strncmp(full, folder, end - folder) == 0 && (full[end - folder] == '/' || full[end - folder] == 0)) return 1;
        folder = *end == ':' ? end + 1 : NULL;
    }
    return 0;
}

/* Whether the call is to fail, with errno set. */
static int fails(const char *name, int file, const char *path)
{
    char full[PATH_MAX], line[PATH_MAX + 64];
    int kept = errno;
    long turn;

    if (names == NULL || !is_named(name)) return 0;
    resolve(file, path, full);
    errno = kept;
    if (below != NULL && !is_in(below, full)) return 0;
    turn = atomic_fetch_add(&count, 1) + 1;
    if (log_file >= 0) syscall(SYS_write, log_file, line, snprintf(line, sizeof line, "%s %s\n", name, full));
    if (at == 0 || turn < at || (turn > at && !lasts)) return 0;
    if (failure == 0) {
        syscall(SYS_kill, getpid(), SIGKILL);
        for (;;) pause();
    }
    errno = failure;
    return 1;
}

static int flush(const char *name, long call, int file)
{
    struct stat status;
    char full[PATH_MAX];

    if (!fails(name, file, NULL)) return (int)syscall(call, file);
    resolve(file, NULL, full);
    if (torn != NULL && is_in(torn, full) && fstat(file, &status) == 0 && S_ISREG(status.st_mode))
        syscall(SYS_ftruncate, file, status.st_size / 2);
    errno = failure;
    return -1;
}

int fsync(int file) { return flush("fsync", SYS_fsync, file); }
int fdatasync(int file) { return flush("fdatasync", SYS_fdatasync, file); }

int ftruncate(int file, off_t size)
{
    return fails("ftruncate", file, NULL) ? -1 : (int)syscall(SYS_ftruncate, file, size);
}
int ftruncate64(int file, off64_t size) { return ftruncate(file, size); }

ssize_t write(int file, const void *bytes, size_t size)
{
    return fails("write", file, NULL) ? -1 : syscall(SYS_write, file, bytes, size);
}
ssize_t pwrite(int file, const void *bytes, size_t size, off_t place)
{
    return fails("pwrite", file, NULL) ? -1 : syscall(SYS_pwrite64, file, bytes, size, place);
}
ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t place) { return pwrite(file, bytes, size, place); }

ssize_t pread(int file, void *bytes, size_t size, off_t place)
{
    return fails("pread", file, NULL) ? -1 : syscall(SYS_pread64, file, bytes, size, place);
}
ssize_t pread64(int file, void *bytes, size_t size, off64_t place) { return pread(file, bytes, size, place); }

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
    return fails("open", folder, path) ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
}

static mode_t mode_of(int flags, va_list more)
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(more, mode_t) : 0;
}

#define OPENS(name, folder, ...)                              \
    int name(__VA_ARGS__ const char *path, int flags, ...)    \
    {                                                         \
        va_list more;                                         \
        va_start(more, flags);                                \
        mode_t mode = mode_of(flags, more);                   \
        va_end(more);                                         \
        return open_at(folder, path, flags, mode);            \
    }
#define COMMA ,
OPENS(open, AT_FDCWD, )
OPENS(open64, AT_FDCWD, )
OPENS(openat, folder, int folder COMMA)
OPENS(openat64, folder, int folder COMMA)

int mkdirat(int folder, const char *path, mode_t mode)
{
    return fails("mkdir", folder, path) ? -1 : (int)syscall(SYS_mkdirat, folder, path, mode);
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int unlinkat(int folder, const char *path, int flags)
{
    return fails("unlink", folder, path) ? -1 : (int)syscall(SYS_unlinkat, folder, path, flags);
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int linkat(int folder, const char *path, int other, const char *target, int flags)
{
    return fails("link", other, target) ? -1 : (int)syscall(SYS_linkat, folder, path, other, target, flags);
}
int link(const char *path, const char *target) { return linkat(AT_FDCWD, path, AT_FDCWD, target, 0); }

int renameat(int folder, const char *path, int other, const char *target)
{
    return fails("rename", other, target) ? -1 : (int)syscall(SYS_renameat, folder, path, other, target);
}
int rename(const char *path, const char *target) { return renameat(AT_FDCWD, path, AT_FDCWD, target); }
