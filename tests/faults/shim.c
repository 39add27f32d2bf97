/* The wrappers.  A call that is told to fail is not made, except close, which always closes. */
#define _GNU_SOURCE
#include "faults/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct shim shim;

void shim_arm(struct shim plan)
{
    shim = plan;
    shim.armed = true;
}

void shim_disarm(void)
{
    shim.armed = false;
}

/* 0 if the call shall be made, or what it shall fail with. */
static int verdict(enum shim_call call)
{
    size_t number;

    if (!shim.armed)
        return 0;
    number = ++shim.counts[call];
    if (shim.at != 0 && call == shim.call &&
        (number == shim.at || (shim.persistent && number > shim.at)))
        return shim.error;
    if (shim.interrupted && number % 2 == 1 &&
        (call == SHIM_OPEN || call == SHIM_READ || call == SHIM_WRITE || call == SHIM_SYNC ||
         call == SHIM_CLOSE))
        return EINTR;
    return 0;
}

/* The same for functions that answer -1 and set errno. */
static int refuse(enum shim_call call)
{
    const int error = verdict(call);

    if (error != 0)
        errno = error;
    return error != 0 ? -1 : 0;
}

static size_t at_most(size_t bytes)
{
    return shim.armed && shim.most != 0 && shim.most < bytes ? shim.most : bytes;
}

#define WRAP(result, name, parameters) \
    result __real_##name parameters;   \
    result __wrap_##name parameters;   \
    result __wrap_##name parameters

/* ---- Files ---------------------------------------------------------------------------------- */

WRAP(int, open64, (const char *path, int flags, ...))
{
    return refuse(SHIM_OPEN) != 0 ? -1 : __real_open64(path, flags);
}

/* The library makes files with this one only. */
WRAP(int, openat64, (int folder, const char *name, int flags, ...))
{
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
    if (shim.armed && shim.in_the_way > 0 && symlinkat(shim.victim, folder, name) == 0)
        shim.in_the_way--;
    return refuse(SHIM_OPEN) != 0 ? -1 : __real_openat64(folder, name, flags, mode);
}

WRAP(int, fstat64, (int file, struct stat *info))
{
    return refuse(SHIM_FSTAT) != 0 ? -1 : __real_fstat64(file, info);
}

WRAP(int, stat64, (const char *path, struct stat *info))
{
    return refuse(SHIM_STAT) != 0 ? -1 : __real_stat64(path, info);
}

WRAP(int, fchmod, (int file, mode_t mode))
{
    return refuse(SHIM_CHMOD) != 0 ? -1 : __real_fchmod(file, mode);
}

WRAP(ssize_t, pread64, (int file, void *buffer, size_t bytes, off_t offset))
{
    const int error = verdict(SHIM_READ);

    if (error == SHIM_NOTHING)
        return 0;
    errno = error;
    return error != 0 ? -1 : __real_pread64(file, buffer, at_most(bytes), offset);
}

WRAP(ssize_t, pwrite64, (int file, const void *buffer, size_t bytes, off_t offset))
{
    const int error = verdict(SHIM_WRITE);

    if (error == SHIM_NOTHING)
        return 0;
    errno = error;
    return error != 0 ? -1 : __real_pwrite64(file, buffer, at_most(bytes), offset);
}

WRAP(void *, mmap64, (void *address, size_t bytes, int protection, int flags, int file, off_t at))
{
    return refuse(SHIM_MAP) != 0 ? MAP_FAILED
                                 : __real_mmap64(address, bytes, protection, flags, file, at);
}

/* An armed shim spares the disk. */
WRAP(int, fsync, (int file))
{
    if (refuse(SHIM_SYNC) != 0)
        return -1;
    return shim.armed ? 0 : __real_fsync(file);
}

/* Linux has closed the file whatever close answers. */
WRAP(int, close, (int file))
{
    const int closed = __real_close(file);

    return refuse(SHIM_CLOSE) != 0 ? -1 : closed;
}

WRAP(int, renameat, (int from_folder, const char *from, int to_folder, const char *to))
{
    if (shim.armed && shim.counts[SHIM_RENAME] == 0)
        memcpy(shim.at_rename, shim.counts, sizeof shim.counts);
    return refuse(SHIM_RENAME) != 0 ? -1 : __real_renameat(from_folder, from, to_folder, to);
}

WRAP(int, unlinkat, (int folder, const char *name, int flags))
{
    return refuse(SHIM_UNLINK) != 0 ? -1 : __real_unlinkat(folder, name, flags);
}

/* ---- Threads, which answer their error ------------------------------------------------------ */

WRAP(int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attributes, void *(*start)(void *), void *context))
{
    const int error = verdict(SHIM_THREAD);

    return error != 0 ? error : __real_pthread_create(thread, attributes, start, context);
}

WRAP(int, pthread_mutex_init, (pthread_mutex_t * lock, const pthread_mutexattr_t *attributes))
{
    const int error = verdict(SHIM_LOCK);

    return error != 0 ? error : __real_pthread_mutex_init(lock, attributes);
}

WRAP(int, pthread_cond_init, (pthread_cond_t * condition, const pthread_condattr_t *attributes))
{
    const int error = verdict(SHIM_CONDITION);

    return error != 0 ? error : __real_pthread_cond_init(condition, attributes);
}

WRAP(int, pthread_attr_init, (pthread_attr_t * attributes))
{
    const int error = verdict(SHIM_ATTRIBUTES);

    return error != 0 ? error : __real_pthread_attr_init(attributes);
}

WRAP(int, pthread_attr_setstacksize, (pthread_attr_t * attributes, size_t bytes))
{
    const int error = verdict(SHIM_STACK);

    return error != 0 ? error : __real_pthread_attr_setstacksize(attributes, bytes);
}
