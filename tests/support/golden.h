/*
 * Upstream's models with upstream's answers: the checkpoints models/NAME, dense and e3 (an ensemble
 * of experts), and the released geometries with weights by formula, geometry/NAME.
 */
#ifndef VMOE_TESTS_GOLDEN_H
#define VMOE_TESTS_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <vmoe.h>

#include "support/support.h"

/* Strict float32 stays this close to upstream's float64 answers. */
#define GOLDEN_TOLERANCE 2e-5

struct golden {
    char kind[16], name[32]; /* of the folder, and in it */
    struct npy pixels;       /* uint8 (images, side, side, 3) */
    struct npy logits, load; /* of all cases, or of none */
    struct table table;      /* of the dial; `dense` has none */
    size_t *rows;            /* of the cases in the table */
    size_t cases;
};

/* True if the data are here. */
bool golden_is_here(const char *path);

/* Fails the test if they are not. */
struct golden golden_open(const char *path);
void golden_close(struct golden *golden);

/* The model, imported with weights of this precision. */
vmoe_model *golden_model(const struct golden *golden, uint32_t precision);

/* The pixels as the float tensors that they become; free() releases them. */
float *golden_tensor(const struct golden *golden);

/* Sets the dial of a case. */
void golden_dial(const struct golden *golden, size_t i, vmoe_options *options);

/* Upstream's logits in a case, (images, members, classes); free() releases them. */
float *golden_logits(const struct golden *golden, size_t i);

/*
 * Runs the pixels in a case.  Capacity and loads must be upstream's where the data say them; the
 * result is the largest difference of the logits.
 */
double golden_difference(const struct golden *golden, const vmoe_model *model, size_t i,
                         uint32_t isa);

#endif
