/*
 * Products of rows and panels, with all that is done to their sums.  Panels are packed here as
 * kernels.h draws them, and sums are made in double.
 *
 * The bound of a sum over k: each of its roundings errs by at most a unit of the sum of all terms'
 * magnitudes; the signs of errors are as good as random, so that they grow like sqrt(k), of which
 * four times are allowed.  An order of addition that is not a chain has smaller errors.  Sums of
 * int8 rows are exact.  On integers that need less than 24 bits everything is exact.
 */
#include <stdio.h>

#include "kernels/harness.h"

enum memory { A, QUANTS, PANELS, SCALE, SUMS, BIAS, FACTORS, PLACES, OUT, SCRATCH, MEMORIES };

static struct fenced memory[MEMORIES];

/* How a product ends. */
struct finish {
    uint32_t activation;
    bool add, scattered, factors, bias;
};

struct problem {
    const struct entry *entry;
    struct finish finish;
    size_t rows, k, columns;
    bool integers;
    size_t row_bytes;            /* of a row with its padding */
    size_t row_extra, out_extra; /* numbers between rows of `a` and of the output */
    uint8_t *a, *panels;
    struct vmoe_quant *quants;
    float *scale, *bias, *factors, *before;
    int32_t *sums, *places;
    double *row_values, *panel_values; /* (rows, k) and (k, columns), as integers if they are int8 */
    double *expected, *bound;          /* (rows, columns) */
};

/* ---- Numbers of three types ----------------------------------------------------------------- */

static size_t bytes_of(uint32_t type)
{
    return type == VMOE_PRECISION_INT8 ? 1 : type == VMOE_PRECISION_BF16 ? 2 : 4;
}

/* Writes element i; returns what it stands for.  Rows of int8 are unsigned, panels are signed. */
static double put(uint32_t type, void *to, size_t i, float value)
{
    switch (type) {
    case VMOE_PRECISION_INT8:
        ((uint8_t *)to)[i] = (uint8_t)(int)value;
        return (double)value;
    case VMOE_PRECISION_BF16:
        ((uint16_t *)to)[i] = nearest_bf16(value);
        return (double)bf16_value(nearest_bf16(value));
    default:
        ((float *)to)[i] = value;
        return (double)value;
    }
}

static float draw(bool integers)
{
    return integers ? (float)random_integer(-7, 7) : random_real();
}

/* A row is sometimes the largest that there is, and its padding is anything finite. */
static void draw_row(struct problem *p, size_t r)
{
    const uint32_t type = p->entry->type;
    const bool extreme = random_chance(8);
    uint8_t *row = p->a + r * p->row_bytes;

    if (type == VMOE_PRECISION_INT8) {
        const int32_t zero = extreme ? 255 * (int32_t)random_below(2) : random_integer(0, 255);

        p->quants[r] =
            (struct vmoe_quant){ p->integers ? 0.5f : 0.01f * (2.0f + random_real()), zero };
        for (size_t i = 0; i < p->row_bytes; i++)
            row[i] = (uint8_t)(extreme ? 255 - zero : random_integer(0, 255));
        for (size_t i = 0; i < p->k; i++)
            p->row_values[r * p->k + i] = row[i] - zero;
        return;
    }
    for (size_t i = 0; i < p->row_bytes / bytes_of(type); i++) {
        const double value = put(type, row, i, draw(p->integers));

        if (i < p->k)
            p->row_values[r * p->k + i] = value;
    }
}

/* Where W[i][j] lies in a packed matrix, in numbers. */
static size_t packed_place(uint32_t precision, size_t k, size_t i, size_t j)
{
    const size_t group = 4 / bytes_of(precision), block = 16 * group;
    const size_t tile = (j / 32 * ((k + block - 1) / block) + i / block) * 2 + j % 32 / 16;

    return ((tile * 16 + i % block / group) * 16 + j % 16) * group + i % group;
}

static size_t panel_bytes(const struct problem *p)
{
    return round_up(p->k * bytes_of(p->entry->panels), 64) * VMOE_PANEL;
}

static void draw_panels(struct problem *p)
{
    const uint32_t precision = p->entry->panels;
    const bool int8 = precision == VMOE_PRECISION_INT8;

    memset(p->panels, 0, panel_bytes(p) * round_up(p->columns, VMOE_PANEL) / VMOE_PANEL);
    for (size_t j = 0; j < p->columns; j++) {
        const bool extreme = int8 && random_chance(8);
        int32_t sum = 0;

        for (size_t i = 0; i < p->k; i++) {
            const int number = extreme ? 127 - 254 * (int)(j % 2) : random_integer(-127, 127);
            const float value = int8 ? (float)number : draw(p->integers);

            p->panel_values[i * p->columns + j] =
                put(precision, p->panels, packed_place(precision, p->k, i, j), value);
            sum += number;
        }
        if (int8) {
            p->scale[j] = p->integers ? 0.25f : 0.01f * (1.5f + random_real());
            p->sums[j] = sum;
        }
    }
}

/* ---- What is expected ----------------------------------------------------------------------- */

/* In double, and without cancellation. */
static double activate(uint32_t activation, double x)
{
    switch (activation) {
    case VMOE_GELU_TANH_OF:
        return x / (1 + exp(-2 * sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case VMOE_GELU_ERF_OF:
        return x * erfc(-x / sqrt(2.0)) / 2;
    case VMOE_TANH_OF:
        return tanh(x);
    default:
        return x;
    }
}

/*
 * The error of an activation whose result is y.  Its exponential is off by two units and three more
 * operations by one each, relative; the GELUs cut off their tails, and the polynomial of the erf
 * form fits, to 1e-7.  Behind narrow rows the exponentials of the GELUs are less exact.
 */
static double activation_bound(const struct entry *entry, uint32_t activation, double y)
{
    const bool gelu = activation == VMOE_GELU_TANH_OF || activation == VMOE_GELU_ERF_OF;
    const bool fast = gelu && entry->type != VMOE_PRECISION_F32;

    if (activation == VMOE_IDENTITY)
        return 0;
    return (fast ? FAST_EXPONENTIAL : 7 * UNIT_F32) * fabs(y) + (gelu ? 1e-7 : 0) + (double)FLT_MIN;
}

/* From the sum of row r and column c, and the sum of the magnitudes of its terms. */
static void expect(struct problem *p, size_t r, size_t c, double sum, double magnitude)
{
    const double scale = p->scale != NULL ? (double)p->scale[c] : 1;
    const double factor = p->factors != NULL ? (double)p->factors[r] : 1;
    double error = 4 * UNIT_F32 * sqrt((double)p->k) * magnitude * scale, y;

    if (p->quants != NULL) {
        sum *= (double)p->quants[r].scale;
        error = 2 * UNIT_F32 * fabs(sum) * scale; /* to float, and by the scale */
    }
    sum *= scale;
    y = sum + (p->bias != NULL ? (double)p->bias[c] : 0);
    error += UNIT_F32 * (fabs(sum) + fabs(y));
    y = activate(p->finish.activation, y);
    error = 1.13 * error + activation_bound(p->entry, p->finish.activation, y); /* slope of GELU */
    y *= factor;
    error = error * fabs(factor) + UNIT_F32 * fabs(y);
    if (p->finish.add) {
        y += (double)p->before[r * p->columns + c];
        error += UNIT_F32 * fabs(y);
    }
    p->expected[r * p->columns + c] = y;
    p->bound[r * p->columns + c] =
        p->integers && p->finish.activation == VMOE_IDENTITY ? 0 : error + (double)FLT_MIN;
}

static void expect_all(struct problem *p)
{
    const size_t n = p->columns;
    double *sum = case_memory(n * sizeof *sum), *magnitude = case_memory(n * sizeof *magnitude);

    for (size_t r = 0; r < p->rows; r++) {
        for (size_t c = 0; c < n; c++)
            sum[c] = magnitude[c] = 0;
        for (size_t i = 0; i < p->k; i++) {
            const double a = p->row_values[r * p->k + i];
            const double *w = p->panel_values + i * n;

            for (size_t c = 0; c < n; c++) {
                sum[c] += a * w[c];
                magnitude[c] += fabs(a * w[c]);
            }
        }
        for (size_t c = 0; c < n; c++)
            expect(p, r, c, sum[c], magnitude[c]);
    }
}

static struct problem draw_problem(const struct entry *entry, size_t rows, size_t k,
                                   size_t columns, bool integers, struct finish finish)
{
    struct problem p = { .entry = entry, .finish = finish, .rows = rows, .k = k,
                         .columns = columns, .integers = integers };
    const size_t bytes = k * bytes_of(entry->type);

    case_begin("%s, %zu x %zu x %zu%s, activation %u%s%s%s%s", entry->name, rows, k, columns,
               integers ? ", integers" : "", finish.activation, finish.add ? ", add" : "",
               finish.scattered ? ", scattered" : "", finish.factors ? ", factors" : "",
               finish.bias ? ", bias" : "");
    p.row_bytes = entry->type == VMOE_PRECISION_F32 ? bytes : round_up(bytes, VMOE_ROW_BYTES);
    p.row_extra = (size_t[]){ 0, 1, 7, 31 }[random_below(4)];
    p.out_extra = (size_t[]){ 0, 1, 5, 32 }[random_below(4)];
    p.a = case_memory(rows * p.row_bytes);
    p.row_values = case_memory(rows * k * sizeof *p.row_values);
    p.panels = case_memory(panel_bytes(&p) * round_up(columns, VMOE_PANEL) / VMOE_PANEL);
    p.panel_values = case_memory(k * columns * sizeof *p.panel_values);
    p.expected = case_memory(rows * columns * sizeof *p.expected);
    p.bound = case_memory(rows * columns * sizeof *p.bound);
    if (entry->type == VMOE_PRECISION_INT8)
        p.quants = case_memory(rows * sizeof *p.quants);
    if (entry->panels == VMOE_PRECISION_INT8) {
        p.scale = case_memory(columns * sizeof *p.scale);
        p.sums = case_memory(columns * sizeof *p.sums);
    }
    for (size_t r = 0; r < rows; r++)
        draw_row(&p, r);
    draw_panels(&p);
    if (finish.bias) {
        p.bias = case_memory(columns * sizeof *p.bias);
        for (size_t c = 0; c < columns; c++)
            p.bias[c] = draw(integers);
    }
    if (finish.factors) {
        p.factors = case_memory(rows * sizeof *p.factors);
        for (size_t r = 0; r < rows; r++)
            p.factors[r] = integers ? ldexpf(1.0f, random_integer(-1, 1)) : random_real();
    }
    if (finish.scattered) {
        p.places = case_memory(rows * sizeof *p.places);
        for (size_t r = 0; r < rows; r++)
            p.places[r] = (int32_t)(2 * (rows - r) - random_below(2));
    }
    if (finish.add) {
        p.before = case_memory(rows * columns * sizeof *p.before);
        for (size_t i = 0; i < rows * columns; i++)
            p.before[i] = draw(integers);
    }
    expect_all(&p);
    return p;
}

static struct finish draw_finish(void)
{
    const uint32_t activation = (uint32_t)random_below(4);

    return (struct finish){ .activation = activation,
                            .add = random_chance(3),
                            .scattered = random_chance(3),
                            .factors = activation == VMOE_IDENTITY && random_chance(2),
                            .bias = !random_chance(4) };
}

/* ---- One call ------------------------------------------------------------------------------- */

/* Some rows and columns of a problem; columns begin with a panel. */
struct part {
    size_t row, rows, column, columns;
};

static struct part whole_of(const struct problem *p)
{
    return (struct part){ 0, p->rows, 0, p->columns };
}

/* Lines of the output, most of which stay as they are if rows are scattered. */
static size_t lines_of(const struct problem *p, const struct part *part)
{
    return p->places != NULL ? 2 * p->rows + 1 : part->rows;
}

static size_t line_of(const struct problem *p, const struct part *part, size_t r)
{
    return p->places != NULL ? (size_t)p->places[part->row + r] : r;
}

static void *copy_some(enum memory which, const void *data, size_t item, size_t first, size_t count,
                       enum side side)
{
    const void *from = data != NULL ? (const uint8_t *)data + first * item : NULL;

    return fenced_copy(&memory[which], from, count * item, side);
}

/* Padding rows are NaN.  Rows of float32 have neither. */
static void lay_rows(const struct problem *p, const struct part *part, enum side side,
                     struct vmoe_product *call)
{
    const bool narrow = p->entry->type != VMOE_PRECISION_F32;
    const size_t rows = narrow ? round_up(part->rows, VMOE_ROW_COUNT) : part->rows;
    uint8_t *a;

    call->lda = p->row_bytes + p->row_extra * bytes_of(p->entry->type);
    a = fenced_place(&memory[A], (rows - 1) * call->lda + p->row_bytes, side);
    for (size_t r = 0; r < part->rows; r++)
        memcpy(a + r * call->lda, p->a + (part->row + r) * p->row_bytes, p->row_bytes);
    call->a = a;
}

static struct vmoe_product lay(const struct problem *p, const struct part *part, uint32_t store,
                               enum side side)
{
    const bool bf16 = store == VMOE_STORE_BF16;
    const size_t width = bf16 ? 2 * round_up(part->columns, VMOE_PANEL) : 4 * part->columns;
    const size_t panels = (part->columns + VMOE_PANEL - 1) / VMOE_PANEL;
    const size_t scratch =
        (size_t)vmoe_product_scratch_bytes(p->entry->type, p->entry->panels, p->k);
    struct vmoe_product call = { .rows = part->rows,
                                 .k = p->k,
                                 .columns = part->columns,
                                 .panel_stride = panel_bytes(p),
                                 .panel_bytes = panel_bytes(p),
                                 .activation = p->finish.activation,
                                 .store = store,
                                 .ldo = width + p->out_extra * (bf16 ? 2 : 4) };

    lay_rows(p, part, side, &call);
    call.panels = copy_some(PANELS, p->panels, panel_bytes(p), part->column / VMOE_PANEL, panels,
                            side);
    call.next = side == AT_END ? call.panels : NULL;
    call.quants = copy_some(QUANTS, p->quants, sizeof *p->quants, part->row, part->rows, side);
    call.scale = copy_some(SCALE, p->scale, sizeof *p->scale, part->column, part->columns, side);
    call.sums = copy_some(SUMS, p->sums, sizeof *p->sums, part->column, part->columns, side);
    call.bias = copy_some(BIAS, p->bias, sizeof *p->bias, part->column, part->columns, side);
    call.factors = copy_some(FACTORS, p->factors, sizeof *p->factors, part->row, part->rows, side);
    call.out_rows = copy_some(PLACES, p->places, sizeof *p->places, part->row, part->rows, side);
    call.out = fenced_place(&memory[OUT], (lines_of(p, part) - 1) * call.ldo + width, side);
    if (scratch != 0)
        call.scratch = fenced_place(&memory[SCRATCH], scratch, side);
    return call;
}

/* What a call stored, as (rows, columns); fails if it stored anything else. */
static void collect(const struct problem *p, const struct part *part,
                    const struct vmoe_product *call, float *result)
{
    const size_t lines = lines_of(p, part), gap = p->out_extra;
    const uint8_t *out = call->out;
    const bool bf16 = call->store == VMOE_STORE_BF16;
    const size_t width = call->ldo - gap * (bf16 ? 2 : 4);
    bool *taken = case_memory(lines * sizeof *taken);

    memset(taken, 0, lines * sizeof *taken);
    for (size_t r = 0; r < part->rows; r++) {
        const uint8_t *line = out + line_of(p, part, r) * call->ldo;

        taken[line_of(p, part, r)] = true;
        for (size_t c = 0; c < part->columns; c++)
            result[r * part->columns + c] = bf16 ? bf16_value(((const uint16_t *)(const void *)line)[c])
                                                 : ((const float *)(const void *)line)[c];
        for (size_t c = part->columns; bf16 && c < width / 2; c++)
            if ((((const uint16_t *)(const void *)line)[c] & 0x7fff) != 0)
                case_fail("the padding of row %zu is not zero", r);
    }
    for (size_t l = 0; l < lines; l++) {
        if (!taken[l])
            check_untouched(out + l * call->ldo, width, "of a line that is no row");
        if (l + 1 < lines)
            check_untouched(out + l * call->ldo + width, call->ldo - width, "between lines");
    }
}

static void run(const struct vmoe_kernels *kernels, const struct problem *p, struct part part,
                uint32_t store, enum side side, float *result)
{
    struct vmoe_product call = lay(p, &part, store, side);

    for (size_t r = 0; store == VMOE_ADD_F32 && r < part.rows; r++)
        memcpy((uint8_t *)call.out + line_of(p, &part, r) * call.ldo,
               p->before + (part.row + r) * p->columns + part.column,
               part.columns * sizeof *p->before);
    kernels->product[p->entry->type][p->entry->panels](&call);
    collect(p, &part, &call, result);
}

/* ---- Checks of a problem -------------------------------------------------------------------- */

static uint32_t store_of(const struct problem *p)
{
    return p->finish.add ? VMOE_ADD_F32 : VMOE_STORE_F32;
}

/* A part has the bits that it has in the whole. */
static void check_part(const struct vmoe_kernels *kernels, const struct problem *p,
                       const float *whole, struct part part)
{
    float *result = case_memory(part.rows * part.columns * sizeof *result);

    run(kernels, p, part, store_of(p), AT_END, result);
    for (size_t r = 0; r < part.rows; r++)
        check_same_floats(result + r * part.columns,
                          whole + (part.row + r) * p->columns + part.column, part.columns,
                          "a part of the rows and panels");
}

static struct part draw_part(const struct problem *p)
{
    const size_t panels = (p->columns + VMOE_PANEL - 1) / VMOE_PANEL;
    struct part part = { .row = random_below(p->rows),
                         .column = VMOE_PANEL * random_below(panels) };

    part.rows = 1 + random_below(p->rows - part.row);
    part.columns = p->columns - part.column;
    if (part.columns > VMOE_PANEL && random_chance(2))
        part.columns = VMOE_PANEL;
    return part;
}

/* The bits of a float32 result, rounded; denormals may have become zeros. */
static void check_bf16(const struct vmoe_kernels *kernels, const struct problem *p,
                       const float *whole)
{
    float *result = case_memory(p->rows * p->columns * sizeof *result);

    run(kernels, p, whole_of(p), VMOE_STORE_BF16, AT_END, result);
    for (size_t i = 0; i < p->rows * p->columns; i++)
        if (!same_float(result[i], bf16_value(nearest_bf16(whole[i]))) &&
            !(fabsf(whole[i]) < FLT_MIN && result[i] == 0.0f))
            case_fail("bfloat16 %zu is %.9g, not %.9g rounded", i, (double)result[i],
                      (double)whole[i]);
}

static void check_on(const struct vmoe_kernels *kernels, const struct problem *p)
{
    const size_t n = p->rows * p->columns;
    float *result = case_memory(n * sizeof *result), *again = case_memory(n * sizeof *again);

    case_target(kernels);
    run(kernels, p, whole_of(p), store_of(p), AT_END, result);
    for (size_t i = 0; i < n; i++)
        check_close(result[i], p->expected[i], p->bound[i], "the product", i / p->columns,
                    i % p->columns);
    run(kernels, p, whole_of(p), store_of(p), AT_START, again);
    check_same_floats(again, result, n, "at another place");
    check_part(kernels, p, result, draw_part(p));
    if (!p->finish.add && p->entry->type != VMOE_PRECISION_F32 && kernels->to_bf16 != NULL)
        check_bf16(kernels, p, result);
}

static void check(const struct problem *p)
{
    for (const struct vmoe_kernels *const *t = targets(p->entry); *t != NULL; t++)
        check_on(*t, p);
}

static void check_case(const struct entry *entry, size_t rows, size_t k, size_t columns,
                       bool integers, struct finish finish)
{
    const struct problem p = draw_problem(entry, rows, k, columns, integers, finish);

    check(&p);
}

/* ---- Edges ---------------------------------------------------------------------------------- */

#define ROWS_MAX 50u
#define K_MAX 200u
#define COLUMNS_MAX 100u

/* Each size in turn, the others as they come. */
static void check_tails(const struct entry *entry)
{
    for (size_t k = 1; k <= K_MAX; k++)
        check_case(entry, random_size(ROWS_MAX), k, random_size(COLUMNS_MAX), k % 2,
                   draw_finish());
    for (size_t rows = 1; rows <= ROWS_MAX; rows++)
        for (int integers = 0; integers < 2; integers++)
            check_case(entry, rows, random_size(K_MAX), random_size(COLUMNS_MAX), integers,
                       (struct finish){ 0 });
    for (size_t columns = 1; columns <= COLUMNS_MAX; columns++)
        check_case(entry, random_size(ROWS_MAX), random_size(K_MAX), columns, columns % 2,
                   draw_finish());
}

/* Where kernels work through a panel or the rows in several turns. */
static void check_long(const struct entry *entry)
{
    static const size_t lengths[] = { 512, 513, 769, 1025, 1601, 3100 };

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        check_case(entry, 1, lengths[i], 33, false, draw_finish());
        check_case(entry, 33, lengths[i], 33, false, draw_finish());
    }
    check_case(entry, 290, 65, 33, false, draw_finish());
    check_case(entry, 290, 1601, 33, false, draw_finish());
}

static void check_finishes(const struct entry *entry)
{
    for (uint32_t bits = 0; bits < 64; bits++)
        if ((bits & 16) == 0 || (bits & 3) == VMOE_IDENTITY)
            check_case(entry, 19, 21, 37, bits % 2,
                       (struct finish){ bits & 3, bits & 4, bits & 8, bits & 16, bits & 32 });
}

/* All runs of neighbouring rows. */
static void check_neighbours(const struct entry *entry)
{
    const struct problem p =
        draw_problem(entry, 35, 67, 33, false, (struct finish){ VMOE_GELU_TANH_OF, .bias = true });
    float *whole = case_memory(p.rows * p.columns * sizeof *whole);

    for (const struct vmoe_kernels *const *t = targets(entry); *t != NULL; t++) {
        case_target(*t);
        run(*t, &p, whole_of(&p), VMOE_STORE_F32, AT_END, whole);
        for (size_t rows = 1; rows <= p.rows; rows++)
            for (size_t row = 0; row + rows <= p.rows; row++)
                check_part(*t, &p, whole, (struct part){ row, rows, 0, p.columns });
    }
}

/* The sum of float32 rows as a chain from the first term to the last, with or without FMA. */
static float chain(const struct problem *p, size_t r, size_t c, bool fused)
{
    float sum = 0.0f;

    for (size_t i = 0; i < p->k; i++) {
        const float a = (float)p->row_values[r * p->k + i];
        const float w = (float)p->panel_values[i * p->columns + c];

        sum = fused ? fmaf(a, w, sum) : sum + a * w;
    }
    return p->scale != NULL ? sum * p->scale[c] : sum;
}

/* One of the two kinds of chain gives the bits of all sums of a table. */
static void check_order(const struct entry *entry)
{
    for (const struct vmoe_kernels *const *t = targets(entry); *t != NULL; t++) {
        size_t others[2] = { 0, 0 };

        for (size_t k = 1; k <= 769; k += 48) {
            const struct problem p =
                draw_problem(entry, 15, k, 33, false, (struct finish){ VMOE_IDENTITY });
            float *sums = case_memory(p.rows * p.columns * sizeof *sums);

            case_target(*t);
            run(*t, &p, whole_of(&p), VMOE_STORE_F32, AT_END, sums);
            for (size_t i = 0; i < p.rows * p.columns; i++)
                for (int fused = 0; fused < 2; fused++)
                    others[fused] += sums[i] != chain(&p, i / p.columns, i % p.columns, fused);
        }
        if (others[0] != 0 && others[1] != 0)
            case_fail("sums are no chains: %zu differ without FMA, %zu with it", others[0],
                      others[1]);
    }
}

/* ---- Values that are special ---------------------------------------------------------------- */

/* What a row is worth that has `value` somewhere: NaN, or an infinity times the weight there. */
static float poisoned_sum(const struct problem *p, float value, size_t i, size_t c)
{
    const double w = p->panel_values[i * p->columns + c];

    return p->quants != NULL ? NAN : (float)((double)value * (w < 0 ? -1 : w > 0 ? 1 : 0));
}

/* A row with something that is not finite; int8 rows have that in their scale. */
static void check_poison(const struct vmoe_kernels *kernels, struct problem *p, float value,
                         size_t row, size_t i)
{
    const size_t n = p->columns;
    float *clean = case_memory(p->rows * n * sizeof *clean);
    float *found = case_memory(p->rows * n * sizeof *found);
    uint8_t *at = p->a + row * p->row_bytes, *saved = case_memory(p->row_bytes);

    run(kernels, p, whole_of(p), VMOE_STORE_F32, AT_END, clean);
    memcpy(saved, at, p->row_bytes);
    if (p->quants != NULL)
        p->quants[row].scale = NAN;
    else
        put(p->entry->type, at, i, value);
    run(kernels, p, whole_of(p), VMOE_STORE_F32, AT_END, found);
    for (size_t c = 0; c < n; c++) {
        clean[row * n + c] = poisoned_sum(p, value, i, c);
    }
    check_same_floats(found, clean, p->rows * n, "beside a row that is not finite");
    memcpy(at, saved, p->row_bytes);
    if (p->quants != NULL)
        p->quants[row].scale = 1.0f;
}

static void check_poisons(const struct entry *entry)
{
    static const float values[] = { NAN, INFINITY, -INFINITY };

    for (const struct vmoe_kernels *const *t = targets(entry); *t != NULL; t++)
        for (size_t k = 1; k < 70; k += 17)
            for (size_t v = 0; v < 3; v++) {
                struct problem p =
                    draw_problem(entry, 18, k, 34, true, (struct finish){ VMOE_IDENTITY });

                case_target(*t);
                check_poison(*t, &p, values[v], random_below(18), random_below(k));
                check_poison(*t, &p, values[v], 17, k - 1);
            }
}

/* A row of zeros gives the bias, and one of denormals next to nothing else. */
static void check_nothing(const struct entry *entry, float nothing)
{
    for (const struct vmoe_kernels *const *t = targets(entry); *t != NULL; t++)
        for (size_t k = 1; k < 70; k += 17) {
            struct problem p = draw_problem(entry, 2, k, 34, false, (struct finish){ .bias = true });
            float *found = case_memory(p.rows * p.columns * sizeof *found);

            case_target(*t);
            for (size_t i = 0; i < k; i++)
                put(entry->type, p.a, i, p.quants != NULL ? (float)p.quants[0].zero : nothing);
            run(*t, &p, whole_of(&p), VMOE_STORE_F32, AT_END, found);
            for (size_t c = 0; c < p.columns; c++)
                check_close(found[c], (double)p.bias[c], nothing == 0.0f ? 0 : 1e-36,
                            "a row of nothing", 0, c);
        }
}

/* ---- Activations of all numbers ------------------------------------------------------------- */

#define CHUNK (31 * VMOE_PANEL)

/* Activations of a chunk, as the biases of a product that is zero. */
static void activate_chunk(const struct vmoe_kernels *kernels, const struct entry *entry,
                           uint32_t activation, const float *x, float *y)
{
    static const uint8_t zeros[VMOE_ROW_COUNT * VMOE_ROW_BYTES];
    static _Alignas(64) const uint8_t panels[31][64 * VMOE_PANEL];
    static _Alignas(64) uint8_t scratch[2 * 64 * VMOE_PANEL];
    static const struct vmoe_quant quant = { 1.0f, 0 };
    static const float scale[CHUNK];
    static const int32_t sums[CHUNK];
    const bool int8 = entry->panels == VMOE_PRECISION_INT8;
    const struct vmoe_product call = {
        .rows = 1, .k = 1, .columns = CHUNK, .a = zeros, .lda = VMOE_ROW_BYTES,
        .quants = entry->type == VMOE_PRECISION_INT8 ? &quant : NULL,
        .panels = panels, .panel_stride = sizeof panels[0], .panel_bytes = sizeof panels[0],
        .scale = int8 ? scale : NULL, .sums = int8 ? sums : NULL, .bias = x,
        .activation = activation, .out = y, .ldo = CHUNK * sizeof *y, .scratch = scratch
    };

    kernels->product[entry->type][entry->panels](&call);
}

static void check_chunk(const struct entry *entry, uint32_t activation, const float *x)
{
    static float first[CHUNK], found[CHUNK];
    static double expected[CHUNK];
    const struct vmoe_kernels *const *const all = targets(entry);

    for (size_t i = 0; i < CHUNK; i++)
        expected[i] = activate(activation, (double)x[i]);
    for (size_t t = 0; all[t] != NULL; t++) {
        case_target(all[t]);
        activate_chunk(all[t], entry, activation, x, t == 0 ? first : found);
        for (size_t i = 0; i < CHUNK; i++)
            check_close(t == 0 ? first[i] : found[i], expected[i],
                        activation_bound(entry, activation, expected[i]), "activation", 0, i);
        if (t > 0 && entry->type == VMOE_PRECISION_F32)
            check_same_floats(found, first, CHUNK, "an activation on another table");
    }
}

/* Finite numbers of every size and sign. */
static void check_activations(const struct entry *entry)
{
    const uint32_t step = 8009;
    float x[CHUNK];

    for (uint32_t activation = VMOE_GELU_TANH_OF; activation <= VMOE_TANH_OF; activation++)
        for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += CHUNK * step) {
            case_begin("%s, activation %u of the floats from %08x on", entry->name, activation,
                       (uint32_t)bits);
            for (size_t i = 0; i < CHUNK; i++) {
                x[i] = float_of((uint32_t)(bits + i * step));
                if (!isfinite(x[i]))
                    x[i] = 1.0f;
            }
            check_chunk(entry, activation, x);
        }
}

static void check_limits(const struct entry *entry)
{
    static const float x[] = { -INFINITY, INFINITY, NAN, -FLT_MAX, 0.0f };
    float in[CHUNK] = { 0 }, out[CHUNK];

    memcpy(in, x, sizeof x);
    for (uint32_t activation = VMOE_GELU_TANH_OF; activation <= VMOE_TANH_OF; activation++) {
        const float low = activation == VMOE_TANH_OF ? -1.0f : 0.0f;
        const float high = activation == VMOE_TANH_OF ? 1.0f : INFINITY;

        case_begin("%s, activation %u of infinities and NaN", entry->name, activation);
        for (const struct vmoe_kernels *const *t = targets(entry); *t != NULL; t++) {
            case_target(*t);
            activate_chunk(*t, entry, activation, in, out);
            if (!(fabsf(out[0] - low) < 1e-30f) || out[1] != high || !isnan(out[2]) ||
                !(fabsf(out[3] - low) < 1e-30f) || out[4] != 0.0f)
                case_fail("%g, %g, %g, %g, %g", (double)out[0], (double)out[1], (double)out[2],
                          (double)out[3], (double)out[4]);
        }
    }
}

/* ---- The entries ---------------------------------------------------------------------------- */

static void edges(const struct entry *entry)
{
    check_tails(entry);
    check_long(entry);
    check_finishes(entry);
    check_neighbours(entry);
    if (entry->type == VMOE_PRECISION_F32)
        check_order(entry);
    check_poisons(entry);
    check_nothing(entry, 0.0f);
    check_nothing(entry, 1e-40f);
    check_activations(entry);
    check_limits(entry);
}

static void random_case(const struct entry *entry)
{
    const bool integers = random_chance(2);
    const size_t k = integers || random_chance(4) ? random_size(400) : random_size(4000);

    check_case(entry, random_size(100), k, random_size(200), integers, draw_finish());
}

struct timed {
    const struct vmoe_kernels *kernels;
    const struct entry *entry;
    struct vmoe_product call;
};

static void work(void *context, size_t i)
{
    const struct timed *timed = context;

    (void)i;
    timed->kernels->product[timed->entry->type][timed->entry->panels](&timed->call);
}

static void bench(const struct entry *entry, const struct vmoe_kernels *kernels)
{
    static const size_t shapes[][3] = { { 1, 768, 768 }, { 50, 768, 768 }, { 197, 768, 768 },
                                        { 197, 3072, 96 } };

    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        const size_t m = shapes[s][0], k = shapes[s][1], n = shapes[s][2];
        const struct problem p =
            draw_problem(entry, m, k, n, false, (struct finish){ .bias = true });
        const struct part whole = whole_of(&p);
        struct timed timed = { kernels, entry, { 0 } };
        char shape[40];

        check_on(kernels, &p);
        timed.call = lay(&p, &whole, VMOE_STORE_F32, AT_END);
        snprintf(shape, sizeof shape, "%zu x %zu x %zu", m, k, n);
        bench_print(kernels, entry, shape, 2.0 * (double)(m * k * n), "FLOP", work, &timed);
    }
}

#define PRODUCT(rows, rows_name, panels, panels_name)                                              \
    {                                                                                              \
        "product " rows_name " x " panels_name, SLOT(product[rows][panels]), rows, panels, edges,  \
            random_case, bench                                                                     \
    }

const struct entry product_entries[] = {
    PRODUCT(VMOE_PRECISION_F32, "f32", VMOE_PRECISION_F32, "f32"),
    PRODUCT(VMOE_PRECISION_F32, "f32", VMOE_PRECISION_BF16, "bf16"),
    PRODUCT(VMOE_PRECISION_F32, "f32", VMOE_PRECISION_INT8, "int8"),
    PRODUCT(VMOE_PRECISION_BF16, "bf16", VMOE_PRECISION_BF16, "bf16"),
    PRODUCT(VMOE_PRECISION_BF16, "bf16", VMOE_PRECISION_INT8, "int8"),
    PRODUCT(VMOE_PRECISION_INT8, "int8", VMOE_PRECISION_INT8, "int8"),
    { 0 },
};
