/*
 * Measures matrix products as layers: the multiply-add peak of a core, and vmoe_linear_run with
 * weights that stay in the caches ("hot") and weights that come from memory ("cold": more than 300
 * MB of them in turn).  One call of each kernel is timed by `test_kernels --bench`.
 *
 *     bench_kernels [--isa NAME] [--threads N] [--rows N] [--gelu] [--quick]
 *
 * A shared machine is quiet only at times: trust the best of several runs, and compare only what
 * was measured in the same minute.
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmoe.h>

#include "kernels/kernels.h"
#include "kernels/linear.h"
#include "kernels/pack.h"
#include "runtime/cpu.h"
#include "runtime/memory.h"
#include "runtime/team.h"
#include "timing.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/x86/amx.h"
#endif

#define COLD_BYTES ((uint64_t)320 << 20)
#define ROWS_MAX (1576u + VMOE_ROW_COUNT)
#define K_MAX 5120u
#define N_MAX 5120u

static const char *const precision_names[] = { "auto", "f32", "bf16", "int8" };

struct bench {
    double seconds; /* for one figure */
    uint32_t isa;   /* 0: all */
    uint32_t threads;
    size_t rows_only; /* 0: all */
    uint32_t activation;
    struct vmoe_team *team;
    uint8_t *pool; /* COLD_BYTES and one more matrix */
    float *a, *out, *source, *scales, *bias;
    void *rows;
    uint8_t *scratch;
    uint64_t scratch_bytes; /* of a thread */
    int32_t *sums;
    struct vmoe_quant *quants;
};

/* ---- Peaks ---------------------------------------------------------------------------------- */

#define PEAK_STEPS 4000
#define PEAK_CHAINS 12 /* with factor and term, 14 of 16 registers */

/* What a core can do at most with rows of a type, in multiplications and additions a second. */
struct peak {
    void (*work)(void *context, size_t i);
    double operations; /* of one work */
    bool reads;        /* random numbers; the others write */
};

#if defined(__x86_64__)
/* Independent chains of multiply-adds; `out` keeps them alive. */
#define PEAK(name, isa, type, set, madd, store, lanes)                                             \
    __attribute__((target(isa))) static void name(void *context, size_t i)                         \
    {                                                                                              \
        type chain[PEAK_CHAINS], factor = set(0.999f), term = set((float)(i & 1));                 \
        float *out = context;                                                                      \
                                                                                                   \
        _Pragma("GCC unroll 16") for (int c = 0; c < PEAK_CHAINS; c++) chain[c] = set((float)c);   \
        for (int step = 0; step < PEAK_STEPS; step++)                                              \
            _Pragma("GCC unroll 16") for (int c = 0; c < PEAK_CHAINS; c++) chain[c] =              \
                madd(chain[c], factor, term);                                                      \
        _Pragma("GCC unroll 16") for (int c = 0; c < PEAK_CHAINS; c++)                             \
            store(out + c * lanes, chain[c]);                                                      \
    }

#define MUL_ADD(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)

/*
 * Bytes widened to 16 bits, whose products are added in pairs.  Left to itself, the compiler
 * multiplies all chains before it adds, and has no registers for that.
 */
__attribute__((target("avx2"), always_inline)) static inline __m256 add_pairs(__m256 a, __m256 b,
                                                                              __m256 c)
{
    __asm__("vpmaddwd %1, %0, %0\n\tvpaddd %2, %0, %0" : "+x"(a) : "x"(b), "x"(c));
    return a;
}

PEAK(peak_ref, "sse2", __m128, _mm_set1_ps, MUL_ADD, _mm_storeu_ps, 4)
PEAK(peak_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_storeu_ps, 8)
PEAK(peak_pairs, "avx2", __m256, _mm256_set1_ps, add_pairs, _mm256_storeu_ps, 8)
PEAK(peak_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_storeu_ps, 16)

/* The same of instructions that add several products of narrow numbers to a sum. */
#define PEAK_DOT(name, isa, dot)                                                                   \
    __attribute__((target(isa))) static void name(void *context, size_t i)                         \
    {                                                                                              \
        __m512i chain[PEAK_CHAINS], factor = _mm512_set1_epi8((char)(i & 1));                      \
        float *out = context;                                                                      \
                                                                                                   \
        _Pragma("GCC unroll 16") for (int c = 0; c < PEAK_CHAINS; c++) chain[c] =                  \
            _mm512_set1_epi32(c);                                                                  \
        for (int step = 0; step < PEAK_STEPS; step++)                                              \
            _Pragma("GCC unroll 16") for (int c = 0; c < PEAK_CHAINS; c++) chain[c] =              \
                dot(chain[c], factor, factor);                                                     \
        _Pragma("GCC unroll 16") for (int c = 0; c < PEAK_CHAINS; c++)                             \
            _mm512_storeu_si512(out + c * 16, chain[c]);                                           \
    }

#define DOT_BF16(sum, a, b) (__m512i)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b)

PEAK_DOT(peak_vnni, "avx512f,avx512vnni", _mm512_dpbusd_epi32)
PEAK_DOT(peak_bf16, "avx512f,avx512bf16", DOT_BF16)

/*
 * The tile unit with its loads, of rows and panels that stay in the first-level cache, on random
 * data: on zeros it is faster than on anything that is ever multiplied.
 */
#define TILE_PEAK_STEPS 4u /* of 4 KiB each */
#define TILE_PEAK_ROUNDS 1000u
#define TILE_PEAK_PRODUCTS (2.0 * TILE_PEAK_STEPS * TILE_PEAK_ROUNDS * 32 * VMOE_PANEL)

#define PEAK_TILES(name, TILE_DOT)                                                                 \
    static void name(void *context, size_t i)                                                      \
    {                                                                                              \
        const uint8_t *data = context;                                                             \
                                                                                                   \
        (void)i;                                                                                   \
        tiles_begin();                                                                             \
        for (size_t step = 0; step < TILE_PEAK_STEPS * TILE_PEAK_ROUNDS; step++) {                 \
            const uint8_t *at = data + step % TILE_PEAK_STEPS * 4 * TILE_BYTES;                    \
                                                                                                   \
            TILE_LOAD(6, at, 64ul);                                                                \
            TILE_LOAD(7, at + TILE_BYTES, 64ul);                                                   \
            TILE_LOAD(4, at + 2 * TILE_BYTES, 64ul);                                               \
            TILE_DOT(0, 4, 6);                                                                     \
            TILE_DOT(1, 4, 7);                                                                     \
            TILE_LOAD(5, at + 3 * TILE_BYTES, 64ul);                                               \
            TILE_DOT(2, 5, 6);                                                                     \
            TILE_DOT(3, 5, 7);                                                                     \
        }                                                                                          \
        tiles_end();                                                                               \
    }

PEAK_TILES(peak_tiles_bf16, TILE_DOT_BF16)
PEAK_TILES(peak_tiles_int8, TILE_DOT_INT8)

static struct peak peak_of(uint32_t isa, uint32_t rows)
{
    const double steps = 2.0 * PEAK_STEPS * PEAK_CHAINS;

    if (isa == VMOE_ISA_AMX && rows == VMOE_PRECISION_BF16)
        return (struct peak){ peak_tiles_bf16, TILE_PEAK_PRODUCTS * 32, true };
    if (isa == VMOE_ISA_AMX && rows == VMOE_PRECISION_INT8)
        return (struct peak){ peak_tiles_int8, TILE_PEAK_PRODUCTS * 64, true };
    if (isa == VMOE_ISA_AVX2 && rows == VMOE_PRECISION_INT8)
        return (struct peak){ peak_pairs, steps * 16, false };
    if (rows == VMOE_PRECISION_INT8)
        return (struct peak){ peak_vnni, steps * 64, false };
    if (rows == VMOE_PRECISION_BF16)
        return (struct peak){ peak_bf16, steps * 32, false };
    if (isa == VMOE_ISA_REF)
        return (struct peak){ peak_ref, steps * 4, false };
    return isa == VMOE_ISA_AVX2 ? (struct peak){ peak_avx2, steps * 8, false }
                                : (struct peak){ peak_avx512, steps * 16, false };
}
#endif

/* Operations a second, or 0 where nobody wrote a probe. */
static double measure_peak(const struct bench *bench, uint32_t isa, uint32_t rows)
{
#if defined(__x86_64__)
    const struct peak peak = peak_of(isa, rows);
    const struct figure figure = figure_measure(4 * bench->seconds, peak.work,
                                                peak.reads ? bench->source : bench->out);

    return peak.operations / figure.best;
#else
    (void)bench;
    (void)isa;
    (void)rows;
    return 0.0;
#endif
}

/* ---- Matrix products ------------------------------------------------------------------------ */

struct product {
    const struct vmoe_kernels *kernels;
    struct vmoe_team *team;
    struct vmoe_linear layer;
    struct vmoe_linear_part part;
    struct vmoe_linear_call call;
    const uint8_t *pool;
    uint64_t bytes; /* of a matrix */
    size_t copies;  /* to use in turn */
};

static void run_product(void *context, size_t i)
{
    struct product *product = context;

    product->layer.panels = product->pool + i % product->copies * product->bytes;
    vmoe_linear_run(product->kernels, product->team, &product->call);
}

static void print_product(const struct bench *bench, struct product *product, size_t rows,
                          double peak)
{
    const uint64_t copies = COLD_BYTES / product->bytes + 1;
    const double flop = 2.0 * (double)rows * product->layer.k * product->layer.n;
    vmoe_error error;

    product->part.rows = rows;
    printf("%4zu x %4u x %4u |", rows, product->layer.k, product->layer.n);
    for (uint32_t threads = 1; threads <= bench->threads; threads *= 2) {
        if (vmoe_team_resize(bench->team, threads, &error) != VMOE_OK) {
            printf(" %s\n", error.text);
            return;
        }
        for (int cold = 0; cold < 2; cold++) {
            struct figure figure;

            product->copies = cold ? (size_t)copies : 1;
            figure = figure_measure(bench->seconds, run_product, product);
            printf(" %7.1f /%7.1f", flop / figure.best * 1e-9, flop / figure.median * 1e-9);
            if (peak > 0)
                printf(" %3.0f %%", 100.0 * flop / figure.best / peak / threads);
            printf(" |");
        }
    }
    printf("\n");
    fflush(stdout);
}

/* Rows of a type; values of padding are like the others. */
static struct vmoe_matrix rows_of(const struct bench *bench, const struct vmoe_kernels *kernels,
                                  uint32_t type, size_t k)
{
    struct vmoe_matrix rows = { .type = type,
                                .data = bench->rows,
                                .stride = vmoe_matrix_stride(type, k),
                                .quants = bench->quants };

    for (size_t r = 0; r < ROWS_MAX; r++)
        vmoe_matrix_set(kernels, &rows, r, k, bench->a + r % 64 * k);
    return rows;
}

static void print_products(const struct bench *bench, const struct vmoe_kernels *kernels,
                           uint32_t type, uint32_t precision)
{
    static const uint32_t shapes[][2] = { { 512, 1536 },  { 512, 2048 },  { 2048, 512 },
                                          { 768, 768 },   { 768, 2304 },  { 768, 3072 },
                                          { 3072, 768 },  { 1280, 5120 }, { 5120, 1280 } };
    static const size_t rows[] = { 1, 12, 50, 197, 577, 1576 };
    const double peak = measure_peak(bench, kernels->isa, type);
    /* As the encoder stores them: narrow, where a table can. */
    const uint32_t store = type != VMOE_PRECISION_F32 && kernels->to_bf16 != NULL
                               ? VMOE_PRECISION_BF16
                               : VMOE_PRECISION_F32;

    printf("\n%s, %s rows, %s weights, GFLOP/s, best / median, %% of %.0f:\n",
           vmoe_isa_name(kernels->isa), precision_names[type], precision_names[precision],
           peak * 1e-9);
    printf("rows x    k x    n |");
    for (uint32_t threads = 1; threads <= bench->threads; threads *= 2)
        printf(" %3u threads, hot       |            cold       |", threads);
    printf("\n");
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        const uint32_t k = shapes[s][0], n = shapes[s][1];
        struct product product = { .kernels = kernels, .team = bench->team, .pool = bench->pool };

        product.layer = (struct vmoe_linear){ .scale = bench->scales, .sum = bench->sums,
                                              .bias = bench->bias, .k = k, .n = n,
                                              .precision = precision };
        product.part.layer = &product.layer;
        product.call = (struct vmoe_linear_call){ .parts = &product.part, .count = 1,
                                                  .a = rows_of(bench, kernels, type, k),
                                                  .out = bench->out,
                                                  .ldo = vmoe_matrix_stride(store, n),
                                                  .store = store == VMOE_PRECISION_BF16
                                                               ? VMOE_STORE_BF16
                                                               : VMOE_STORE_F32,
                                                  .activation = bench->activation,
                                                  .scratch = bench->scratch,
                                                  .scratch_bytes = bench->scratch_bytes };
        product.bytes = vmoe_pack_bytes(precision, k, n);
        vmoe_pack(precision, k, n, bench->source, n, 1, bench->pool, bench->scales);
        for (uint64_t copy = 1; copy <= COLD_BYTES / product.bytes; copy++)
            memcpy(bench->pool + copy * product.bytes, bench->pool, product.bytes);
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
            if (bench->rows_only == 0 || bench->rows_only == rows[r])
                print_product(bench, &product, rows[r], peak);
    }
}

/* ---- Main ----------------------------------------------------------------------------------- */

static bool parse(struct bench *bench, int count, char **words)
{
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? words[i + 1] : NULL;

        if (strcmp(words[i], "--quick") == 0) {
            bench->seconds = 0.02;
            continue;
        }
        if (strcmp(words[i], "--gelu") == 0) {
            bench->activation = VMOE_GELU_TANH_OF;
            continue;
        }
        if (value == NULL)
            return false;
        if (strcmp(words[i], "--threads") == 0) {
            bench->threads = (uint32_t)strtoul(value, NULL, 10);
        } else if (strcmp(words[i], "--rows") == 0) {
            bench->rows_only = strtoul(value, NULL, 10);
        } else if (strcmp(words[i], "--isa") == 0) {
            for (uint32_t isa = 1; vmoe_isa_name(isa) != NULL; isa++)
                if (strcmp(value, vmoe_isa_name(isa)) == 0)
                    bench->isa = isa;
            if (bench->isa == 0)
                return false;
        } else {
            return false;
        }
        i++;
    }
    return bench->threads > 0;
}

static float *random_floats(size_t n)
{
    float *x = vmoe_memory_take(&vmoe_memory_default, n * sizeof *x);
    uint32_t state = 1;

    for (size_t i = 0; x != NULL && i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) / 8388608.0f - 1.0f;
    }
    return x;
}

static bool make_buffers(struct bench *bench)
{
    vmoe_error error;

    bench->pool = vmoe_memory_take(&vmoe_memory_default, COLD_BYTES + 4ull * K_MAX * N_MAX);
    bench->a = random_floats(64 * K_MAX);
    bench->out = random_floats(ROWS_MAX * N_MAX);
    bench->source = random_floats(K_MAX * N_MAX);
    bench->scales = random_floats(N_MAX);
    bench->bias = random_floats(N_MAX);
    bench->rows = random_floats(ROWS_MAX * (K_MAX + VMOE_ROW_BYTES));
    bench->scratch_bytes =
        vmoe_product_scratch_bytes(VMOE_PRECISION_BF16, VMOE_PRECISION_INT8, K_MAX);
    bench->scratch = vmoe_memory_take(&vmoe_memory_default, bench->threads * bench->scratch_bytes);
    bench->sums = vmoe_memory_take_zeroed(&vmoe_memory_default, N_MAX * sizeof *bench->sums);
    bench->quants = vmoe_memory_take_zeroed(&vmoe_memory_default, ROWS_MAX * sizeof *bench->quants);
    return bench->pool != NULL && bench->a != NULL && bench->out != NULL && bench->source != NULL &&
           bench->scales != NULL && bench->bias != NULL && bench->rows != NULL &&
           bench->scratch != NULL && bench->sums != NULL && bench->quants != NULL &&
           vmoe_team_create(&vmoe_memory_default, &bench->team, &error) == VMOE_OK;
}

int main(int count, char **words)
{
    struct bench bench = { .seconds = 0.15, .threads = 2 };

    if (!parse(&bench, count, words)) {
        fprintf(stderr, "usage: bench_kernels [--isa NAME] [--threads N] [--rows N] [--gelu] "
                        "[--quick]\n");
        return 2;
    }
    if (!make_buffers(&bench)) {
        fprintf(stderr, "bench_kernels: no memory\n");
        return 1;
    }
    vmoe_cpu_enter_float();
    for (uint32_t isa = 1; vmoe_isa_name(isa) != NULL; isa++) {
        const struct vmoe_kernels *kernels = vmoe_kernels_for(isa);

        if (!vmoe_isa_available(isa) || (bench.isa != 0 && bench.isa != isa))
            continue;
        for (uint32_t type = VMOE_PRECISION_F32; type <= VMOE_PRECISION_INT8; type++)
            for (uint32_t precision = type; precision <= VMOE_PRECISION_INT8; precision++)
                if (kernels->product[type][precision] != NULL)
                    print_products(&bench, kernels, type, precision);
        printf("\n");
    }
    vmoe_team_destroy(bench.team);
    return 0;
}
