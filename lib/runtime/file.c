/* Files on POSIX systems.  Every call retries after EINTR and copes with short reads and writes. */
#define _GNU_SOURCE
#include "runtime/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/checked.h"
#include "runtime/limits.h"
#include "runtime/sizes.h"

/* One read or write moves at most this much, which every kernel accepts. */
#define TRANSFER_MAX ((size_t)1 << 30)

/* A minute, longer than the time that Linux gives to whoever has leased a file. */
#define LEASE_NAPS 6000u
#define LEASE_NAP_NANOSECONDS 10000000

static vmoe_status io_error(vmoe_error *error, const char *path, const char *what)
{
    int code = errno;
    char reason[128] = "unknown error";

#if defined(__GLIBC__)
    const char *text = strerror_r(code, reason, sizeof reason);

    return vmoe_fail(error, VMOE_ERR_IO, path, "cannot %s: %s", what, text);
#else
    (void)strerror_r(code, reason, sizeof reason);
    return vmoe_fail(error, VMOE_ERR_IO, path, "cannot %s: %s", what, reason);
#endif
}

/*
 * Opens a file to read; -1, with errno, if that fails.  A FIFO must not block it, nor a terminal
 * become that of the process.  What somebody has leased, as servers of files do for their clients,
 * cannot be opened before it is given back, which the first attempt asks for, and Linux sees to.
 */
static int open_to_read(const char *path)
{
    static const struct timespec nap = { 0, LEASE_NAP_NANOSECONDS };

    for (unsigned naps = 0;;) {
        const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

        if (descriptor >= 0 || (errno != EINTR && errno != EWOULDBLOCK) || naps == LEASE_NAPS)
            return descriptor;
        if (errno == EWOULDBLOCK) {
            nanosleep(&nap, NULL);
            naps++;
        }
    }
}

static vmoe_status irregular(const char *path, vmoe_error *error)
{
    return vmoe_fail(error, VMOE_ERR_IO, path, "this is not a regular file");
}

/* Tells the size of a file that is regular and within the limit. */
static vmoe_status measure(int descriptor, const char *path, uint64_t *size, vmoe_error *error)
{
    struct stat info;

    if (fstat(descriptor, &info) != 0)
        return io_error(error, path, "examine the file");
    if (!S_ISREG(info.st_mode))
        return irregular(path, error);
    if ((uint64_t)info.st_size > VMOE_LIMIT_FILE_BYTES)
        return vmoe_fail(error, VMOE_ERR_LIMIT, path, "the file has %llu bytes, the limit is %llu",
                         (unsigned long long)info.st_size,
                         (unsigned long long)VMOE_LIMIT_FILE_BYTES);
    *size = (uint64_t)info.st_size;
    return VMOE_OK;
}

vmoe_status vmoe_file_open(const char *path, struct vmoe_file *file, vmoe_error *error)
{
    struct stat info;
    vmoe_status status;

    file->descriptor = -1;
    file->size = 0;
    /* Whoever waits at a FIFO, and some devices, would notice already that they are opened. */
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return irregular(path, error);
    file->descriptor = open_to_read(path);
    if (file->descriptor < 0)
        return io_error(error, path, "open the file");
    status = measure(file->descriptor, path, &file->size, error);
    if (status != VMOE_OK)
        vmoe_file_close(file);
    return status;
}

void vmoe_file_close(struct vmoe_file *file)
{
    if (file->descriptor >= 0)
        close(file->descriptor);
    file->descriptor = -1;
}

vmoe_status vmoe_file_read(const struct vmoe_file *file, const char *path, uint64_t offset,
                           void *buffer, size_t bytes, vmoe_error *error)
{
    uint8_t *to = buffer;
    uint64_t end;

    if (!vmoe_add_u64(offset, bytes, &end) || end > file->size)
        return vmoe_fail(error, VMOE_ERR_FORMAT, path,
                         "the file ends at byte %llu, but %zu bytes at %llu were expected",
                         (unsigned long long)file->size, bytes, (unsigned long long)offset);
    while (bytes > 0) {
        size_t part = vmoe_smaller(bytes, TRANSFER_MAX);
        ssize_t got = pread(file->descriptor, to, part, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return io_error(error, path, "read the file");
        if (got == 0)
            return vmoe_fail(error, VMOE_ERR_FORMAT, path,
                             "the file shrank while it was read: nothing at byte %llu",
                             (unsigned long long)offset);
        to += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return VMOE_OK;
}

bool vmoe_file_same(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

vmoe_status vmoe_file_map(const struct vmoe_file *file, const char *path, const void **data,
                          vmoe_error *error)
{
    size_t size;
    void *mapping;

    *data = NULL;
    if (!vmoe_to_size(file->size, &size) || size == 0)
        return vmoe_fail(error, VMOE_ERR_FORMAT, path, "a file of %llu bytes cannot be mapped",
                         (unsigned long long)file->size);
    mapping = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file->descriptor, 0);
    if (mapping == MAP_FAILED)
        return io_error(error, path, "map the file");
    *data = mapping;
    return VMOE_OK;
}

void vmoe_file_unmap(const void *data, uint64_t size)
{
    if (data != NULL)
        munmap((void *)(uintptr_t)data, (size_t)size);
}

/* ---- Writing -------------------------------------------------------------------------------- */

#define NAME_TRIES 100u

/* Opens a folder that need not be listed: POSIX has O_SEARCH for it, Linux O_PATH. */
#ifndef O_SEARCH
#define O_SEARCH O_PATH
#endif

/*
 * A rename would put a file in the place of a device or a pipe, or of what cannot be seen.  `old`
 * is the file that will be replaced, or the one that a link leads to, if there `exists` one.
 */
static vmoe_status examine_target(const char *target, struct stat *old, bool *exists,
                                  vmoe_error *error)
{
    *exists = stat(target, old) == 0;
    if (*exists && !S_ISREG(old->st_mode))
        return vmoe_fail(error, VMOE_ERR_IO, target, "the target exists and is not a regular file");
    if (!*exists && errno != ENOENT && errno != ELOOP)
        return io_error(error, target, "examine the target");
    return VMOE_OK;
}

static const char *name_in(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

/* Bytes of a name that a temporary one begins with: whole characters. */
static size_t kept_bytes(const char *name)
{
    size_t kept = strlen(name);

    if (kept > VMOE_NAME_KEPT) {
        kept = VMOE_NAME_KEPT;
        while (kept > 0 && (name[kept] & 0xc0) == 0x80)
            kept--;
    }
    return kept;
}

static int open_folder(const char *path, int access)
{
    int descriptor;

    do
        descriptor = open(path, access | O_DIRECTORY | O_CLOEXEC);
    while (descriptor < 0 && errno == EINTR);
    return descriptor;
}

/* A folder in which files may be written but not listed can be opened, and not be flushed. */
static vmoe_status hold_folder(struct vmoe_file_writer *writer, const vmoe_allocator *allocator,
                               vmoe_error *error)
{
    const char *const target = writer->target;
    const size_t bytes = (size_t)(name_in(target) - target);
    char *path = vmoe_memory_take(allocator, bytes + 2);

    if (path == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, target, "no memory for a file name");
    memcpy(path, target, bytes);
    strcpy(path + bytes, "."); /* the folder itself, be the path empty, "/" or "a/" */
    writer->folder = open_folder(path, O_RDONLY);
    if (writer->folder < 0 && errno == EACCES)
        writer->folder = open_folder(path, O_SEARCH);
    vmoe_memory_release(allocator, path);
    return writer->folder >= 0 ? VMOE_OK : io_error(error, target, "open the folder of the file");
}

/* Of the clock, because killed processes with this one's number may have left all small ones. */
static uint64_t first_number(void)
{
    struct timespec now = { 0, 0 };

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Opens the first free name; -1, with errno, if there is none. */
static int open_new(struct vmoe_file_writer *writer, mode_t rights)
{
    const char *const name = name_in(writer->target);
    const size_t kept = kept_bytes(name);
    const uint64_t first = first_number();
    int descriptor = -1;

    memcpy(writer->temporary, name, kept);
    for (unsigned i = 0; i < NAME_TRIES; i++) {
        snprintf(writer->temporary + kept, VMOE_SUFFIX_BYTES, ".tmp-%lx-%llx",
                 (unsigned long)getpid(), (unsigned long long)(first + i));
        do
            descriptor = openat(writer->folder, writer->temporary,
                                O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, rights);
        while (descriptor < 0 && errno == EINTR);
        if (descriptor >= 0 || errno != EEXIST)
            break;
    }
    return descriptor;
}

static vmoe_status create_temporary(struct vmoe_file_writer *writer, mode_t rights,
                                    vmoe_error *error)
{
    char what[sizeof writer->temporary + 32];

    writer->descriptor = open_new(writer, rights);
    if (writer->descriptor >= 0)
        return VMOE_OK;
    snprintf(what, sizeof what, "create %s in its folder", writer->temporary);
    writer->temporary[0] = '\0';
    return io_error(error, writer->target, what);
}

/*
 * The new file is for those whom the old one is for.  Where this process may not give it to the old
 * one's group, its own has no more rights than everybody.
 */
static vmoe_status keep_rights(const struct vmoe_file_writer *writer, const struct stat *old,
                               vmoe_error *error)
{
    const int file = writer->descriptor;
    mode_t rights = old->st_mode & 0777;
    struct stat now;

    if (fstat(file, &now) != 0)
        return io_error(error, writer->target, "keep the rights of the file");
    if ((now.st_uid != old->st_uid || now.st_gid != old->st_gid) &&
        fchown(file, old->st_uid, old->st_gid) != 0 && fchown(file, (uid_t)-1, old->st_gid) != 0)
        rights &= 0707 | (rights & 07) << 3;
    if ((now.st_mode & 0777) != rights && fchmod(file, rights) != 0)
        return io_error(error, writer->target, "keep the rights of the file");
    return VMOE_OK;
}

vmoe_status vmoe_file_writer_open(struct vmoe_file_writer *writer, const char *target,
                                  const vmoe_allocator *allocator, vmoe_error *error)
{
    struct stat old;
    vmoe_status status;
    bool exists;

    *writer = (struct vmoe_file_writer)VMOE_FILE_WRITER_CLOSED;
    writer->target = target;
    status = examine_target(target, &old, &exists, error);
    if (status == VMOE_OK)
        status = hold_folder(writer, allocator, error);
    /* It is for its owner alone until it has the group of the old file. */
    if (status == VMOE_OK)
        status = create_temporary(writer, exists ? old.st_mode & 0700 : 0666, error);
    if (status == VMOE_OK && exists)
        status = keep_rights(writer, &old, error);
    if (status != VMOE_OK)
        vmoe_file_writer_abandon(writer);
    return status;
}

#if defined(_POSIX_REALTIME_SIGNALS) && _POSIX_REALTIME_SIGNALS > 0
/*
 * Where a file may not grow (RLIMIT_FSIZE), the system says EFBIG, and sends the writing thread
 * SIGXFSZ, which would end the host.  The signal is kept waiting and then taken away, unless one of
 * the host's waited before.
 */
static ssize_t write_at(int descriptor, const void *bytes, size_t count, uint64_t offset)
{
    static const struct timespec at_once = { 0, 0 };
    sigset_t limit, blocked, waiting;
    ssize_t put;
    int code;

    sigemptyset(&limit);
    sigaddset(&limit, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &limit, &blocked);
    sigpending(&waiting);
    put = pwrite(descriptor, bytes, count, (off_t)offset);
    code = errno;
    if (put < 0 && code == EFBIG && !sigismember(&waiting, SIGXFSZ))
        while (sigtimedwait(&limit, NULL, &at_once) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &blocked, NULL);
    errno = code;
    return put;
}
#else
/* Without sigtimedwait (macOS), hosts that set RLIMIT_FSIZE have to ignore SIGXFSZ themselves. */
static ssize_t write_at(int descriptor, const void *bytes, size_t count, uint64_t offset)
{
    return pwrite(descriptor, bytes, count, (off_t)offset);
}
#endif

vmoe_status vmoe_file_writer_write(struct vmoe_file_writer *writer, uint64_t offset,
                                   const void *bytes, size_t count, vmoe_error *error)
{
    const uint8_t *from = bytes;

    while (count > 0) {
        size_t part = vmoe_smaller(count, TRANSFER_MAX);
        ssize_t put = write_at(writer->descriptor, from, part, offset);

        if (put < 0 && errno == EINTR)
            continue;
        if (put == 0)
            errno = ENOSPC; /* nothing was written and no reason given: never try forever */
        if (put <= 0)
            return io_error(error, writer->target, "write the file");
        from += put;
        offset += (uint64_t)put;
        count -= (size_t)put;
    }
    return VMOE_OK;
}

static int flush(int descriptor)
{
    int failed;

    do
        failed = fsync(descriptor);
    while (failed != 0 && errno == EINTR);
    return failed;
}

static void let_folder_go(struct vmoe_file_writer *writer)
{
    if (writer->folder >= 0)
        close(writer->folder);
    writer->folder = -1;
}

vmoe_status vmoe_file_writer_commit(struct vmoe_file_writer *writer, vmoe_error *error)
{
    vmoe_status status = VMOE_OK;

    if (flush(writer->descriptor) != 0)
        status = io_error(error, writer->target, "flush the file");
    /* Interrupted, it is closed nevertheless, and what it holds was flushed. */
    if (close(writer->descriptor) != 0 && errno != EINTR && status == VMOE_OK)
        status = io_error(error, writer->target, "close the file");
    writer->descriptor = -1;
    if (status == VMOE_OK && renameat(writer->folder, writer->temporary, writer->folder,
                                      name_in(writer->target)) != 0)
        status = io_error(error, writer->target, "rename the finished file");
    if (status != VMOE_OK) {
        vmoe_file_writer_abandon(writer);
        return status;
    }
    writer->temporary[0] = '\0';
    /* Makes the rename itself durable, which some folders leave to the system. */
    if (flush(writer->folder) != 0 && errno != EBADF && errno != EINVAL && errno != EROFS)
        status = io_error(error, writer->target, "flush the folder of the file, which is complete");
    let_folder_go(writer);
    return status;
}

void vmoe_file_writer_abandon(struct vmoe_file_writer *writer)
{
    if (writer->descriptor >= 0)
        close(writer->descriptor);
    writer->descriptor = -1;
    if (writer->temporary[0] != '\0')
        unlinkat(writer->folder, writer->temporary, 0);
    writer->temporary[0] = '\0';
    let_folder_go(writer);
}
