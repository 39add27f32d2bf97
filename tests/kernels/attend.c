/*
 * Attention of one head against softmax and mixture in double.
 *
 * A weight exp(x), x = (score - largest) * factor, is off by the relative error d: that of its score
 * (as in product.c) times the factor, four units of |x| for the roundings on the way to the
 * exponential, the exponential itself, and in bfloat16 the rounding of the weight.  The mixture is
 * off by the mean of d |v|, its divisor by the mean of d, and a sum over tokens is rounded, too.
 *
 * On integers a query looks at one dimension of the keys, which has ones in 1, 2 or 4 places; the
 * weights of all other keys vanish, and the mean of these values is exact in either type.
 */
#include <stdio.h>

#include "kernels/harness.h"

enum memory { Q, K, V, OUT, SCRATCH, MEMORIES };

static struct fenced memory[MEMORIES];

/* The rows of q, k or v: (rows, width), each padded to row_bytes. */
struct rows {
    size_t count;
    uint8_t *data;
    double *values;
};

struct head {
    const struct entry *entry;
    size_t queries, tokens, width;
    float factor;
    bool integers;
    size_t row_bytes;
    size_t extra; /* numbers between rows */
    struct rows q, k, v;
    double *expected, *bound; /* (queries, width) */
};

static bool narrow(const struct head *head)
{
    return head->entry->type == VMOE_PRECISION_BF16;
}

static size_t item_of(const struct head *head)
{
    return narrow(head) ? sizeof(uint16_t) : sizeof(float);
}

/* ---- What goes in --------------------------------------------------------------------------- */

static void set_value(const struct head *head, struct rows *rows, size_t r, size_t i, float value)
{
    uint8_t *row = rows->data + r * head->row_bytes;

    if (narrow(head)) {
        ((uint16_t *)(void *)row)[i] = nearest_bf16(value);
        value = bf16_value(nearest_bf16(value));
    } else {
        ((float *)(void *)row)[i] = value;
    }
    if (i < head->width)
        rows->values[r * head->width + i] = (double)value;
}

/* Padding is like the columns of another head. */
static struct rows draw_rows(const struct head *head, size_t count, float size)
{
    struct rows rows = { .count = count };

    rows.data = case_memory(count * head->row_bytes);
    rows.values = case_memory(count * head->width * sizeof *rows.values);
    for (size_t r = 0; r < count; r++)
        for (size_t i = 0; i < head->row_bytes / item_of(head); i++)
            set_value(head, &rows, r, i,
                      head->integers ? (float)random_integer(-7, 7) : size * random_real());
    return rows;
}

/*
 * See the head of this file: scores are 0 and at least 2048 / 8, up to where a score times the factor
 * is rounded by more than an exponential can stand.
 */
static void choose_keys(struct head *head)
{
    const float look = ldexpf((float)random_integer(64, 127), random_integer(5, 54));

    head->factor = 0.125f;
    for (size_t i = 0; i < head->width; i++) {
        size_t chosen = (size_t)1 << random_below(3);

        while (chosen > head->tokens)
            chosen /= 2;
        for (size_t t = 0; t < head->tokens; t++) {
            /* Each of the tokens that are left is as likely as the others. */
            const bool one = random_below(head->tokens - t) < chosen;

            set_value(head, &head->k, t, i, one ? 1.0f : 0.0f);
            chosen -= one;
        }
        for (size_t r = 0; r < head->queries; r++)
            set_value(head, &head->q, r, i, r % head->width == i ? look : 0.0f);
    }
}

/* ---- What is expected ----------------------------------------------------------------------- */

/* Scores of a query, times the factor, and their bounds. */
static void score(const struct head *head, size_t r, double *scores, double *errors)
{
    const double *q = head->q.values + r * head->width;
    const double factor = (double)head->factor;

    for (size_t t = 0; t < head->tokens; t++) {
        const double *k = head->k.values + t * head->width;
        double sum = 0, magnitude = 0;

        for (size_t i = 0; i < head->width; i++) {
            sum += q[i] * k[i];
            magnitude += fabs(q[i] * k[i]);
        }
        scores[t] = sum * factor;
        errors[t] = 4 * UNIT_F32 * sqrt((double)head->width) * magnitude * factor;
    }
}

/* Makes weights of scores, whose sum is 1; the errors become relative. */
static void soften(const struct head *head, double *scores, double *errors)
{
    double most = -INFINITY, sum = 0;

    for (size_t t = 0; t < head->tokens; t++)
        most = fmax(most, scores[t]);
    for (size_t t = 0; t < head->tokens; t++) {
        const double x = scores[t] - most;

        errors[t] += 4 * UNIT_F32 * (fabs(x) + 1) + (narrow(head) ? UNIT_BF16 + FAST_EXPONENTIAL : 0);
        scores[t] = exp(x);
        sum += scores[t];
    }
    for (size_t t = 0; t < head->tokens; t++)
        scores[t] /= sum;
}

static void expect(struct head *head)
{
    const double root = sqrt((double)head->tokens), last = narrow(head) ? UNIT_BF16 : 0;
    double *weights = case_memory(head->tokens * sizeof *weights);
    double *errors = case_memory(head->tokens * sizeof *errors);

    head->expected = case_memory(head->queries * head->width * sizeof *head->expected);
    head->bound = case_memory(head->queries * head->width * sizeof *head->bound);
    for (size_t r = 0; r < head->queries; r++) {
        score(head, r, weights, errors);
        soften(head, weights, errors);
        for (size_t i = 0; i < head->width; i++) {
            double mixed = 0, magnitude = 0, above = 0, below = 0;

            for (size_t t = 0; t < head->tokens; t++) {
                const double v = head->v.values[t * head->width + i];

                mixed += weights[t] * v;
                magnitude += fabs(weights[t] * v);
                above += weights[t] * errors[t] * fabs(v);
                below += weights[t] * errors[t];
            }
            above += 4 * UNIT_F32 * root * magnitude;
            below += 4 * UNIT_F32 * root + last;
            head->expected[r * head->width + i] = mixed;
            head->bound[r * head->width + i] =
                (head->integers ? 0 : 1.01 * (above + below * fabs(mixed))) + (double)FLT_MIN;
        }
    }
}

static struct head draw_head(const struct entry *entry, size_t queries, size_t tokens, size_t width,
                             bool integers)
{
    struct head head = { .entry = entry, .queries = queries, .tokens = tokens, .width = width,
                         .integers = integers };

    case_begin("%s, %zu queries, %zu tokens, width %zu%s", entry->name, queries, tokens, width,
               integers ? ", integers" : "");
    head.factor = 1.0f / sqrtf((float)width);
    head.row_bytes = narrow(&head) ? round_up(2 * width, VMOE_ROW_BYTES) : 4 * width;
    head.extra = (size_t[]){ 0, 1, 7, 32 }[random_below(4)];
    head.q = draw_rows(&head, queries, ldexpf(1.0f, random_integer(0, 4)));
    head.k = draw_rows(&head, tokens, 1.0f);
    head.v = draw_rows(&head, tokens, 1.0f);
    if (integers)
        choose_keys(&head);
    expect(&head);
    return head;
}

/* ---- One call ------------------------------------------------------------------------------- */

static const void *lay_rows(const struct head *head, enum memory which, const struct rows *rows,
                            size_t first, size_t count, enum side side)
{
    const size_t stride = head->row_bytes + head->extra * item_of(head);
    const size_t padded = narrow(head) ? round_up(count, VMOE_ROW_COUNT) : count;
    uint8_t *to = fenced_place(&memory[which], (padded - 1) * stride + head->row_bytes, side);

    for (size_t r = 0; r < count; r++)
        memcpy(to + r * stride, rows->data + (first + r) * head->row_bytes, head->row_bytes);
    return to;
}

static struct vmoe_attend lay(const struct head *head, size_t first, size_t queries, enum side side)
{
    const size_t item = item_of(head), stride = head->row_bytes + head->extra * item;
    const size_t ldo = (head->width + head->extra) * item;
    const size_t scratch =
        (size_t)vmoe_attend_bytes(head->entry->type, head->tokens, head->width);

    assert_int_equal(scratch % 64, 0);
    return (struct vmoe_attend){
        .queries = queries,
        .tokens = head->tokens,
        .width = head->width,
        .factor = head->factor,
        .q = lay_rows(head, Q, &head->q, first, queries, side),
        .k = lay_rows(head, K, &head->k, 0, head->tokens, side),
        .v = lay_rows(head, V, &head->v, 0, head->tokens, side),
        .ldq = stride,
        .ldkv = stride,
        .out = fenced_place(&memory[OUT], (queries - 1) * ldo + head->width * item, side),
        .ldo = ldo,
        .scratch = fenced_place(&memory[SCRATCH], scratch, side),
        .scratch_bytes = scratch
    };
}

static void run(const struct vmoe_kernels *kernels, const struct head *head, size_t first,
                size_t queries, enum side side, float *result)
{
    const struct vmoe_attend call = lay(head, first, queries, side);
    const size_t width = head->width * item_of(head);

    kernels->attend[head->entry->type](&call);
    for (size_t r = 0; r < queries; r++) {
        const uint8_t *out = (const uint8_t *)call.out + r * call.ldo;

        for (size_t i = 0; i < head->width; i++)
            result[r * head->width + i] =
                narrow(head) ? bf16_value(((const uint16_t *)(const void *)out)[i])
                             : ((const float *)(const void *)out)[i];
        if (r + 1 < queries)
            check_untouched(out + width, call.ldo - width, "between rows");
    }
}

/* ---- Checks --------------------------------------------------------------------------------- */

static void check_on(const struct vmoe_kernels *kernels, const struct head *head)
{
    const size_t n = head->queries * head->width, first = random_below(head->queries);
    const size_t some = 1 + random_below(head->queries - first);
    float *result = case_memory(n * sizeof *result), *again = case_memory(n * sizeof *again);

    case_target(kernels);
    run(kernels, head, 0, head->queries, AT_END, result);
    for (size_t i = 0; i < n; i++)
        check_close(result[i], head->expected[i], head->bound[i], "attention", i / head->width,
                    i % head->width);
    run(kernels, head, 0, head->queries, AT_START, again);
    check_same_floats(again, result, n, "at another place");
    run(kernels, head, first, some, AT_END, again);
    check_same_floats(again, result + first * head->width, some * head->width,
                      "some of the queries");
}

static void check_case(const struct entry *entry, size_t queries, size_t tokens, size_t width,
                       bool integers)
{
    const struct head head = draw_head(entry, queries, tokens, width, integers);

    for (const struct vmoe_kernels *const *t = targets(entry); *t != NULL; t++)
        check_on(*t, &head);
}

/* NaN in a query spoils its row, in a key everything, in a value its column. */
static void check_nan(const struct entry *entry, size_t tokens)
{
    const size_t queries = 35, width = 20, r = random_below(queries), i = random_below(width);
    const struct vmoe_kernels *const *t = targets(entry);

    for (; *t != NULL; t++)
        for (int what = 0; what < 3; what++) {
            struct head head = draw_head(entry, queries, tokens, width, false);
            struct rows *const rows[] = { &head.q, &head.k, &head.v };
            float *clean = case_memory(queries * width * sizeof *clean);
            float *found = case_memory(queries * width * sizeof *found);

            case_target(*t);
            run(*t, &head, 0, queries, AT_END, clean);
            set_value(&head, rows[what], what == 0 ? r : random_below(tokens), i, NAN);
            run(*t, &head, 0, queries, AT_END, found);
            for (size_t at = 0; at < queries * width; at++)
                if (what == 1 || (what == 0 && at / width == r) || (what == 2 && at % width == i))
                    clean[at] = NAN;
            check_same_floats(found, clean, queries * width, "with a NaN");
        }
}

static void edges(const struct entry *entry)
{
    for (size_t tokens = 1; tokens <= 100; tokens++)
        check_case(entry, random_size(40), tokens, random_size(80), tokens % 2);
    for (size_t queries = 1; queries <= 70; queries++)
        check_case(entry, queries, random_size(80), random_size(80), queries % 2);
    for (size_t width = 1; width <= 100; width++)
        check_case(entry, random_size(40), random_size(80), width, width % 2);
    for (size_t tokens = 1; tokens <= 70; tokens += 23)
        check_nan(entry, tokens);
}

static void random_case(const struct entry *entry)
{
    check_case(entry, random_size(100), random_size(300), random_size(130), random_chance(2));
}

struct timed {
    const struct vmoe_kernels *kernels;
    uint32_t type;
    struct vmoe_attend call;
};

static void work(void *context, size_t i)
{
    const struct timed *timed = context;

    (void)i;
    timed->kernels->attend[timed->type](&timed->call);
}

static void bench(const struct entry *entry, const struct vmoe_kernels *kernels)
{
    static const size_t shapes[][2] = { { 50, 64 }, { 197, 64 }, { 577, 64 }, { 257, 80 } };

    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        const size_t tokens = shapes[s][0], width = shapes[s][1];
        const struct head head = draw_head(entry, tokens, tokens, width, false);
        struct timed timed = { kernels, entry->type, { 0 } };
        char shape[40];

        check_on(kernels, &head);
        timed.call = lay(&head, 0, tokens, AT_END);
        snprintf(shape, sizeof shape, "%zu x %zu", tokens, width);
        bench_print(kernels, entry, shape, 4.0 * (double)(tokens * tokens * width), "FLOP", work,
                    &timed);
    }
}

const struct entry attend_entries[] = {
    { "attend f32", SLOT(attend[VMOE_PRECISION_F32]), VMOE_PRECISION_F32, 0, edges, random_case,
      bench },
    { "attend bf16", SLOT(attend[VMOE_PRECISION_BF16]), VMOE_PRECISION_BF16, 0, edges, random_case,
      bench },
    { 0 },
};
