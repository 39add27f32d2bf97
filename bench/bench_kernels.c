/*
 * Measures the kernels: the multiply-add peak of a core, matrix products through vmoe_linear_run
 * with weights that stay in the caches ("hot") and weights that come from memory ("cold": more than
 * 300 MB of them in turn), and the element-wise operations.
 *
 *     bench_kernels [--isa ref|avx2|avx512] [--threads N] [--quick]
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

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define COLD_BYTES ((uint64_t)320 << 20)
#define MAX_SAMPLES 400u
#define ROWS_MAX 577u
#define K_MAX 3072u
#define N_MAX 3072u
#define LD (K_MAX + 16u) /* no multiple of 4 KB, so that rows do not share cache sets */

static const char *const isa_names[] = { "default", "ref", "avx2", "avx512" };
static const char *const precision_names[] = { "auto", "f32", "bf16", "int8" };

struct bench {
    double seconds; /* for one figure */
    uint32_t isa;   /* 0: all */
    uint32_t threads;
    struct vmoe_team *team;
    uint8_t *pool; /* COLD_BYTES and one more matrix */
    float *a, *out, *source, *scales, *bias;
};

struct figure {
    double best, median;
};

/* ---- Timing --------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Seconds of one `work(context, i)`, i = 0, 1, ...; short ones are timed many at a time. */
static struct figure measure(double seconds, void (*work)(void *context, size_t i), void *context)
{
    double samples[MAX_SAMPLES];
    const double begin = vmoe_cpu_seconds();
    double start, once;
    size_t at = 0, count = 0, repeat;
    struct figure figure;

    work(context, at++);
    start = vmoe_cpu_seconds();
    work(context, at++);
    once = vmoe_cpu_seconds() - start;
    repeat = once < 2e-5 ? (size_t)(2e-5 / (once + 1e-9)) + 1 : 1;
    do {
        start = vmoe_cpu_seconds();
        for (size_t r = 0; r < repeat; r++)
            work(context, at++);
        samples[count++] = (vmoe_cpu_seconds() - start) / (double)repeat;
    } while (count < MAX_SAMPLES && (count < 5 || vmoe_cpu_seconds() - begin < seconds));
    qsort(samples, count, sizeof samples[0], compare_doubles);
    figure.best = samples[0];
    figure.median = samples[count / 2];
    return figure;
}

/* ---- The peak ------------------------------------------------------------------------------- */

#define PEAK_STEPS 4000
#define PEAK_CHAINS 12 /* with factor and term, 14 of 16 registers */

#if defined(__x86_64__)
/* Independent chains of multiply-adds; `flop` of the first lane keeps them alive. */
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

PEAK(peak_ref, "sse2", __m128, _mm_set1_ps, MUL_ADD, _mm_storeu_ps, 4)
PEAK(peak_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_storeu_ps, 8)
PEAK(peak_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_storeu_ps, 16)

static void print_peak(const struct bench *bench, uint32_t isa)
{
    void (*const work[])(void *, size_t) = { NULL, peak_ref, peak_avx2, peak_avx512 };
    const double flop = 2.0 * PEAK_STEPS * PEAK_CHAINS * (double)(2u << isa);
    const struct figure figure = measure(4 * bench->seconds, work[isa], bench->out);

    printf("%s: multiply-add peak of one core: %.0f / %.0f GFLOP/s\n", isa_names[isa],
           flop / figure.best * 1e-9, flop / figure.median * 1e-9);
}
#else
static void print_peak(const struct bench *bench, uint32_t isa)
{
    (void)bench;
    printf("%s\n", isa_names[isa]);
}
#endif

/* ---- Matrix products ------------------------------------------------------------------------ */

struct product {
    const struct vmoe_kernels *kernels;
    struct vmoe_team *team;
    struct vmoe_linear layer;
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

static void print_product(const struct bench *bench, struct product *product, size_t rows)
{
    const uint64_t copies = COLD_BYTES / product->bytes + 1;
    const double flop = 2.0 * (double)rows * product->layer.k * product->layer.n;
    vmoe_error error;

    product->call.rows = rows;
    printf("%4zu x %4u x %4u |", rows, product->layer.k, product->layer.n);
    for (uint32_t threads = 1; threads <= bench->threads; threads *= 2) {
        if (vmoe_team_resize(bench->team, threads, &error) != VMOE_OK) {
            printf(" %s\n", error.text);
            return;
        }
        for (int cold = 0; cold < 2; cold++) {
            struct figure figure;

            product->copies = cold ? (size_t)copies : 1;
            figure = measure(bench->seconds, run_product, product);
            printf(" %7.1f /%7.1f |", flop / figure.best * 1e-9, flop / figure.median * 1e-9);
        }
    }
    printf("\n");
    fflush(stdout);
}

static void print_products(const struct bench *bench, const struct vmoe_kernels *kernels,
                           uint32_t precision)
{
    static const uint32_t shapes[][2] = {
        { 768, 768 }, { 768, 2304 }, { 768, 3072 }, { 3072, 768 }, { 512, 2048 }
    };
    static const size_t rows[] = { 1, 12, 50, 197, 577 };

    printf("\n%s, %s weights, GFLOP/s, best / median:\n", isa_names[kernels->isa],
           precision_names[precision]);
    printf("rows x    k x    n |");
    for (uint32_t threads = 1; threads <= bench->threads; threads *= 2)
        printf(" %3u threads, hot |            cold  |", threads);
    printf("\n");
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        const uint32_t k = shapes[s][0], n = shapes[s][1];
        struct product product = { .kernels = kernels, .team = bench->team, .pool = bench->pool };

        product.layer = (struct vmoe_linear){ .scale = bench->scales, .bias = bench->bias,
                                              .k = k, .n = n, .precision = precision };
        product.call = (struct vmoe_linear_call){ .layer = &product.layer, .a = bench->a,
                                                  .lda = LD, .out = bench->out, .ldo = N_MAX };
        product.bytes = vmoe_pack_bytes(precision, k, n);
        vmoe_pack(precision, k, n, bench->source, n, 1, bench->pool, bench->scales);
        for (uint64_t copy = 1; copy <= COLD_BYTES / product.bytes; copy++)
            memcpy(bench->pool + copy * product.bytes, bench->pool, product.bytes);
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
            print_product(bench, &product, rows[r]);
    }
}

/* ---- Element-wise operations ---------------------------------------------------------------- */

#define ROW 768u

struct element_wise {
    const struct vmoe_kernels *kernels;
    const float *in, *scale, *bias;
    float *x;
    int operation;
};

static void run_element_wise(void *context, size_t i)
{
    const struct element_wise *job = context;

    (void)i;
    switch (job->operation) {
    case 0:
        job->kernels->layer_norm(ROW, job->in, 1e-6f, job->scale, job->bias, job->x);
        return;
    case 1:
        job->kernels->softmax(ROW, 1.0f, job->x);
        return;
    case 2:
        job->kernels->gelu_tanh(ROW, job->x);
        return;
    case 3:
        job->kernels->gelu_erf(ROW, job->x);
        return;
    case 4:
        job->kernels->tanh(ROW, job->x);
        return;
    default:
        job->kernels->sigmoid(ROW, job->x);
        return;
    }
}

static void print_element_wise(const struct bench *bench, const struct vmoe_kernels *kernels)
{
    static const char *const names[] = { "layer_norm", "softmax", "gelu_tanh",
                                         "gelu_erf",   "tanh",    "sigmoid" };
    struct element_wise job = { kernels, bench->a, bench->a, bench->a, bench->out, 0 };

    printf("\n%s, ns for a row of %u:", isa_names[kernels->isa], ROW);
    for (job.operation = 0; job.operation < 6; job.operation++) {
        struct figure figure;

        memcpy(bench->out, bench->a, ROW * sizeof *bench->out);
        figure = measure(bench->seconds, run_element_wise, &job);
        printf("  %s %.0f / %.0f", names[job.operation], figure.best * 1e9, figure.median * 1e9);
    }
    printf("\n\n");
}

/* ---- Main ----------------------------------------------------------------------------------- */

static bool parse(struct bench *bench, int count, char **words)
{
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], "--quick") == 0) {
            bench->seconds = 0.02;
        } else if (strcmp(words[i], "--threads") == 0 && i + 1 < count) {
            bench->threads = (uint32_t)strtoul(words[++i], NULL, 10);
        } else if (strcmp(words[i], "--isa") == 0 && i + 1 < count) {
            for (uint32_t isa = VMOE_ISA_REF; isa <= VMOE_ISA_AVX512; isa++)
                if (strcmp(words[i + 1], isa_names[isa]) == 0)
                    bench->isa = isa;
            if (bench->isa == 0)
                return false;
            i++;
        } else {
            return false;
        }
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

int main(int count, char **words)
{
    struct bench bench = { .seconds = 0.15, .threads = 2 };
    vmoe_error error;

    if (!parse(&bench, count, words)) {
        fprintf(stderr, "usage: bench_kernels [--isa ref|avx2|avx512] [--threads N] [--quick]\n");
        return 2;
    }
    bench.pool = vmoe_memory_take(&vmoe_memory_default, COLD_BYTES + 4ull * K_MAX * N_MAX);
    bench.a = random_floats(ROWS_MAX * LD);
    bench.out = random_floats(ROWS_MAX * N_MAX);
    bench.source = random_floats(K_MAX * N_MAX);
    bench.scales = random_floats(N_MAX);
    bench.bias = random_floats(N_MAX);
    if (bench.pool == NULL || bench.a == NULL || bench.out == NULL || bench.source == NULL ||
        bench.scales == NULL || bench.bias == NULL ||
        vmoe_team_create(&vmoe_memory_default, &bench.team, &error) != VMOE_OK) {
        fprintf(stderr, "bench_kernels: no memory\n");
        return 1;
    }
    vmoe_cpu_enter_float();
    for (uint32_t isa = VMOE_ISA_REF; isa <= VMOE_ISA_AVX512; isa++) {
        const struct vmoe_kernels *kernels = vmoe_kernels_for(isa);

        if (kernels == NULL || !vmoe_cpu_has(isa) || (bench.isa != 0 && bench.isa != isa))
            continue;
        print_peak(&bench, isa);
        print_element_wise(&bench, kernels);
        for (uint32_t precision = VMOE_PRECISION_F32; precision <= VMOE_PRECISION_INT8; precision++)
            print_products(&bench, kernels, precision);
        printf("\n");
    }
    vmoe_team_destroy(bench.team);
    return 0;
}
