/*
 * Small models of odd sizes, made when they are needed, and images for them.  Every dimension
 * leaves a rest in the packed layout, so padding is always in play.
 */
#ifndef VMOE_TESTS_TINY_H
#define VMOE_TESTS_TINY_H

#include <vmoe.h>

#include "checkpoint/source.h"

/*
 * 1 under a sanitizer or, if so compiled, an emulator; they make everything ten times slower and
 * more: the large loops thin out.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(EMULATED)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/*
 * 12 px in patches of 4 (9 patches), width 12 in 2 heads, MLPs of 20, blocks 1 and 2 of 3 with 4
 * experts, 5 classes.  The fields that importing fills are still zero.
 */
vmoe_info tiny_info(uint32_t classifier);

/*
 * 24 px in patches of 4 (36 patches), width 72 in 3 heads, MLPs of 136, blocks 1 and 3 of 4 with 6
 * experts, 17 classes: large enough that several threads find work.
 */
vmoe_info medium_info(uint32_t classifier);

/* The smallest model that has every kind of tensor: 25 of them, or 37 of int8. */
vmoe_info smallest_info(void);

/* Imports a source, which it closes, to a file; fails the test if that fails. */
void write_source(struct vmoe_source *source, const vmoe_import_options *options, const char *path);

/* The model of a geometry with weights by formula, as a file or loaded from one. */
void write_model(const vmoe_info *info, const vmoe_import_options *options, const char *path);
vmoe_model *make_model(const vmoe_info *info, uint32_t precision);

/* Loads a file, or fails the test. */
vmoe_model *must_load(const char *path, const vmoe_load_options *options);

/* What vmoe_get_info says. */
vmoe_info info_of(const vmoe_model *model);

/*
 * A source with weights by formula in which `change` may alter what is read: values first ..
 * first + count - 1 of an array.
 */
typedef void (*weight_change)(const char *name, uint64_t first, uint64_t count, float *values);
struct vmoe_source *changed_source(const vmoe_info *info, weight_change change);

/* Random tensors (images, side, side, 3) in -1..1; image i is the same whatever their number. */
float *make_images(const vmoe_info *info, size_t images);

/* Floats of an image. */
size_t image_values(const vmoe_info *info);

/*
 * Fails the test unless a call was refused as it should be: with this status, also in the error, at
 * a place that contains `where`, and with a sentence that can be shown on one line.
 */
void check_refused(vmoe_status status, const vmoe_error *error, vmoe_status expected,
                   const char *where, const char *file, int line);
#define assert_refused(status, error, expected, where) \
    check_refused(status, &(error), expected, where, __FILE__, __LINE__)

/* Fails the test with the error's text unless the status is VMOE_OK. */
void check_ok(vmoe_status status, const vmoe_error *error, const char *file, int line);
#define assert_ok(status, error) check_ok(status, &(error), __FILE__, __LINE__)

#endif
