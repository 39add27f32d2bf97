/*
 * A folder of pictures on a thread pool of the host's own: classify_folder MODEL.vmoe FOLDER [THREADS]
 *
 *     cc classify_folder.c $(pkg-config --cflags --libs libvmoe) -lpthread -o classify_folder
 *
 * One handle serves all threads, and each call has one thread, because the host brings enough.  The
 * queue is a ring of slots: the main thread reads files into it, workers classify what they find, and
 * the main thread prints the oldest slot before it fills it again.  So at most SLOTS pictures are in
 * memory, lines come in the order of the names whatever the number of threads, and a broken picture is
 * a line like any other.
 */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <vmoe.h>

#include "read_file.h"

#define SLOTS 64u
#define THREADS_MOST 256
#define PATH_BYTES 4096u

struct slot {
    void *jpeg; /* NULL: the file could not be read */
    size_t bytes;
    vmoe_class best;
    vmoe_error error;
    int done;
};

/* Pictures are counted from 0; picture i is in slot i % SLOTS.  The lock guards what follows it. */
struct pool {
    const vmoe_model *model;
    pthread_mutex_t lock;
    pthread_cond_t filled_one, finished_one;
    size_t filled, taken;
    int closed; /* nothing more will be filled */
    struct slot slots[SLOTS];
};

/* ---- Workers -------------------------------------------------------------------------------- */

static void classify(const vmoe_model *model, struct slot *slot)
{
    vmoe_options options = VMOE_OPTIONS_INIT;

    if (slot->jpeg == NULL) {
        slot->error.status = VMOE_ERR_IO;
        snprintf(slot->error.text, sizeof slot->error.text, "the file cannot be read");
        return;
    }
    options.threads = 1;
    options.group_images = 1; /* a call has one picture, whatever groups the file says */
    vmoe_classify_jpeg(model, slot->jpeg, slot->bytes, &options, &slot->best, 1, &slot->error);
    free(slot->jpeg);
    slot->jpeg = NULL;
}

static void *work(void *context)
{
    struct pool *pool = context;

    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct slot *slot;

        while (pool->taken == pool->filled && !pool->closed)
            pthread_cond_wait(&pool->filled_one, &pool->lock);
        if (pool->taken == pool->filled)
            break;
        slot = &pool->slots[pool->taken++ % SLOTS];
        pthread_mutex_unlock(&pool->lock);
        classify(pool->model, slot);
        pthread_mutex_lock(&pool->lock);
        slot->done = 1;
        pthread_cond_signal(&pool->finished_one);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* ---- The main thread ------------------------------------------------------------------------ */

/* Reads the next picture into its slot, which is free, and lets a worker know. */
static void fill(struct pool *pool, const char *folder, const char *name)
{
    static const vmoe_error no_error = VMOE_ERROR_INIT;
    struct slot *slot = &pool->slots[pool->filled % SLOTS];
    char path[PATH_BYTES];
    const int length = snprintf(path, sizeof path, "%s/%s", folder, name);

    slot->jpeg = length < (int)sizeof path ? read_file(path, &slot->bytes) : NULL;
    slot->error = no_error;
    slot->done = 0;
    pthread_mutex_lock(&pool->lock);
    pool->filled++;
    pthread_cond_signal(&pool->filled_one);
    pthread_mutex_unlock(&pool->lock);
}

/* Waits for a picture and prints its line; 1 if it is broken. */
static size_t print(struct pool *pool, size_t picture, const char *name)
{
    const struct slot *slot = &pool->slots[picture % SLOTS];

    pthread_mutex_lock(&pool->lock);
    while (!slot->done)
        pthread_cond_wait(&pool->finished_one, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    if (slot->error.status != VMOE_OK) {
        printf("%s\terror\t%s\n", name, slot->error.text);
        return 1;
    }
    printf("%s\t%u\t%s\t%.9g\n", name, slot->best.index, slot->best.label,
           (double)slot->best.probability);
    return 0;
}

static int is_jpeg(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');

    return dot != NULL && (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0);
}

/* Classifies all pictures; returns how many are broken. */
static size_t classify_all(struct pool *pool, const char *folder, struct dirent **names,
                           size_t count)
{
    size_t broken = 0;

    for (size_t printed = 0; printed < count; printed++) {
        while (pool->filled < count && pool->filled - printed < SLOTS)
            fill(pool, folder, names[pool->filled]->d_name);
        broken += print(pool, printed, names[printed]->d_name);
    }
    return broken;
}

/* The same with threads around it; -1 if not even one could be started. */
static long run_pool(struct pool *pool, long wanted, const char *folder, struct dirent **names,
                     size_t count)
{
    static pthread_t threads[THREADS_MOST];
    long started = 0, broken = -1;

    while (started < wanted && pthread_create(&threads[started], NULL, work, pool) == 0)
        started++;
    if (started > 0)
        broken = (long)classify_all(pool, folder, names, count);
    pthread_mutex_lock(&pool->lock);
    pool->closed = 1;
    pthread_cond_broadcast(&pool->filled_one);
    pthread_mutex_unlock(&pool->lock);
    while (started > 0)
        pthread_join(threads[--started], NULL);
    return broken;
}

/* The threads that were asked for, or one for each CPU; 0 if that is no number of threads. */
static long count_threads(const char *text)
{
    char *end = NULL;
    const long count = text != NULL ? strtol(text, &end, 10) : sysconf(_SC_NPROCESSORS_ONLN);

    if (text == NULL)
        return count < 1 ? 1 : count > THREADS_MOST ? THREADS_MOST : count;
    return *end != '\0' || count < 1 || count > THREADS_MOST ? 0 : count;
}

static int complain(const char *where, const char *text)
{
    fprintf(stderr, "classify_folder: %s: %s\n", where, text);
    return 1;
}

int main(int argc, char **argv)
{
    static struct pool pool = { .lock = PTHREAD_MUTEX_INITIALIZER,
                                .filled_one = PTHREAD_COND_INITIALIZER,
                                .finished_one = PTHREAD_COND_INITIALIZER };
    const long threads = argc == 3 || argc == 4 ? count_threads(argv[3]) : 0;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model = NULL;
    struct dirent **names;
    long broken;
    int count;

    if (threads == 0) {
        fprintf(stderr, "usage: classify_folder MODEL.vmoe FOLDER [THREADS, 1..256]\n");
        return 2;
    }
    if (vmoe_load_file(argv[1], NULL, &model, &error) != VMOE_OK)
        return complain(error.where, error.text);
    count = scandir(argv[2], &names, is_jpeg, alphasort);
    if (count < 0) {
        vmoe_free(model);
        return complain(argv[2], strerror(errno));
    }
    pool.model = model;
    broken = run_pool(&pool, threads, argv[2], names, (size_t)count);
    if (broken < 0)
        complain("threads", "none could be started");
    else
        fprintf(stderr, "%d pictures, %ld broken\n", count, broken);
    vmoe_free(model);
    while (count > 0)
        free(names[--count]);
    free(names);
    return broken == 0 ? 0 : 1;
}
