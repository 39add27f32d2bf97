/*
 * Rows to narrow rows.  bfloat16 is exact but for denormals, which may count as zeros.  An int8 row
 * covers 0 and all of its values; where the scale is a power of two it is exact, too, and elsewhere
 * a number is next to x / scale + zero, up to the four roundings on the way there.
 */
#include <stdio.h>

#include "kernels/harness.h"

#define TAILS 200u
#define N_MAX 2000u

enum memory { X, Y, MEMORIES };

static struct fenced memory[MEMORIES];

/* A row of float32 or bfloat16, its values in float32. */
struct row {
    const struct entry *entry;
    size_t n;
    float *values;
    bool exact; /* the scale to int8 is a power of two, and zero an integer */
};

static bool from_bf16(const struct entry *entry)
{
    return entry->type == VMOE_PRECISION_BF16;
}

static struct row new_row(const struct entry *entry, size_t n, const char *kind)
{
    struct row row = { .entry = entry, .n = n };

    case_begin("%s of %zu, %s", entry->name, n, kind);
    row.values = case_memory(n * sizeof *row.values);
    return row;
}

static void set_value(struct row *row, size_t i, float value)
{
    row->values[i] = from_bf16(row->entry) ? bf16_value(nearest_bf16(value)) : value;
}

/* Any size; sometimes of one sign. */
static struct row draw_reals(const struct entry *entry, size_t n)
{
    const int sign = random_integer(-1, 1);
    const float size = ldexpf(1.0f, random_integer(-40, 40));
    struct row row = new_row(entry, n, "reals");

    for (size_t i = 0; i < n; i++) {
        const float real = random_real();

        set_value(&row, i, size * (sign == 0 ? real : (float)sign * fabsf(real)));
    }
    return row;
}

struct timed {
    const struct vmoe_kernels *kernels;
    const struct row *row;
    void *x, *y;
};

/* ---- To bfloat16 ---------------------------------------------------------------------------- */

static void check_bf16_on(const struct vmoe_kernels *kernels, size_t n, const float *x,
                          enum side side)
{
    const size_t padded = round_up(n * sizeof(uint16_t), VMOE_ROW_BYTES) / sizeof(uint16_t);
    uint16_t *y = fenced_place(&memory[Y], padded * sizeof *y, side);

    case_target(kernels);
    kernels->to_bf16(n, fenced_copy(&memory[X], x, n * sizeof *x, side), y);
    for (size_t i = 0; i < n; i++) {
        const bool denormal = (float_bits(x[i]) & 0x7f800000u) == 0;

        if (!same_float(bf16_value(y[i]), bf16_value(nearest_bf16(x[i]))) &&
            !(denormal && (y[i] & 0x7fff) == 0))
            case_fail("element %zu: %08x becomes %04x, not %04x", i, float_bits(x[i]), y[i],
                      nearest_bf16(x[i]));
    }
    for (size_t i = n; i < padded; i++)
        if (!isfinite(bf16_value(y[i])))
            case_fail("padding %zu of %zu numbers is not finite", i, n);
}

static void check_bf16(const struct entry *entry, size_t n, const float *x)
{
    for (const struct vmoe_kernels *const *t = targets(entry); *t != NULL; t++)
        for (enum side side = AT_END; side < SIDES; side++)
            check_bf16_on(*t, n, x, side);
}

/* Ordinary numbers or any bits, some of which are made ties. */
static void bf16_case(const struct entry *entry, size_t n, bool any)
{
    struct row row = draw_reals(entry, n);

    for (size_t i = 0; i < n; i++) {
        if (any)
            row.values[i] = float_of(random_u32());
        if (random_chance(4))
            row.values[i] = float_of((float_bits(row.values[i]) & 0xffff0000u) | 0x8000u);
    }
    check_bf16(entry, n, row.values);
}

static void bf16_edges(const struct entry *entry)
{
    static const uint32_t rests[] = { 0, 1, 0x7fff, 0x8000, 0x8001, 0xffff };

    for (size_t n = 1; n <= TAILS; n++)
        for (int any = 0; any < 2; any++)
            bf16_case(entry, n, any);
    for (uint32_t sign = 0; sign < 2; sign++)
        for (uint32_t exponent = 0; exponent < 256; exponent++) {
            float x[6 * 128];

            case_begin("to_bf16 of all numbers with sign %u, exponent %u", sign, exponent);
            for (uint32_t i = 0; i < 6 * 128; i++)
                x[i] = float_of(sign << 31 | exponent << 23 | (i / 6) << 16 | rests[i % 6]);
            check_bf16(entry, 6 * 128, x);
        }
}

static void bf16_random(const struct entry *entry)
{
    bf16_case(entry, random_size(N_MAX), random_chance(2));
}

static void bf16_work(void *context, size_t i)
{
    const struct timed *t = context;

    (void)i;
    t->kernels->to_bf16(t->row->n, t->x, t->y);
}

static void bf16_bench(const struct entry *entry, const struct vmoe_kernels *kernels)
{
    const struct row row = draw_reals(entry, 768);
    const struct timed timed = { kernels, &row, row.values, case_memory(2 * 768) };

    check_bf16(entry, row.n, row.values);
    bench_print(kernels, entry, "768", 6.0 * 768, "B", bf16_work,
                (void *)(uintptr_t)&timed);
}

/* ---- To int8 -------------------------------------------------------------------------------- */

static struct vmoe_quant run_int8(const struct vmoe_kernels *kernels, const struct row *row,
                                  enum side side, uint8_t *result)
{
    uint8_t *y = fenced_place(&memory[Y], round_up(row->n, VMOE_ROW_BYTES), side);
    struct vmoe_quant quant;

    if (from_bf16(row->entry)) {
        uint16_t *x = fenced_place(&memory[X], row->n * sizeof *x, side);

        for (size_t i = 0; i < row->n; i++)
            x[i] = (uint16_t)(float_bits(row->values[i]) >> 16);
        quant = kernels->bf16_to_int8(row->n, x, y);
    } else {
        quant = kernels->to_int8(
            row->n, fenced_copy(&memory[X], row->values, row->n * sizeof *row->values, side), y);
    }
    memcpy(result, y, row->n);
    return quant;
}

/* False if there is nothing to ask of the numbers. */
static bool check_quant(const struct row *row, struct vmoe_quant quant)
{
    double least = 0, most = 0, scale;

    for (size_t i = 0; i < row->n; i++) {
        if (!isfinite(row->values[i])) {
            if (!isnan(quant.scale))
                case_fail("value %zu is not finite, the scale is %g", i, (double)quant.scale);
            return false;
        }
        least = fmin(least, (double)row->values[i]);
        most = fmax(most, (double)row->values[i]);
    }
    if (most - least > (double)FLT_MAX) {
        if (isfinite(quant.scale))
            case_fail("the range is infinite, the scale is %g", (double)quant.scale);
        return false;
    }
    scale = (most - least) / 255;
    if (scale < (double)FLT_MIN)
        scale = 1; /* next to zeros */
    check_close(quant.scale, scale, row->exact ? 0 : 2 * UNIT_F32 * scale, "the scale", 0, 0);
    if (quant.zero < 0 || quant.zero > 255 ||
        fabs(quant.zero + least / (double)quant.scale) > 0.5 + 1e-4)
        case_fail("the zero is %d, not %.9g", quant.zero, -least / (double)quant.scale);
    return true;
}

static void check_numbers(const struct row *row, struct vmoe_quant quant, const uint8_t *numbers)
{
    for (size_t i = 0; i < row->n; i++) {
        const double at = (double)row->values[i] / (double)quant.scale + quant.zero;
        const double number = numbers[i], nearest = nearbyint(fmin(fmax(at, 0), 255));

        if (row->exact ? number != nearest
                       : fabs(number - fmin(fmax(at, 0), 255)) > 0.5 + 4 * 255 * UNIT_F32)
            case_fail("value %zu, %.9g, becomes %u, not %.9g", i, (double)row->values[i],
                      numbers[i], at);
        if (row->values[i] == 0.0f && number != quant.zero)
            case_fail("0 becomes %u, not %d", numbers[i], quant.zero);
    }
}

static void check_row(const struct row *row)
{
    uint8_t *first = case_memory(row->n), *again = case_memory(row->n);
    const struct vmoe_kernels *const *t = targets(row->entry);
    struct vmoe_quant quant;

    case_target(*t);
    quant = run_int8(*t, row, AT_END, first);
    if (!check_quant(row, quant))
        return;
    check_numbers(row, quant, first);
    for (; *t != NULL; t++)
        for (enum side side = AT_END; side < SIDES; side++) {
            const struct vmoe_quant other = run_int8(*t, row, side, again);

            case_target(*t);
            if (!same_float(other.scale, quant.scale) || other.zero != quant.zero ||
                memcmp(again, first, row->n) != 0)
                case_fail("it is something else on another table or at another place");
        }
}

/* Multiples of a half from -zero to 255 - zero, both of which occur: half of them are ties. */
static void exact_row(const struct entry *entry, size_t n)
{
    const int zero = n == 1 ? 255 * random_integer(0, 1) : random_integer(0, 255);
    const float scale = ldexpf(1.0f, random_integer(-20, 20));
    const size_t low = random_below(n);
    struct row row = new_row(entry, n, "multiples of a half");

    row.exact = true;
    for (size_t i = 0; i < n; i++)
        set_value(&row, i, scale * (0.5f * (float)random_integer(0, 510) - (float)zero));
    if (n > 1 || zero == 255)
        set_value(&row, low, scale * (float)-zero);
    if (n > 1 || zero == 0)
        set_value(&row, (low + 1) % n, scale * (float)(255 - zero));
    check_row(&row);
}

/* Something that is not finite among reals, or nothing but the same. */
static void special_row(const struct entry *entry, size_t n, size_t at)
{
    static const uint32_t special[] = { 0x7fc00000u, 0xffc00000u, 0x7f800000u, 0xff800000u };
    static const float alike[] = { 0.0f, -0.0f, 1e-40f, -1e-40f, 1e-37f, 3e38f, -3e38f };
    struct row row = new_row(entry, n, "one that is not finite");

    for (size_t i = 0; i < n; i++)
        set_value(&row, i, random_real());
    row.values[at] = float_of(special[random_below(4)]);
    check_row(&row);
    row = new_row(entry, n, "the same or its opposite");
    for (size_t i = 0; i < n; i++)
        set_value(&row, i, alike[n % 7] * (n % 2 == 1 && random_chance(2) ? -1.0f : 1.0f));
    check_row(&row);
}

static void real_row(const struct entry *entry, size_t n)
{
    const struct row row = draw_reals(entry, n);

    check_row(&row);
}

static void int8_edges(const struct entry *entry)
{
    for (size_t n = 1; n <= TAILS; n++) {
        real_row(entry, n);
        exact_row(entry, n);
        special_row(entry, n, random_below(n));
        special_row(entry, n, n - 1);
    }
    for (size_t at = 0; at < 100; at++)
        special_row(entry, 100, at);
}

static void int8_random(const struct entry *entry)
{
    const size_t n = random_size(N_MAX);

    if (random_chance(2))
        exact_row(entry, n);
    else
        real_row(entry, n);
}

static void int8_work(void *context, size_t i)
{
    const struct timed *t = context;

    (void)i;
    if (from_bf16(t->row->entry))
        t->kernels->bf16_to_int8(t->row->n, t->x, t->y);
    else
        t->kernels->to_int8(t->row->n, t->x, t->y);
}

static void int8_bench(const struct entry *entry, const struct vmoe_kernels *kernels)
{
    const struct row row = draw_reals(entry, 768);
    struct timed timed = { kernels, &row, row.values, case_memory(768) };

    check_row(&row);
    if (from_bf16(entry)) {
        timed.x = case_memory(2 * 768);
        for (size_t i = 0; i < 768; i++)
            ((uint16_t *)timed.x)[i] = (uint16_t)(float_bits(row.values[i]) >> 16);
    }
    bench_print(kernels, entry, "768", from_bf16(entry) ? 3.0 * 768 : 5.0 * 768, "B", int8_work,
                &timed);
}

const struct entry narrow_entries[] = {
    { "to_bf16", SLOT(to_bf16), VMOE_PRECISION_F32, 0, bf16_edges, bf16_random, bf16_bench },
    { "to_int8", SLOT(to_int8), VMOE_PRECISION_F32, 0, int8_edges, int8_random, int8_bench },
    { "bf16_to_int8", SLOT(bf16_to_int8), VMOE_PRECISION_BF16, 0, int8_edges, int8_random,
      int8_bench },
    { 0 },
};
