/*
 * What fuzz targets share.  A target is a file of targets/ with one LLVMFuzzerTestOneInput;
 * libFuzzer and AFL++ drive it, and replay.c does where there is only a C compiler.
 */
#ifndef VMOE_TESTS_FUZZ_H
#define VMOE_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmoe.h>

/* The target; it answers 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A target may bring its own mutator.  It changes `data` in place and answers the new size. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* The engine's mutator, for custom ones to call.  Programs without an engine have none. */
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

/* What must hold for every input.  It is checked in every configuration. */
#define MUST(condition) ((condition) ? (void)0 : fuzz_abort(__FILE__, __LINE__, #condition))
_Noreturn void fuzz_abort(const char *file, int line, const char *condition);

/* The status is one, and the error tells it with a place and a sentence on one line each. */
void fuzz_check_error(vmoe_status status, const vmoe_error *error);

/* Loads, or gives NULL, and checks that exactly one of the two was told. */
vmoe_model *fuzz_load(const void *data, size_t size, const vmoe_load_options *options);

/* ---- Inputs as sequences of numbers --------------------------------------------------------- */

/* What is left of an input.  Behind its end it gives zeros. */
struct feed {
    const uint8_t *at;
    size_t left;
};

uint8_t feed_u8(struct feed *feed);
uint32_t feed_u32(struct feed *feed);
uint64_t feed_u64(struct feed *feed);
double feed_f64(struct feed *feed);

/* A number below `count`, which is not 0. */
uint32_t feed_below(struct feed *feed, uint32_t count);

/* The next bytes, at most `size` of them; `*got` says how many. */
const uint8_t *feed_bytes(struct feed *feed, size_t size, size_t *got);

/* A float: any bits, or one of those that break things. */
float feed_float(struct feed *feed);

/* ---- Numbers in files, little-endian -------------------------------------------------------- */

uint64_t get_le(const uint8_t *from, size_t bytes);
void put_le(uint8_t *to, size_t bytes, uint64_t value);

/* ---- Random numbers for mutators ------------------------------------------------------------ */

/* Each mutator call begins its own sequence with the seed that it is given. */
struct dice {
    uint64_t state;
};

struct dice dice_begin(unsigned seed);
uint32_t dice_below(struct dice *dice, uint32_t count);

/* A number as parsers fear it, of any size up to 64 bits. */
uint64_t dice_number(struct dice *dice);

#endif
