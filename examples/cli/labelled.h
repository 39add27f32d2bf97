/*
 * Labelled pictures: a folder with one folder of JPEG pictures for each class, or the idx files in
 * which MNIST and its kin are kept.  They come in batches, ready for the model.
 */
#ifndef VMOE_CLI_LABELLED_H
#define VMOE_CLI_LABELLED_H

#include <stdbool.h>
#include <stddef.h>
#include <vmoe.h>

#include "paths.h"

struct labelled {
    const vmoe_model *model;
    vmoe_info info;
    size_t count; /* of all pictures */
    size_t next;  /* the first of the next batch */
    size_t broken; /* so far: pictures that were reported and left out */
    uint32_t *labels; /* of all pictures */
    struct paths paths; /* of all pictures in folders */
    uint8_t *gray;      /* of all pictures in idx files, else NULL */
    uint32_t rows, columns;
    /* The batch. */
    size_t room; /* images */
    vmoe_input input;
    uint32_t *batch_labels;
    void *values;
};

/*
 * `path` is a folder of folders, named by the classes' labels or numbers (a '/' in a label is a '-' or
 * '_' there, and case counts only where classes differ in nothing else); an idx file with "images"
 * in its name, beside one with "labels" instead; or a folder with such files of a test set.  At most
 * `most` pictures are taken, evenly spread (0: all).  labelled_close is needed after failures too.
 */
vmoe_status labelled_open(struct labelled *labelled, const vmoe_model *model, const char *path,
                          size_t most, vmoe_error *error);
void labelled_close(struct labelled *labelled);

/*
 * Fills `input` and `batch_labels` with the next pictures, a multiple of `group` but in the last
 * batch, where what is left over is dropped.  `input.images` is 0 at the end.  Pictures that cannot be
 * read are reported and left out.
 */
vmoe_status labelled_next(struct labelled *labelled, uint32_t group, vmoe_error *error);

#endif
