/*
 * A service that answers in time: hold_deadline MODEL.vmoe MILLISECONDS [FILE.jpg ...]
 *
 *     cc hold_deadline.c $(pkg-config --cflags --libs libvmoe) -o hold_deadline
 *
 * It takes paths of pictures, from the command line or one a line from stdin, as requests, and
 * answers each with a line: the path, the capacity that was chosen, milliseconds, whether that is
 * in time, and the class.  On a busy machine answers become coarser, not late.
 */
#define _POSIX_C_SOURCE 200809L
#include <string.h>
#include <time.h>

#include "deadline.h"
#include "read_file.h"

#define PATH_BYTES 4096u

struct service {
    vmoe_model *model;
    struct deadline deadline;
    double seconds; /* the deadline */
};

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* BPR gives what slots there are to the tokens that matter most. */
static vmoe_status classify(struct service *service, size_t rung, const void *jpeg, size_t bytes,
                            vmoe_class *best, vmoe_error *error)
{
    vmoe_options options = VMOE_OPTIONS_INIT;

    options.group_images = 1; /* a request comes alone, whatever groups the file says */
    options.capacity = service->deadline.rungs[rung].capacity;
    options.priority = VMOE_PRIORITY_BPR_MAX;
    return vmoe_classify_jpeg(service->model, jpeg, bytes, &options, best, 1, error);
}

/* One request and its answer; 1 if it failed. */
static int answer(struct service *service, const char *path)
{
    const size_t rung = deadline_choose(&service->deadline);
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_class best;
    size_t bytes;
    const double begin = now(); /* reading takes time, too */
    void *jpeg = read_file(path, &bytes);
    double seconds;

    if (jpeg == NULL) {
        printf("%s\terror\tthe file cannot be read\n", path);
        return 1;
    }
    if (classify(service, rung, jpeg, bytes, &best, &error) != VMOE_OK) {
        printf("%s\terror\t%s\n", path, error.text);
        free(jpeg);
        return 1;
    }
    seconds = now() - begin;
    deadline_learn(&service->deadline, rung, seconds);
    printf("%s\t%.3f\t%.3f\t%s\t%u\t%s\n", path, service->deadline.rungs[rung].capacity,
           1e3 * seconds, seconds <= service->seconds ? "in time" : "late", best.index, best.label);
    free(jpeg);
    return 0;
}

static int answer_lines(struct service *service)
{
    char line[PATH_BYTES];
    int failed = 0;

    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        failed |= answer(service, line);
        fflush(stdout);
    }
    return failed;
}

/* 0 if the text is no time. */
static double read_seconds(const char *text)
{
    char *end;
    const double milliseconds = strtod(text, &end);

    return *end == '\0' && milliseconds > 0.0 && milliseconds < 1e9 ? milliseconds / 1e3 : 0.0;
}

int main(int argc, char **argv)
{
    struct service service = { .seconds = argc >= 3 ? read_seconds(argv[2]) : 0.0 };
    vmoe_info info = VMOE_INFO_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    int failed = 0;

    if (!(service.seconds > 0.0)) {
        fprintf(stderr, "usage: hold_deadline MODEL.vmoe MILLISECONDS [FILE.jpg ...]\n");
        return 2;
    }
    if (vmoe_load_file(argv[1], NULL, &service.model, &error) != VMOE_OK ||
        vmoe_get_info(service.model, &info, &error) != VMOE_OK ||
        deadline_begin(&service.deadline, &info, service.seconds, &error) != VMOE_OK) {
        fprintf(stderr, "hold_deadline: %s: %s\n", error.where, error.text);
        vmoe_free(service.model);
        return 1;
    }
    for (int i = 3; i < argc; i++)
        failed |= answer(&service, argv[i]);
    if (argc == 3)
        failed = answer_lines(&service);
    vmoe_free(service.model);
    return failed;
}
