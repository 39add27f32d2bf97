/* Checks, inputs as sequences, and the numbers that mutators like. */
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cpu.h"
#include "support/showable.h"

_Noreturn void fuzz_abort(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: it must hold that %s\n", file, line, condition);
    abort();
}

void fuzz_check_error(vmoe_status status, const vmoe_error *error)
{
    MUST(status >= VMOE_OK && status <= VMOE_ERR_THREAD);
    MUST(error->status == status);
    if (status == VMOE_OK)
        return;
    MUST(is_showable(error->where, sizeof error->where));
    MUST(is_showable(error->text, sizeof error->text));
}

vmoe_model *fuzz_load(const void *data, size_t size, const vmoe_load_options *options)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model = NULL;
    vmoe_status status = vmoe_load_memory(data, size, options, &model, &error);

    fuzz_check_error(status, &error);
    MUST((status == VMOE_OK) == (model != NULL));
    return model;
}

/* MemorySanitizer does not know every vector instruction: it sees only the portable kernels. */
static bool isa_is_wanted(uint32_t isa)
{
#ifdef FUZZ_MSAN
    return isa == VMOE_ISA_REF;
#else
    (void)isa;
    return true;
#endif
}

/*
 * What the processor has, asked once: in a virtual machine, CPUID takes 10 microseconds, and a call
 * of the library asks dozens of times.
 */
bool __real_vmoe_cpu_has(uint32_t isa);
bool __wrap_vmoe_cpu_has(uint32_t isa);

bool __wrap_vmoe_cpu_has(uint32_t isa)
{
    static enum { UNKNOWN, HAS_NOT, HAS } known[16];

    if (isa >= sizeof known / sizeof known[0])
        return __real_vmoe_cpu_has(isa);
    if (known[isa] == UNKNOWN)
        known[isa] = isa_is_wanted(isa) && __real_vmoe_cpu_has(isa) ? HAS : HAS_NOT;
    return known[isa] == HAS;
}

/* libFuzzer's tracing of texts that are compared, of which the release configuration does without. */
void __wrap___sanitizer_weak_hook_memcmp(void *, const void *, const void *, size_t, int);
void __wrap___sanitizer_weak_hook_strcmp(void *, const char *, const char *, int);

void __wrap___sanitizer_weak_hook_memcmp(void *caller, const void *a, const void *b, size_t size,
                                         int result)
{
    (void)caller, (void)a, (void)b, (void)size, (void)result;
}

void __wrap___sanitizer_weak_hook_strcmp(void *caller, const char *a, const char *b, int result)
{
    (void)caller, (void)a, (void)b, (void)result;
}

/* ---- Inputs as sequences of numbers --------------------------------------------------------- */

const uint8_t *feed_bytes(struct feed *feed, size_t size, size_t *got)
{
    const uint8_t *bytes = feed->at;

    *got = size < feed->left ? size : feed->left;
    feed->at += *got;
    feed->left -= *got;
    return bytes;
}

static uint64_t feed_number(struct feed *feed, size_t bytes)
{
    uint64_t number = 0;
    size_t got;
    const uint8_t *at = feed_bytes(feed, bytes, &got);

    while (got-- > 0)
        number = number << 8 | at[got];
    return number;
}

uint8_t feed_u8(struct feed *feed)
{
    return (uint8_t)feed_number(feed, 1);
}

uint32_t feed_u32(struct feed *feed)
{
    return (uint32_t)feed_number(feed, 4);
}

uint64_t feed_u64(struct feed *feed)
{
    return feed_number(feed, 8);
}

double feed_f64(struct feed *feed)
{
    uint64_t bits = feed_u64(feed);
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

uint32_t feed_below(struct feed *feed, uint32_t count)
{
    return (count <= 256 ? feed_u8(feed) : feed_u32(feed)) % count;
}

float feed_float(struct feed *feed)
{
    /* Infinities, NaNs, zeros, one, the largest, denormals, an eighth, a small negative. */
    static const uint32_t special[] = { 0x7f800000u, 0xff800000u, 0x7fc00000u, 0xffffffffu,
                                        0x7f800001u, 0x00000000u, 0x80000000u, 0x3f800000u,
                                        0x7f7fffffu, 0xff7fffffu, 0x00000001u, 0x807fffffu,
                                        0x3e000000u, 0xbd800000u };
    const uint32_t choice = feed_u8(feed);
    uint32_t bits;
    float value;

    if (choice < 2 * sizeof special / sizeof special[0])
        bits = special[choice / 2];
    else if (choice < 128)
        bits = choice << 24 | 0x00c00000u; /* one byte for a number that is just different */
    else
        bits = feed_u32(feed);
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ---- Numbers in files, little-endian -------------------------------------------------------- */

uint64_t get_le(const uint8_t *from, size_t bytes)
{
    uint64_t value = 0;

    while (bytes-- > 0)
        value = value << 8 | from[bytes];
    return value;
}

void put_le(uint8_t *to, size_t bytes, uint64_t value)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

/* ---- Random numbers for mutators ------------------------------------------------------------ */

struct dice dice_begin(unsigned seed)
{
    return (struct dice){ seed * UINT64_C(0x9e3779b97f4a7c15) + 1 };
}

/* splitmix64 */
static uint64_t dice_next(struct dice *dice)
{
    uint64_t z = dice->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint32_t dice_below(struct dice *dice, uint32_t count)
{
    return (uint32_t)((dice_next(dice) >> 32) * count >> 32);
}

uint64_t dice_number(struct dice *dice)
{
    uint64_t number = UINT64_C(1) << dice_below(dice, 64);

    switch (dice_below(dice, 6)) {
    case 0: return dice_below(dice, 16);
    case 1: return number;
    case 2: return number - 1;
    case 3: return number + dice_below(dice, 3);
    case 4: return UINT64_MAX - dice_below(dice, 8);
    default: return dice_next(dice) >> dice_below(dice, 64);
    }
}
