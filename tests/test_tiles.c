/*
 * The tile instructions against plain loops: every form of an address, shapes that leave a rest,
 * products to the bit, the rules, threads.  Where the machine has AMX it is the hardware that is
 * tested, and so the loops, which the emulation (support/tiles.c) has to agree with elsewhere.
 */
#define _GNU_SOURCE
#include "support/tiles.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "runtime/cpu.h"
#include "runtime/team.h"
#include "support/child.h"
#include "support/support.h"

static uint64_t random_state = 7;

static uint32_t random_bits(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

static void fill_random(void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)random_bits();
}

/* Before anybody asks for the emulation; afterwards the answer may be another, but not a second. */
static void the_library_has_amx_where_there_are_tiles(void **state)
{
    (void)state;
    assert_false(tiles_emulated());
    assert_int_equal(tiles_available(), vmoe_cpu_has(VMOE_ISA_AMX));
    tiles_emulate();
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(tiles_available(), vmoe_cpu_has(VMOE_ISA_AMX));
    if (tiles_available())
        assert_true(vmoe_cpu_has(VMOE_ISA_AVX512));
    assert_true(vmoe_cpu_has(VMOE_ISA_REF));
    assert_false(vmoe_cpu_has(VMOE_ISA_NEON_I8MM + 1));
}

#if defined(__x86_64__) && defined(__linux__)

/* ---- Instructions --------------------------------------------------------------------------- */

struct config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static void configure(const struct config *config)
{
    __asm__ volatile("ldtilecfg %0" : : "m"(*config) : "memory");
}

static void read_config(struct config *config)
{
    __asm__ volatile("sttilecfg %0" : "=m"(*config) : : "memory");
}

static void release(void)
{
    __asm__ volatile("tilerelease" : : : "memory");
}

#define FOR_EACH_TILE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)

static void zero(unsigned tile)
{
    switch (tile) {
#define ZERO(n) \
    case n: \
        __asm__ volatile("tilezero %%tmm" #n : : : "memory"); \
        break;
        FOR_EACH_TILE(ZERO)
    }
}

static void load(unsigned tile, const void *rows, size_t stride)
{
    switch (tile) {
#define LOAD(n) \
    case n: \
        __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #n \
                         : : "r"(rows), "r"(stride) : "memory"); \
        break;
        FOR_EACH_TILE(LOAD)
    }
}

static void store(unsigned tile, void *rows, size_t stride)
{
    switch (tile) {
#define STORE(n) \
    case n: \
        __asm__ volatile("tilestored %%tmm" #n ", (%0,%1,1)" \
                         : : "r"(rows), "r"(stride) : "memory"); \
        break;
        FOR_EACH_TILE(STORE)
    }
}

enum product { SSD, SUD, USD, UUD, BF16 };

/* tmm0 += tmm1 * tmm2, or with the tiles 5, 7, 6. */
static void multiply(enum product product, bool high)
{
#define MULTIPLY(name) \
    if (high) \
        __asm__ volatile(name " %%tmm6, %%tmm7, %%tmm5" : : : "memory"); \
    else \
        __asm__ volatile(name " %%tmm2, %%tmm1, %%tmm0" : : : "memory"); \
    break
    switch (product) {
    case SSD:
        MULTIPLY("tdpbssd");
    case SUD:
        MULTIPLY("tdpbsud");
    case USD:
        MULTIPLY("tdpbusd");
    case UUD:
        MULTIPLY("tdpbuud");
    case BF16:
        MULTIPLY("tdpbf16ps");
    }
}

static struct config same_shapes(unsigned rows, unsigned row_bytes)
{
    struct config config = { .palette = 1 };

    for (unsigned i = 0; i < 8; i++) {
        config.rows[i] = (uint8_t)rows;
        config.row_bytes[i] = (uint16_t)row_bytes;
    }
    return config;
}

/* For cmocka, before each test.  The emulation has two ways: by signals alone, and by jumps. */
static int start_with_signals(void **state)
{
    (void)state;
    tiles_change_code(false);
    tiles_emulate();
    return 0;
}

static int start(void **state)
{
    (void)state;
    tiles_change_code(true);
    tiles_emulate();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    if (tiles_available())
        release();
    return 0;
}

static void skip_without_tiles(void)
{
    if (!tiles_available())
        skip_because("there is no AMX here, nor can it be emulated");
}

/* ---- Configurations ------------------------------------------------------------------------- */

static void a_configuration_is_read_back_and_zeroes_the_tiles(void **state)
{
    static const struct config none;
    struct config config = same_shapes(16, 64), back, in_frame;
    uint8_t bytes[16][64];

    (void)state;
    skip_without_tiles();
    read_config(&back);
    assert_memory_equal(&back, &none, sizeof none);
    for (unsigned i = 0; i < 8; i++) {
        config.rows[i] = (uint8_t)(16 - i);
        config.row_bytes[i] = (uint16_t)(64 - 8 * i);
    }
    configure(&config);
    read_config(&back);
    assert_memory_equal(&back, &config, sizeof config);
    fill_random(bytes, sizeof bytes);
    for (unsigned i = 0; i < 8; i++)
        load(i, bytes, 64);
    configure(&config);
    for (unsigned i = 0; i < 8; i++) {
        memset(bytes, 0xa5, sizeof bytes);
        store(i, bytes, 64);
        for (size_t at = 0; at < sizeof bytes; at++)
            assert_int_equal(bytes[at / 64][at % 64],
                             at / 64 < 16 - i && at % 64 < 64 - 8 * i ? 0 : 0xa5);
    }
    /* An address that is computed otherwise: base, index times 8 and a distance. */
    in_frame = same_shapes(3, 12);
    __asm__ volatile("ldtilecfg 192(%0,%1,8)"
                     : : "r"((uintptr_t)&in_frame - 192 - 8 * 40), "r"((uintptr_t)40)
                     : "memory");
    read_config(&back);
    assert_memory_equal(&back, &in_frame, sizeof in_frame);
    configure(&none);
    read_config(&back);
    assert_memory_equal(&back, &none, sizeof none);
    configure(&config);
    release();
    read_config(&back);
    assert_memory_equal(&back, &none, sizeof none);
}

static const struct config constant_config = { .palette = 1, .rows = { 5 }, .row_bytes = { 12 } };
static struct config config_back;

static void a_configuration_may_stand_beside_the_code(void **state)
{
    (void)state;
    skip_without_tiles();
    __asm__ volatile("ldtilecfg %0\n\tsttilecfg %1"
                     : : "m"(constant_config), "m"(config_back) : "memory");
    assert_memory_equal(&config_back, &constant_config, sizeof config_back);
}

/* ---- Addresses ------------------------------------------------------------------------------ */

static uint8_t *form_base;
static int64_t form_index;
static void *kept_stack, *kept_frame;

/*
 * Every register may be base or index, so that all are named as clobbered and the two that cannot
 * be are kept aside.
 */
#define RUN_FORM(instruction, base, index) \
    __asm__ volatile("mov %%rsp, %0\n\tmov %%rbp, %1\n\t" \
                     "mov %2, %%" base "\n\tmov %3, %%" index "\n\t" instruction \
                     "\n\tmov %0, %%rsp\n\tmov %1, %%rbp" \
                     : "=m"(kept_stack), "=m"(kept_frame) \
                     : "m"(form_base), "m"(form_index) \
                     : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", \
                       "r13", "r14", "r15", "memory", "cc")

/* X(name, base, index, scale, distance, a prefix for the assembler) */
#define FOR_EACH_FORM(X) \
    X(1, "rax", "rcx", 1, "", 0, "") \
    X(2, "rcx", "rax", 2, "", 0, "") \
    X(3, "rdx", "rbx", 4, "", 0, "") \
    X(4, "rbx", "rdx", 8, "", 0, "") \
    X(5, "rsp", "rsi", 1, "", 0, "") \
    X(6, "rsp", "rdi", 2, "8", 8, "") \
    X(7, "rsp", "r15", 8, "504", 504, "") \
    X(8, "rbp", "rsi", 1, "", 0, "") \
    X(9, "rbp", "r8", 4, "-128", -128, "") \
    X(10, "rsi", "rbp", 1, "127", 127, "") \
    X(11, "rdi", "r9", 8, "-129", -129, "") \
    X(12, "r8", "r10", 1, "", 0, "") \
    X(13, "r9", "r11", 2, "1000", 1000, "") \
    X(14, "r10", "r12", 4, "8", 8, "%{disp32%} ") \
    X(15, "r11", "r13", 8, "", 0, "") \
    X(16, "r12", "r14", 1, "", 0, "") \
    X(17, "r12", "r15", 2, "64", 64, "") \
    X(18, "r13", "rax", 1, "", 0, "") \
    X(19, "r13", "r12", 1, "70000", 70000, "") \
    X(20, "r14", "r9", 2, "-1", -1, "%{disp32%} ") \
    X(21, "r15", "rcx", 8, "-70000", -70000, "")

#define LOAD_AND_STORE(n, base, index, scale, text, distance, prefix) \
    static void load_##n(void) \
    { \
        RUN_FORM(prefix "tileloadd " text "(%%" base ",%%" index "," #scale "), %%tmm1", base, \
                 index); \
    } \
    static void load_t1_##n(void) \
    { \
        RUN_FORM(prefix "tileloaddt1 " text "(%%" base ",%%" index "," #scale "), %%tmm1", base, \
                 index); \
    } \
    static void store_##n(void) \
    { \
        RUN_FORM(prefix "tilestored %%tmm2, " text "(%%" base ",%%" index "," #scale ")", base, \
                 index); \
    }
FOR_EACH_FORM(LOAD_AND_STORE)

/* Without an index all rows are the same one; without a base the distance is the address. */
#define LOW_ADDRESS 0x10000000
#define LOW_TEXT "0x10000000"

static void load_row(void)
{
    RUN_FORM("tileloadd 40(%%r13), %%tmm1", "r13", "rax");
}

static void load_t1_row(void)
{
    RUN_FORM("tileloaddt1 40(%%r13), %%tmm1", "r13", "rax");
}

static void store_row(void)
{
    RUN_FORM("tilestored %%tmm2, 40(%%r13)", "r13", "rax");
}

static void load_low(void)
{
    RUN_FORM("tileloadd " LOW_TEXT "(,%%rdx,4), %%tmm1", "rax", "rdx");
}

static void load_t1_low(void)
{
    RUN_FORM("tileloaddt1 " LOW_TEXT "(,%%r12,4), %%tmm1", "rax", "r12");
}

static void store_low(void)
{
    RUN_FORM("tilestored %%tmm2, " LOW_TEXT "(,%%r13,4)", "rax", "r13");
}

struct form {
    const char *text;
    void (*load)(void), (*load_t1)(void), (*store)(void);
    int scale; /* 0: the stride is 0 */
    int64_t distance;
};

#define FORM_ENTRY(n, base, index, scale, text, distance, prefix) \
    { text "(" base "," index "," #scale ")", load_##n, load_t1_##n, store_##n, scale, distance },
static const struct form forms[] = {
    FOR_EACH_FORM(FORM_ENTRY)
    { "40(r13)", load_row, load_t1_row, store_row, 0, 40 },
    { "low(,index,4)", load_low, load_t1_low, store_low, 4, 0 },
};

/* Where a signal is delivered while a form has the stack pointer, it writes below this. */
#define BELOW ((size_t)256 << 10)
#define AREA_BYTES (2 * BELOW)
#define ROWS 9u
#define ROW_BYTES 52u

/* Loads tile 1 by a form and demands the rows at `row0`. */
static void check_load(const struct form *form, void (*run)(void), const uint8_t *row0,
                       ptrdiff_t stride)
{
    uint8_t found[ROWS][64];

    zero(1);
    run();
    store(1, found, 64);
    for (unsigned r = 0; r < ROWS; r++)
        if (memcmp(found[r], row0 + r * stride, ROW_BYTES) != 0)
            fail_msg("%s, stride %td: row %u is not the one in memory", form->text, stride, r);
}

/* Stores tile 2 by a form, for which row 0 is at `row0`, and demands it there and nothing else. */
static void check_store(const struct form *form, uint8_t *row0, ptrdiff_t stride)
{
    const size_t bytes = ROWS * 256;
    uint8_t *first = stride < 0 ? row0 + (ROWS - 1) * stride : row0;
    uint8_t rows[ROWS][64], expected[ROWS * 256];

    fill_random(rows, sizeof rows);
    load(2, rows, 64);
    memset(first, 0xa5, bytes);
    memset(expected, 0xa5, bytes);
    for (unsigned r = 0; r < ROWS; r++)
        memcpy(expected + (row0 - first) + r * stride, rows[r], ROW_BYTES);
    form->store();
    if (memcmp(first, expected, bytes) != 0)
        fail_msg("%s, stride %td: a wrong store", form->text, stride);
}

static void every_form_of_an_address_is_understood(void **state)
{
    static const ptrdiff_t strides[] = { 192, 64, 56, 8, 0, -8, -64, -192 };
    const struct config config = same_shapes(ROWS, ROW_BYTES);
    uint8_t *low, *area;

    (void)state;
    skip_without_tiles();
    low = mmap((void *)(LOW_ADDRESS - BELOW), AREA_BYTES, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    assert_true(low == (uint8_t *)(LOW_ADDRESS - BELOW));
    area = mmap(NULL, AREA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(area != MAP_FAILED);
    for (size_t f = 0; f < sizeof forms / sizeof forms[0]; f++)
        for (size_t s = 0; s < sizeof strides / sizeof strides[0]; s++) {
            const struct form *form = &forms[f];
            const ptrdiff_t stride = form->scale == 0 ? 0 : strides[s];
            uint8_t *row0 = (form->load == load_low ? low : area) + BELOW;

            if (stride < 0 && strstr(form->text, "(rsp") != NULL)
                continue;
            form_base = row0 - form->distance;
            form_index = form->scale == 0 ? 12345 : stride / form->scale;
            configure(&config);
            fill_random(row0 - 2048, 4096);
            check_load(form, form->load, row0, stride);
            check_load(form, form->load_t1, row0, stride);
            check_store(form, row0, stride);
        }
    munmap(area, AREA_BYTES);
    munmap(low, AREA_BYTES);
}

/* ---- Loads and stores ----------------------------------------------------------------------- */

static void every_shape_is_loaded_and_stored(void **state)
{
    uint8_t in[16 * 80], out[16 * 80], expected[16 * 80];

    (void)state;
    skip_without_tiles();
    for (unsigned rows = 1; rows <= 16; rows++)
        for (unsigned bytes = 4; bytes <= 64; bytes += 4) {
            const struct config config = same_shapes(rows, bytes);
            const unsigned tile = (rows + bytes) % 8;

            fill_random(in, sizeof in);
            memset(out, 0x5a, sizeof out);
            memset(expected, 0x5a, sizeof expected);
            for (unsigned r = 0; r < rows; r++)
                memcpy(expected + 80 * r, in + 77 * r, bytes);
            configure(&config);
            load(tile, in, 77);
            store(tile, out, 80);
            assert_memory_equal(out, expected, sizeof out);
        }
}

/* A load must not touch what is outside its rows, even in the last row before a forbidden page. */
static void loads_and_stores_stay_inside_their_rows(void **state)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const struct config config = same_shapes(7, 12);
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    uint8_t *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, flags, -1, 0);
    uint8_t *at = pages + page - 7 * 12;

    (void)state;
    skip_without_tiles();
    assert_true(pages != MAP_FAILED);
    assert_int_equal(mprotect(pages + page, page, PROT_NONE), 0);
    configure(&config);
    fill_random(at, 7 * 12);
    load(3, at, 12);
    store(3, at, 12);
    munmap(pages, 2 * page);
}

/* ---- Products ------------------------------------------------------------------------------- */

struct operands {
    _Alignas(64) uint8_t a[16][64], b[16][64], c[16][64];
    unsigned rows, depth, columns; /* depth and columns in dwords */
};

static struct config product_shapes(const struct operands *o)
{
    struct config config = { .palette = 1 };

    config.rows[0] = config.rows[1] = config.rows[5] = config.rows[7] = (uint8_t)o->rows;
    config.rows[2] = config.rows[6] = (uint8_t)o->depth;
    config.row_bytes[0] = config.row_bytes[2] = config.row_bytes[5] = config.row_bytes[6] =
        (uint16_t)(4 * o->columns);
    config.row_bytes[1] = config.row_bytes[7] = (uint16_t)(4 * o->depth);
    return config;
}

static int32_t byte(const uint8_t *p, bool is_signed)
{
    return is_signed ? (int8_t)*p : *p;
}

static void multiply_bytes(struct operands *o, bool a_signed, bool b_signed)
{
    for (unsigned m = 0; m < o->rows; m++)
        for (unsigned n = 0; n < o->columns; n++) {
            uint32_t sum;

            memcpy(&sum, o->c[m] + 4 * n, sizeof sum);
            for (unsigned k = 0; k < 4 * o->depth; k++)
                sum += (uint32_t)(byte(&o->a[m][k], a_signed) *
                                  byte(&o->b[k / 4][4 * n + k % 4], b_signed));
            memcpy(o->c[m] + 4 * n, &sum, sizeof sum);
        }
}

static float bf16(const uint8_t *p)
{
    uint16_t half;
    uint32_t bits;
    float value;

    memcpy(&half, p, sizeof half);
    bits = (uint32_t)half << 16;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* To be called with denormals flushed, which fmaf obeys where it is an instruction. */
static void multiply_bf16(struct operands *o)
{
    for (unsigned m = 0; m < o->rows; m++)
        for (unsigned n = 0; n < o->columns; n++) {
            float sum[2] = { 0.0f, 0.0f }, c;

            for (unsigned k = 0; k < 2 * o->depth; k++)
                sum[k % 2] = fmaf(bf16(&o->a[m][2 * k]), bf16(&o->b[k / 2][4 * n + 2 * (k % 2)]),
                                  sum[k % 2]);
            memcpy(&c, o->c[m] + 4 * n, sizeof c);
            c += sum[0] + sum[1];
            memcpy(o->c[m] + 4 * n, &c, sizeof c);
        }
}

static void multiply_plainly(enum product product, struct operands *o)
{
    if (product == BF16) {
        const uint64_t before = vmoe_cpu_enter_float();

        multiply_bf16(o);
        vmoe_cpu_leave_float(before);
    } else {
        multiply_bytes(o, product == SSD || product == SUD, product == SSD || product == USD);
    }
}

static bool same_value(enum product product, const uint8_t *x, const uint8_t *y)
{
    float a, b;

    if (memcmp(x, y, 4) == 0)
        return true;
    memcpy(&a, x, sizeof a);
    memcpy(&b, y, sizeof b);
    return product == BF16 && isnan(a) && isnan(b);
}

/* One product in both ways.  Outside the shape, operands and destination are not to matter. */
static void check_product(enum product product, struct operands *o, bool high)
{
    static const char *const names[] = { "SSD", "SUD", "USD", "UUD", "BF16" };
    const struct config config = product_shapes(o);
    uint8_t found[16][64];

    memcpy(found, o->c, sizeof found);
    configure(&config);
    load(high ? 5 : 0, o->c, 64);
    load(high ? 7 : 1, o->a, 64);
    load(high ? 6 : 2, o->b, 64);
    multiply(product, high);
    store(high ? 5 : 0, found, 64);
    multiply_plainly(product, o);
    for (unsigned m = 0; m < 16; m++)
        for (unsigned n = 0; n < 16; n++)
            if (!same_value(product, found[m] + 4 * n, o->c[m] + 4 * n)) {
                uint32_t x, y;

                memcpy(&x, found[m] + 4 * n, sizeof x);
                memcpy(&y, o->c[m] + 4 * n, sizeof y);
                fail_msg("%s of %u x %u x %u: row %u column %u is %08x, not %08x", names[product],
                         o->rows, o->depth, o->columns, m, n, x, y);
            }
}

static void shape_randomly(struct operands *o)
{
    o->rows = 1 + random_bits() % 16;
    o->depth = 1 + random_bits() % 16;
    o->columns = 1 + random_bits() % 16;
    fill_random(o->a, sizeof o->a);
    fill_random(o->b, sizeof o->b);
    fill_random(o->c, sizeof o->c);
}

static void products_of_bytes_wrap_around(void **state)
{
    static const uint8_t extremes[] = { 0x00, 0x7f, 0x80, 0xff };
    struct operands o;

    (void)state;
    skip_without_tiles();
    for (enum product product = SSD; product <= UUD; product++) {
        for (unsigned i = 0; i < 300; i++) {
            shape_randomly(&o);
            check_product(product, &o, i % 2 == 1);
        }
        for (unsigned i = 0; i < 16; i++) {
            o.rows = o.depth = o.columns = 16;
            memset(o.a, extremes[i / 4], sizeof o.a);
            memset(o.b, extremes[i % 4], sizeof o.b);
            memset(o.c, i % 2 == 0 ? 0x7f : 0x80, sizeof o.c);
            check_product(product, &o, false);
        }
    }
}

static void put_bf16(uint8_t *p, float value)
{
    uint32_t bits;
    uint16_t half;

    memcpy(&bits, &value, sizeof bits);
    half = (uint16_t)(bits >> 16);
    memcpy(p, &half, sizeof half);
}

/* Values of similar size, so that the order of the sums and every rounding show. */
static void products_of_bf16_have_the_order_and_roundings_of_the_manual(void **state)
{
    struct operands o;

    (void)state;
    skip_without_tiles();
    for (unsigned i = 0; i < 1000; i++) {
        shape_randomly(&o);
        for (unsigned k = 0; k < 16 * 32; k++) {
            put_bf16(o.a[0] + 2 * k, (float)(int32_t)random_bits() * 0x1p-31f);
            put_bf16(o.b[0] + 2 * k, (float)(int32_t)random_bits() * 0x1p-31f);
        }
        for (unsigned k = 0; k < 16 * 16; k++) {
            const float c = (float)(int32_t)random_bits() * 0x1p-31f;

            memcpy(o.c[0] + 4 * k, &c, sizeof c);
        }
        check_product(BF16, &o, i % 2 == 1);
    }
}

/* Any bits: most sums are infinite or not numbers, many terms denormal. */
static void products_of_any_bf16_flush_denormals_and_keep_nan_and_infinity(void **state)
{
    static const uint16_t special[] = { 0x0000, 0x8000, 0x0001, 0x807f, 0x0080, 0x8080, 0x3f80,
                                        0xbf80, 0x7f7f, 0xff7f, 0x7f80, 0xff80, 0x7fc0, 0x7f81,
                                        0x1f80, 0x2000, 0xa000, 0x0100 };
    static const uint32_t sums[] = { 0x00000000, 0x80000000, 0x00000001, 0x807fffff, 0x00800000,
                                     0x80800000, 0x7f7fffff, 0x7f800000, 0xff800000 };
    struct operands o;

    (void)state;
    skip_without_tiles();
    for (unsigned i = 0; i < 2000; i++) {
        const unsigned kinds = i % 4 < 2 ? 18 : 10; /* with or without infinity and NaN */
        const unsigned shift = i % 4 == 3 ? 5 : 0;

        shape_randomly(&o);
        if (i % 2 == 0)
            o.depth = 1;
        for (unsigned k = 0; i % 8 != 0 && k < 16 * 32; k++) {
            memcpy(o.a[0] + 2 * k, &special[shift + random_bits() % (kinds - shift)], 2);
            memcpy(o.b[0] + 2 * k, &special[shift + random_bits() % (kinds - shift)], 2);
        }
        for (unsigned k = 0; k < 16 * 16; k++)
            memcpy(o.c[0] + 4 * k, &sums[random_bits() % 9], 4);
        check_product(BF16, &o, false);
    }
}

/* Two products that are not denormal have a sum that is: it is flushed, and adds nothing. */
static void a_denormal_sum_is_flushed(void **state)
{
    struct operands o = { .rows = 1, .depth = 1, .columns = 1 };
    const float smallest = 0x1p-126f;

    (void)state;
    skip_without_tiles();
    put_bf16(o.a[0], 0x1.8p-63f);
    put_bf16(o.b[0], 0x1p-63f);
    put_bf16(o.a[0] + 2, -0x1p-63f);
    put_bf16(o.b[0] + 2, 0x1p-63f);
    check_product(BF16, &o, false);
    assert_memory_equal(o.c[0], "\0\0\0\0", 4);
    memcpy(o.c[0], &smallest, sizeof smallest);
    check_product(BF16, &o, false);
    assert_memory_equal(o.c[0], &smallest, sizeof smallest);
}

/* Of the machine's floating-point state nothing is consulted, and nothing changes. */
static void products_do_not_depend_on_the_rounding_mode(void **state)
{
    static const unsigned modes[] = { 0x1f80, 0x3f80, 0x5f80, 0x7f80, 0x9fc0 };
    struct operands o, copy;
    uint8_t found[16][64];

    (void)state;
    skip_without_tiles();
    shape_randomly(&o);
    for (unsigned k = 0; k < 16 * 32; k++) {
        put_bf16(o.a[0] + 2 * k, (float)(int32_t)random_bits() * 0x1p-31f);
        put_bf16(o.b[0] + 2 * k, (float)(int32_t)random_bits() * 0x1p-31f);
    }
    memset(o.c, 0, sizeof o.c);
    copy = o;
    check_product(BF16, &copy, false);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        const unsigned before = __builtin_ia32_stmxcsr();
        unsigned after;

        memset(found, 0, sizeof found);
        __builtin_ia32_ldmxcsr(modes[i]);
        zero(0);
        multiply(BF16, false);
        after = __builtin_ia32_stmxcsr();
        __builtin_ia32_ldmxcsr(before);
        store(0, found, 64);
        assert_int_equal(after, modes[i]);
        assert_memory_equal(found, copy.c, sizeof found);
    }
}

/* What the interrupted code has in registers is not what the instructions may change. */
static void other_registers_keep_their_values(void **state)
{
    const struct config config = same_shapes(16, 64);
    const uint64_t mask_in = UINT64_C(0x123456789abcdef0);
    uint64_t mask;
    uint8_t in[64], out[64], carry;

    (void)state;
    skip_without_tiles();
    fill_random(in, sizeof in);
    configure(&config);
    __asm__ volatile("vmovdqu64 %3, %%zmm31\n\tkmovq %4, %%k7\n\tstc\n\t"
                     "tilezero %%tmm3\n\ttilezero %%tmm4\n\ttilezero %%tmm5\n\t"
                     "tdpbf16ps %%tmm3, %%tmm4, %%tmm5\n\t"
                     "setc %1\n\tkmovq %%k7, %2\n\tvmovdqu64 %%zmm31, %0"
                     : "=m"(out), "=&q"(carry), "=&r"(mask)
                     : "m"(in), "r"(mask_in) : "cc", "memory");
    assert_memory_equal(out, in, sizeof in);
    assert_int_equal(carry, 1);
    assert_int_equal(mask, mask_in);
}

/* ---- Rules ---------------------------------------------------------------------------------- */

static void without_configuration(void)
{
    release();
    zero(0);
}

static void product_without_configuration(void)
{
    release();
    multiply(SSD, false);
}

static void after_palette_0(void)
{
    const struct config config = { .palette = 0 };
    uint8_t row[64];

    configure(&config);
    load(0, row, 0);
}

static void palette_2(void)
{
    struct config config = same_shapes(16, 64);

    config.palette = 2;
    configure(&config);
}

static void reserved_byte(void)
{
    struct config config = same_shapes(16, 64);

    config.reserved[13] = 1;
    configure(&config);
}

static void shape_for_a_ninth_tile(void)
{
    struct config config = same_shapes(16, 64);

    config.rows[8] = 16;
    config.row_bytes[8] = 64;
    configure(&config);
}

static void rows_17(void)
{
    const struct config config = same_shapes(17, 64);

    configure(&config);
}

static void bytes_65(void)
{
    const struct config config = same_shapes(16, 65);

    configure(&config);
}

static void rows_without_bytes(void)
{
    const struct config config = same_shapes(16, 0);

    configure(&config);
}

static void tile_without_shape(void)
{
    struct config config = same_shapes(16, 64);
    uint8_t rows[16][64];

    config.rows[7] = 0;
    config.row_bytes[7] = 0;
    configure(&config);
    store(7, rows, 64);
}

static void multiply_shapes(unsigned c_rows, unsigned c_bytes, unsigned a_rows, unsigned a_bytes,
                            unsigned b_rows, unsigned b_bytes)
{
    const struct config config = {
        .palette = 1,
        .rows = { (uint8_t)c_rows, (uint8_t)a_rows, (uint8_t)b_rows },
        .row_bytes = { (uint16_t)c_bytes, (uint16_t)a_bytes, (uint16_t)b_bytes },
    };

    configure(&config);
    multiply(BF16, false);
}

static void other_rows(void)
{
    multiply_shapes(15, 64, 16, 64, 16, 64);
}

static void other_columns(void)
{
    multiply_shapes(16, 60, 16, 64, 16, 64);
}

static void other_depth(void)
{
    multiply_shapes(16, 64, 16, 64, 15, 64);
}

static void broken_dwords(void)
{
    multiply_shapes(16, 62, 16, 64, 16, 62);
}

static void load_of_broken_dwords(void)
{
    const struct config config = same_shapes(16, 62);
    uint8_t rows[16][64];

    configure(&config);
    load(0, rows, 64);
}

static void store_of_broken_dwords(void)
{
    const struct config config = same_shapes(16, 62);
    uint8_t rows[16][64];

    configure(&config);
    store(0, rows, 64);
}

static void tile_named_twice(void)
{
    const struct config config = same_shapes(16, 64);

    configure(&config);
    __asm__ volatile(".byte 0xc4, 0xe2, 0x73, 0x5e, 0xc1" : : : "memory");
}

/* Encodings that no machine has. */
static void without_sib(void)
{
    const struct config config = same_shapes(1, 4);

    configure(&config);
    __asm__ volatile(".byte 0xc4, 0xe2, 0x7b, 0x4b, 0x08" : : "a"(&config) : "memory");
}

static void tile_8(void)
{
    const struct config config = same_shapes(16, 64);

    configure(&config);
    __asm__ volatile(".byte 0xc4, 0x62, 0x7b, 0x49, 0xc0" : : : "memory");
}

static void no_instruction(void)
{
    __asm__ volatile("ud2");
}

struct action {
    void (*run)(void);
};

static int act(void *context)
{
    const struct action *action = context;
    const struct rlimit no_core = { 0, 0 };

    signal(SIGILL, SIG_DFL);
    signal(SIGSEGV, SIG_DFL);
    setrlimit(RLIMIT_CORE, &no_core);
    /* The sentence is for whoever breaks a rule without wanting to. */
    if (freopen("/dev/null", "w", stderr) != NULL)
        action->run();
    return 0;
}

/* Runs in a child, and answers the signal that ended it. */
static int signal_of(void (*run)(void))
{
    struct action action = { run };
    int outcome;

    fflush(NULL);
    outcome = run_in_child(act, &action);
    return WIFSIGNALED(outcome) ? WTERMSIG(outcome) : 0;
}

static void broken_rules_end_the_process(void **state)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } rules[] = {
#define RULE(name) { #name, name }
        RULE(without_configuration), RULE(product_without_configuration), RULE(after_palette_0),
        RULE(palette_2), RULE(reserved_byte), RULE(shape_for_a_ninth_tile), RULE(rows_17),
        RULE(bytes_65), RULE(rows_without_bytes), RULE(tile_without_shape), RULE(other_rows),
        RULE(other_columns), RULE(other_depth), RULE(broken_dwords), RULE(load_of_broken_dwords),
        RULE(store_of_broken_dwords), RULE(tile_named_twice),
    };

    (void)state;
    skip_without_tiles();
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        const int number = signal_of(rules[i].run);

        if (number != SIGABRT && (tiles_emulated() || (number != SIGILL && number != SIGSEGV)))
            fail_msg("%s: ended by signal %d", rules[i].name, number);
    }
}

static void other_illegal_instructions_stay_illegal(void **state)
{
    (void)state;
    skip_without_tiles();
    assert_int_equal(signal_of(without_sib), SIGILL);
    assert_int_equal(signal_of(tile_8), SIGILL);
    assert_int_equal(signal_of(no_instruction), SIGILL);
}

/* ---- Threads -------------------------------------------------------------------------------- */

#define THREADS 3u
#define ROUNDS 200u

static pthread_barrier_t barrier;

/* Configures, waits for the others to have done so too, and multiplies; answers the errors. */
static void *multiply_in_thread(void *argument)
{
    struct operands *o = argument;
    size_t wrong = 0;

    for (unsigned i = 0; i < ROUNDS; i++) {
        const struct config config = product_shapes(o);
        uint8_t found[16][64];

        memcpy(found, o->c, sizeof found);
        configure(&config);
        load(0, o->c, 64);
        pthread_barrier_wait(&barrier);
        load(1, o->a, 64);
        load(2, o->b, 64);
        pthread_barrier_wait(&barrier);
        multiply(SSD, false);
        store(0, found, 64);
        multiply_plainly(SSD, o);
        wrong += memcmp(found, o->c, sizeof found) != 0;
    }
    release();
    return (void *)(uintptr_t)wrong;
}

static void threads_have_their_own_tiles(void **state)
{
    pthread_t threads[THREADS];
    struct operands o[THREADS];
    const struct config config = same_shapes(4, 20);
    struct config back;

    (void)state;
    skip_without_tiles();
    configure(&config);
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        shape_randomly(&o[i]);
        assert_int_equal(pthread_create(&threads[i], NULL, multiply_in_thread, &o[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *wrong;

        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
    pthread_barrier_destroy(&barrier);
    read_config(&back);
    assert_memory_equal(&back, &config, sizeof config);
}

struct by_worker {
    struct operands o;
    bool wrong;
};

static void multiply_by_worker(void *context, size_t task, uint32_t thread)
{
    struct by_worker *by = (struct by_worker *)context + task;
    const struct config config = product_shapes(&by->o);
    uint8_t found[16][64];

    (void)thread;
    memcpy(found, by->o.c, sizeof found);
    configure(&config);
    load(0, by->o.c, 64);
    load(1, by->o.a, 64);
    load(2, by->o.b, 64);
    multiply(USD, false);
    store(0, found, 64);
    release();
    multiply_plainly(USD, &by->o);
    by->wrong = memcmp(found, by->o.c, sizeof found) != 0;
}

static void a_team_works_with_tiles(void **state)
{
    enum { TASKS = 500 };
    struct by_worker *by;
    struct vmoe_team *team;
    vmoe_error error;

    (void)state;
    skip_without_tiles();
    by = aligned_alloc(64, TASKS * sizeof *by);
    assert_non_null(by);
    assert_int_equal(vmoe_team_create(&vmoe_memory_default, &team, &error), VMOE_OK);
    assert_int_equal(vmoe_team_resize(team, 3, &error), VMOE_OK);
    for (size_t i = 0; i < TASKS; i++)
        shape_randomly(&by[i].o);
    vmoe_team_run(team, TASKS, multiply_by_worker, by);
    for (size_t i = 0; i < TASKS; i++)
        assert_false(by[i].wrong);
    vmoe_team_destroy(team);
    free(by);
}

#define FRESH 200

/*
 * Code that no thread has executed before, so that all of them meet each instruction at once.  Of
 * so many, some begin at every distance from a border of 64 bytes.
 */
static void *multiply_fresh(void *argument)
{
    struct operands *o = argument;
    const struct config config = product_shapes(o);
    uint8_t found[16][64];

    memcpy(found, o->c, sizeof found);
    configure(&config);
    load(0, o->c, 64);
    load(1, o->a, 64);
    load(2, o->b, 64);
    pthread_barrier_wait(&barrier);
    __asm__ volatile(".rept %c0\n\ttdpbuud %%tmm2, %%tmm1, %%tmm0\n\t.endr" : : "i"(FRESH)
                     : "memory");
    store(0, found, 64);
    release();
    for (unsigned i = 0; i < FRESH; i++)
        multiply_plainly(UUD, o);
    return memcmp(found, o->c, sizeof found) != 0 ? o : NULL;
}

static void threads_may_meet_an_instruction_together(void **state)
{
    pthread_t threads[THREADS];
    struct operands o[THREADS];

    (void)state;
    skip_without_tiles();
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        shape_randomly(&o[i]);
        assert_int_equal(pthread_create(&threads[i], NULL, multiply_fresh, &o[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *wrong;

        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
    pthread_barrier_destroy(&barrier);
}

/* ---- Counts --------------------------------------------------------------------------------- */

static void instructions_are_counted(void **state)
{
    const struct config config = same_shapes(16, 64);
    struct tiles_counts before, after;
    struct config back;
    uint8_t rows[16][64] = { { 0 } };

    (void)state;
    skip_without_tiles();
    before = tiles_counts();
    configure(&config);
    zero(0);
    load(1, rows, 64);
    load(2, rows, 64);
    for (enum product product = SSD; product <= BF16; product++)
        for (unsigned i = 0; i <= (unsigned)product; i++)
            multiply(product, false);
    store(0, rows, 64);
    store(0, rows, 64);
    store(0, rows, 64);
    read_config(&back);
    release();
    after = tiles_counts();
    if (!tiles_emulated()) {
        assert_memory_equal(&after, &before, sizeof after);
        return;
    }
    assert_int_equal(after.ldtilecfg - before.ldtilecfg, 1);
    assert_int_equal(after.sttilecfg - before.sttilecfg, 1);
    assert_int_equal(after.tilerelease - before.tilerelease, 1);
    assert_int_equal(after.tilezero - before.tilezero, 1);
    assert_int_equal(after.tileloadd - before.tileloadd, 2);
    assert_int_equal(after.tileloaddt1 - before.tileloaddt1, 0);
    assert_int_equal(after.tilestored - before.tilestored, 3);
    assert_int_equal(after.tdpbssd - before.tdpbssd, 1);
    assert_int_equal(after.tdpbsud - before.tdpbsud, 2);
    assert_int_equal(after.tdpbusd - before.tdpbusd, 3);
    assert_int_equal(after.tdpbuud - before.tdpbuud, 4);
    assert_int_equal(after.tdpbf16ps - before.tdpbf16ps, 5);
}

#define FOR_EACH_TEST(X) \
    X(a_configuration_is_read_back_and_zeroes_the_tiles) \
    X(a_configuration_may_stand_beside_the_code) \
    X(every_form_of_an_address_is_understood) \
    X(every_shape_is_loaded_and_stored) \
    X(loads_and_stores_stay_inside_their_rows) \
    X(products_of_bytes_wrap_around) \
    X(products_of_bf16_have_the_order_and_roundings_of_the_manual) \
    X(products_of_any_bf16_flush_denormals_and_keep_nan_and_infinity) \
    X(a_denormal_sum_is_flushed) \
    X(products_do_not_depend_on_the_rounding_mode) \
    X(other_registers_keep_their_values) \
    X(broken_rules_end_the_process) \
    X(other_illegal_instructions_stay_illegal) \
    X(threads_have_their_own_tiles) \
    X(threads_may_meet_an_instruction_together) \
    X(a_team_works_with_tiles) \
    X(instructions_are_counted)

#define TEST_WITH_SIGNALS(name) \
    { #name " (signals)", name, start_with_signals, stop, NULL },
#define TEST_WITH_JUMPS(name) { #name, name, start, stop, NULL },
#else
#define FOR_EACH_TEST(X)
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_library_has_amx_where_there_are_tiles),
        FOR_EACH_TEST(TEST_WITH_SIGNALS)
        FOR_EACH_TEST(TEST_WITH_JUMPS)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
