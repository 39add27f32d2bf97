/*
 * What the tests of the kernels share.  Every kernel of a table is an entry, which has tests of its
 * own; a case is one shape with its data, which every table has to get right; what a kernel reads
 * and writes lies between two pages that nobody may touch.
 */
#ifndef VMOE_TESTS_KERNELS_HARNESS_H
#define VMOE_TESTS_KERNELS_HARNESS_H

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "support/random.h"
#include "support/support.h"

/* Half a unit in the last place of 1: the largest relative error of one rounding. */
#define UNIT_F32 0x1p-24
#define UNIT_BF16 0x1p-8

/* Relative error that the exponentials behind narrow rows may have. */
#define FAST_EXPONENTIAL 2e-4

/* ---- Entries -------------------------------------------------------------------------------- */

/* One kernel of the tables. */
struct entry {
    const char *name;
    size_t slot;           /* its place in struct vmoe_kernels */
    uint32_t type, panels; /* vmoe_precision of its rows and panels, where it has them */
    /* Every tail, and every value that is special. */
    void (*edges)(const struct entry *entry);
    /* One case of shape and values from random.h. */
    void (*random)(const struct entry *entry);
    /* Times some shapes on one table, after they were checked on it. */
    void (*bench)(const struct entry *entry, const struct vmoe_kernels *kernels);
};

/* Each has at most ENTRIES_MAX of them; behind the last is one without a name. */
#define ENTRIES_MAX 8u
extern const struct entry product_entries[], attend_entries[], gemv_entries[], row_entries[],
    router_entries[], narrow_entries[];

#define SLOT(member) offsetof(struct vmoe_kernels, member)

/* True if the table has the kernel. */
bool has_kernel(const struct vmoe_kernels *kernels, const struct entry *entry);

/*
 * The tables that can run here, each with another kernel for the entry than those before it; NULL
 * stands behind the last.  The first is the one to agree with.
 */
const struct vmoe_kernels *const *targets(const struct entry *entry);

/* Leaves one table alone; VMOE_ISA_DEFAULT leaves all. */
void choose_target(uint32_t isa);

/* ---- Cases ---------------------------------------------------------------------------------- */

/* Begins a case, which this text will name if it fails; frees the memory of the case before. */
void case_begin(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says which table is at work. */
void case_target(const struct vmoe_kernels *kernels);

/* Says that all cases until the next call come from a seed. */
void case_seed(uint64_t seed);

/* Fails the test with a text and the case. */
void case_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* From now on a read or write beyond a fence tells the case before it fails the test. */
void case_show_crashes(void);

/* Cases that were begun so far, and the largest error of all in parts of its bound. */
struct case_totals {
    size_t cases;
    double worst;
};

/* Since the last call. */
struct case_totals case_totals(void);

/* Memory until the next case begins. */
void *case_memory(size_t bytes);

/* ---- Fences --------------------------------------------------------------------------------- */

enum side { AT_END, AT_START, SIDES };

/* Pages between two that are not accessible.  All zeros is one that has none yet. */
struct fenced {
    uint8_t *pages;
    size_t bytes;
};

/*
 * `bytes` bytes that end at the upper fence or begin at the lower one.  All bits are set: every
 * float of it is NaN.
 */
void *fenced_place(struct fenced *fenced, size_t bytes, enum side side);

/* The same with a copy of something; NULL for NULL. */
void *fenced_copy(struct fenced *fenced, const void *data, size_t bytes, enum side side);

/* Fails the case if one of these bytes is no longer as fenced_place has left it. */
void check_untouched(const void *data, size_t bytes, const char *where);

/* ---- Numbers -------------------------------------------------------------------------------- */

size_t round_up(size_t n, size_t step);

uint32_t float_bits(float value);
float float_of(uint32_t bits);
float bf16_value(uint16_t bits);

/* Equal to the bit, or both NaN. */
bool same_float(float a, float b);

/* Fails the case unless all n floats are the same. */
void check_same_floats(const float *found, const float *expected, size_t n, const char *what);

/* Fails the case unless |found - expected| <= bound; infinities and NaN must be the same. */
void check_close(float found, double expected, double bound, const char *what, size_t row,
                 size_t column);

/* What bfloat16 numbers are next to a value, ties to even; NaN for NaN. */
uint16_t nearest_bf16(float value);

/* The sum in 16 lanes that kernels.h prescribes for reductions. */
float sum_in_lanes(const float *x, size_t n);

size_t random_below(size_t n);
bool random_chance(size_t in);         /* one of so many */
size_t random_size(size_t most);       /* 1 .. most, small ones more often */
int random_integer(int least, int most);
float random_real(void);               /* -1 .. 1 */

/* ---- Time ----------------------------------------------------------------------------------- */

/* Prints what a call takes, and the rate of `amount` a call, in billions of `unit` a second. */
void bench_print(const struct vmoe_kernels *kernels, const struct entry *entry, const char *shape,
                 double amount, const char *unit, void (*work)(void *context, size_t i),
                 void *context);

#endif
