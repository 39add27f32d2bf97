/*
 * A host with threads of its own: each takes the next picture and classifies it on one shared
 * handle, with one thread a call.  Results come in the order of the arguments whatever the number
 * of threads, and a broken picture is a line like any other.
 *
 *     cc classify_folder.c $(pkg-config --cflags --libs libvmoe) -lpthread -o classify_folder
 *     classify_folder MODEL.vmoe THREADS PICTURE.jpg ...
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <vmoe.h>

struct answer {
    vmoe_class best;
    vmoe_error error;
};

struct job {
    const vmoe_model *model;
    char **paths;
    size_t count;
    struct answer *answers;
    size_t next; /* to take, under the lock */
    pthread_mutex_t lock;
};

static size_t take_next(struct job *job)
{
    size_t taken;

    pthread_mutex_lock(&job->lock);
    taken = job->next++;
    pthread_mutex_unlock(&job->lock);
    return taken;
}

/* The bytes of a file, or NULL. */
static void *read_whole(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    void *data = NULL;
    long end;

    if (file == NULL)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) > 0 && fseek(file, 0, SEEK_SET) == 0 &&
        (data = malloc((size_t)end)) != NULL)
        *bytes = fread(data, 1, (size_t)end, file);
    fclose(file);
    return data;
}

static void *work(void *context)
{
    struct job *job = context;
    vmoe_options options = VMOE_OPTIONS_INIT;
    size_t i;

    options.threads = 1; /* the host's threads are enough */
    while ((i = take_next(job)) < job->count) {
        struct answer *answer = &job->answers[i];
        size_t bytes = 0;
        void *jpeg = read_whole(job->paths[i], &bytes);

        if (jpeg != NULL) {
            vmoe_classify_jpeg(job->model, jpeg, bytes, &options, &answer->best, 1,
                               &answer->error);
        } else {
            answer->error.status = VMOE_ERR_IO;
            snprintf(answer->error.text, sizeof answer->error.text, "the file cannot be read");
        }
        free(jpeg);
    }
    return NULL;
}

/* Prints a line for each picture; returns how many are broken. */
static size_t print_answers(const struct job *job)
{
    size_t broken = 0;

    for (size_t i = 0; i < job->count; i++) {
        const struct answer *answer = &job->answers[i];

        if (answer->error.status == VMOE_OK)
            printf("%s\t%s\t%.9g\n", job->paths[i], answer->best.label,
                   (double)answer->best.probability);
        else
            printf("%s\terror\t%s\n", job->paths[i], answer->error.text);
        broken += answer->error.status != VMOE_OK;
    }
    return broken;
}

int main(int argc, char **argv)
{
    const long wanted = argc > 3 ? strtol(argv[2], NULL, 10) : 0;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model = NULL;
    struct job job = { .lock = PTHREAD_MUTEX_INITIALIZER };
    pthread_t threads[64];
    size_t broken, started = 0;

    if (wanted < 1 || wanted > 64) {
        fprintf(stderr, "usage: classify_folder MODEL.vmoe THREADS(1..64) PICTURE.jpg...\n");
        return 2;
    }
    if (vmoe_load_file(argv[1], NULL, &model, &error) != VMOE_OK) {
        fprintf(stderr, "%s: %s\n", error.where, error.text);
        return 1;
    }
    job.model = model;
    job.paths = argv + 3;
    job.count = (size_t)(argc - 3);
    job.answers = calloc(job.count, sizeof *job.answers);
    if (job.answers == NULL) {
        vmoe_free(model);
        return 1;
    }
    while (started + 1 < (size_t)wanted &&
           pthread_create(&threads[started], NULL, work, &job) == 0)
        started++;
    work(&job); /* the main thread is one of them */
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    broken = print_answers(&job);
    free(job.answers);
    vmoe_free(model);
    return broken == 0 ? 0 : 1;
}
