/* Entries, cases, fences, numbers and time. */
#define _GNU_SOURCE
#include "kernels/harness.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../bench/timing.h"
#include "support/tiers.h"

#define TARGETS_MAX 16u

/* ---- Entries -------------------------------------------------------------------------------- */

static uint32_t chosen = VMOE_ISA_DEFAULT;

void choose_target(uint32_t isa)
{
    chosen = isa;
}

/* The bits of the pointer, which are all zero for NULL. */
static uintptr_t kernel_of(const struct vmoe_kernels *kernels, const struct entry *entry)
{
    uintptr_t kernel;

    memcpy(&kernel, (const uint8_t *)kernels + entry->slot, sizeof kernel);
    return kernel;
}

bool has_kernel(const struct vmoe_kernels *kernels, const struct entry *entry)
{
    return kernel_of(kernels, entry) != 0;
}

const struct vmoe_kernels *const *targets(const struct entry *entry)
{
    static const struct vmoe_kernels *found[TARGETS_MAX + 1];
    size_t count = 0;

    for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
        const struct vmoe_kernels *kernels = vmoe_kernels_for(*isa);
        bool known = !has_kernel(kernels, entry) || (chosen != VMOE_ISA_DEFAULT && *isa != chosen);

        for (size_t i = 0; i < count; i++)
            known |= kernel_of(found[i], entry) == kernel_of(kernels, entry);
        if (!known && count < TARGETS_MAX)
            found[count++] = kernels;
    }
    found[count] = NULL;
    return found;
}

/* ---- Cases ---------------------------------------------------------------------------------- */

struct block {
    struct block *next;
    max_align_t data[];
};

static struct {
    char text[256];
    uint64_t seed;
    uint32_t isa;
    struct block *blocks;
    struct case_totals totals;
} now;

void case_begin(const char *format, ...)
{
    va_list arguments;

    for (struct block *next; now.blocks != NULL; now.blocks = next) {
        next = now.blocks->next;
        free(now.blocks);
    }
    va_start(arguments, format);
    vsnprintf(now.text, sizeof now.text, format, arguments);
    va_end(arguments);
    now.isa = VMOE_ISA_DEFAULT;
    now.totals.cases++;
}

void case_target(const struct vmoe_kernels *kernels)
{
    now.isa = kernels->isa;
}

void case_seed(uint64_t seed)
{
    now.seed = seed;
    random_seed(seed);
}

struct case_totals case_totals(void)
{
    const struct case_totals totals = now.totals;

    now.totals = (struct case_totals){ 0 };
    return totals;
}

static const char *case_name(void)
{
    static char name[400];

    snprintf(name, sizeof name, "%s, seed %llu: %s",
             now.isa != VMOE_ISA_DEFAULT ? vmoe_isa_name(now.isa) : "no table",
             (unsigned long long)now.seed, now.text);
    return name;
}

void case_fail(const char *format, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fail_msg("%s: %s", case_name(), text);
}

static void (*crash_before)(int number);

static void show_crash(int number)
{
    print_error("%s\n", case_name());
    crash_before(number);
}

void case_show_crashes(void)
{
    void (*before)(int number) = signal(SIGSEGV, show_crash);

    if (before != show_crash)
        crash_before = before;
}

void *case_memory(size_t bytes)
{
    struct block *block = malloc(sizeof *block + bytes);

    assert_non_null(block);
    block->next = now.blocks;
    now.blocks = block;
    return block->data;
}

/* ---- Fences --------------------------------------------------------------------------------- */

static void grow(struct fenced *fenced, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *pages;

    if (fenced->pages != NULL)
        munmap(fenced->pages - page, fenced->bytes + 2 * page);
    fenced->bytes = round_up(bytes, page);
    pages = mmap(NULL, fenced->bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    fenced->pages = pages + page;
    assert_int_equal(mprotect(fenced->pages, fenced->bytes, PROT_READ | PROT_WRITE), 0);
}

void *fenced_place(struct fenced *fenced, size_t bytes, enum side side)
{
    uint8_t *place;

    if (fenced->bytes < bytes)
        grow(fenced, bytes);
    place = fenced->pages + (side == AT_END ? fenced->bytes - bytes : 0);
    memset(place, 0xff, bytes);
    return place;
}

void *fenced_copy(struct fenced *fenced, const void *data, size_t bytes, enum side side)
{
    return data != NULL ? memcpy(fenced_place(fenced, bytes, side), data, bytes) : NULL;
}

void check_untouched(const void *data, size_t bytes, const char *where)
{
    for (size_t i = 0; i < bytes; i++)
        if (((const uint8_t *)data)[i] != 0xff)
            case_fail("wrote byte %zu %s", i, where);
}

/* ---- Numbers -------------------------------------------------------------------------------- */

size_t round_up(size_t n, size_t step)
{
    return (n + step - 1) / step * step;
}

uint32_t float_bits(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

float bf16_value(uint16_t bits)
{
    return float_of((uint32_t)bits << 16);
}

bool same_float(float a, float b)
{
    return float_bits(a) == float_bits(b) || (isnan(a) && isnan(b));
}

void check_same_floats(const float *found, const float *expected, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (!same_float(found[i], expected[i]))
            case_fail("%s: element %zu is %.9g, not %.9g", what, i, (double)found[i],
                      (double)expected[i]);
}

void check_close(float found, double expected, double bound, const char *what, size_t row,
                 size_t column)
{
    const double error = fabs((double)found - expected);

    if (bound > 0 && error <= bound)
        now.totals.worst = fmax(now.totals.worst, error / bound);
    else if (isfinite(expected) ? error != 0 : !same_float(found, (float)expected))
        case_fail("%s row %zu column %zu: %.9g, not %.9g; the bound is %.2g", what, row, column,
                  (double)found, expected, bound);
}

/* The value is between the numbers whose bits are `below` and below + 1, in magnitude. */
uint16_t nearest_bf16(float value)
{
    const uint16_t below = (uint16_t)(float_bits(value) >> 16);
    const uint32_t rest = float_bits(value) & 0xffffu;

    if (isnan(value))
        return 0x7fc0;
    return (uint16_t)(below + (rest > 0x8000u || (rest == 0x8000u && below % 2 == 1)));
}

float sum_in_lanes(const float *x, size_t n)
{
    float lane[16] = { 0 };

    for (size_t i = 0; i < n; i++)
        lane[i % 16] += x[i];
    for (size_t width = 8; width > 0; width /= 2)
        for (size_t i = 0; i < width; i++)
            lane[i] += lane[i + width];
    return lane[0];
}

size_t random_below(size_t n)
{
    return random_u32() % n;
}

bool random_chance(size_t in)
{
    return random_below(in) == 0;
}

size_t random_size(size_t most)
{
    size_t bound = 2;

    while (bound < most && !random_chance(6))
        bound *= 2;
    return 1 + random_below(bound < most ? bound : most);
}

int random_integer(int least, int most)
{
    return least + (int)random_below((size_t)(most - least) + 1);
}

float random_real(void)
{
    return (float)(random_u32() >> 8) / 8388608.0f - 1.0f;
}

/* ---- Time ----------------------------------------------------------------------------------- */

void bench_print(const struct vmoe_kernels *kernels, const struct entry *entry, const char *shape,
                 double amount, const char *unit, void (*work)(void *context, size_t i),
                 void *context)
{
    const struct figure figure = figure_measure(0.2, work, context);

    printf("%-12s %-24s %-18s %10.2f us  %8.1f G%s/s\n", vmoe_isa_name(kernels->isa), entry->name,
           shape, figure.best * 1e6, amount / figure.best * 1e-9, unit);
    fflush(stdout);
}
