/* The kinds of call that a soak makes; each knows which outcomes are right. */
#ifndef VMOE_TESTS_SOAK_CALLS_H
#define VMOE_TESTS_SOAK_CALLS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmoe.h>

#include "../examples/c/deadline.h"

#define SOAK_MODELS 4u
#define SOAK_SETTINGS 24u
#define SOAK_IMAGES 4u
#define SOAK_STATUSES 12u
#define SOAK_KINDS 11u

/* One way to call a model, and the logits that it gives. */
struct soak_setting {
    vmoe_options options;
    size_t images;
    float *logits;
};

/* A file, the handle of it that all threads share, and what that answers. */
struct soak_model {
    char path[512];
    uint8_t *bytes; /* the file, aligned for use in place */
    size_t length;
    vmoe_model *model;
    vmoe_info info;
    float *tensor; /* SOAK_IMAGES of them */
    struct soak_setting settings[SOAK_SETTINGS];
    vmoe_class top; /* for the picture */
};

struct soak {
    struct soak_model models[SOAK_MODELS];
    uint8_t *picture; /* a JPEG */
    size_t picture_bytes;
};

/* A thread of the soak. */
struct soak_worker {
    const struct soak *soak;
    uint64_t random;
    int32_t cancel;         /* the flag of its present call */
    atomic_bool cancelling; /* another thread may set it */
    struct deadline deadline;
    uint64_t late;
    uint64_t outcomes[SOAK_KINDS][SOAK_STATUSES];
    uint64_t wrong[SOAK_KINDS];
};

extern const char *const soak_kind_names[SOAK_KINDS];

/* Makes the models below the scratch folder, and answers every setting once. */
void soak_open(struct soak *soak, const char *demo, const char *picture);
void soak_close(struct soak *soak);

void soak_worker_init(struct soak_worker *worker, const struct soak *soak, uint64_t seed);

/* Makes one call and notes its outcome. */
void soak_call(struct soak_worker *worker);

/* A random number below `below`. */
uint32_t soak_random(uint64_t *state, uint32_t below);

#endif
