/*
 * Tiles, configuration and instructions, from the pseudo-code of Intel's manual.  Numbers of
 * registers are those of the instructions.
 */
#include "support/tile_unit.h"

#if defined(__x86_64__) && defined(__linux__)
#include <immintrin.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TILES 8u
#define ROWS 16u
#define ROW_BYTES 64u

/* In the order of struct tiles_counts. */
enum kind {
    LDTILECFG, STTILECFG, TILERELEASE, TILEZERO,
    TILELOADD, TILELOADDT1, TILESTORED,
    TDPBSSD, TDPBSUD, TDPBUSD, TDPBUUD, TDPBF16PS,
    KINDS
};

static const char *const names[KINDS] = { "ldtilecfg", "sttilecfg",   "tilerelease", "tilezero",
                                          "tileloadd", "tileloaddt1", "tilestored",  "tdpbssd",
                                          "tdpbsud",   "tdpbusd",     "tdpbuud",     "tdpbf16ps" };

_Static_assert(sizeof(struct tiles_counts) == KINDS * sizeof(uint64_t), "a count for each kind");

struct tile {
    _Alignas(64) uint8_t row[ROWS][ROW_BYTES];
};

/* The 64 bytes of LDTILECFG and STTILECFG. */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[TILES], reserved_row_bytes[TILES];
    uint8_t rows[TILES], reserved_rows[TILES];
};

_Static_assert(sizeof(struct tile_config) == 64, "as the instructions read it");

/* Bytes of a row and rows outside a tile's shape are zero at all times. */
static _Thread_local struct {
    struct tile tiles[TILES];
    struct tile_config config; /* palette 0: not configured, all zero */
} unit;

static atomic_uint_fast64_t counts[KINDS];

struct instruction {
    enum kind kind;
    unsigned tile, a, b; /* destination (or the tile that is stored) and the two factors */
    uint8_t *memory;     /* operand, for a tile its row 0 */
    int64_t stride;      /* bytes from row to row */
    uint64_t at;         /* its own address */
    size_t length;
};

/* ---- Rules ---------------------------------------------------------------------------------- */

/* Ends the process: on a machine with AMX the instruction would have raised #UD or #GP. */
__attribute__((format(printf, 2, 3), noreturn)) static void
broken(const struct instruction *in, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "\ntiles: %s at 0x%" PRIx64, names[in->kind], in->at);
    if (in->kind >= TDPBSSD)
        fprintf(stderr, " (tmm%u += tmm%u * tmm%u)", in->tile, in->a, in->b);
    else if (in->kind >= TILEZERO)
        fprintf(stderr, " (tmm%u)", in->tile);
    fputs(": ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    for (unsigned i = 0; i < TILES; i++)
        if (unit.config.rows[i] != 0)
            fprintf(stderr, "tiles: tmm%u has %u rows of %u bytes\n", i, unit.config.rows[i],
                    unit.config.row_bytes[i]);
    fflush(stderr);
    abort();
}

static void check_tile(const struct instruction *in, unsigned tile)
{
    if (unit.config.palette == 0)
        broken(in, "the tiles are not configured");
    if (unit.config.rows[tile] == 0)
        broken(in, "tmm%u has no shape in the configuration", tile);
}

/* Machines with AMX refuse such rows, in loads and stores as in products. */
static void check_row_bytes(const struct instruction *in, unsigned tile)
{
    if (unit.config.row_bytes[tile] % 4 != 0)
        broken(in, "a row of tmm%u has %u bytes, no multiple of 4", tile,
               unit.config.row_bytes[tile]);
}

static bool any_byte(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;

    while (n > 0 && p[n - 1] == 0)
        n--;
    return n != 0;
}

static void check_config(const struct instruction *in, const struct tile_config *config)
{
    if (config->palette > 1)
        broken(in, "there is no palette %u", config->palette);
    if (config->palette == 0)
        return;
    /* Legal, but it is for interrupted loads; a program that sets it has made a mistake. */
    if (config->start_row != 0)
        broken(in, "it starts at row %u", config->start_row);
    if (any_byte(config->reserved, sizeof config->reserved) ||
        any_byte(config->reserved_row_bytes, sizeof config->reserved_row_bytes) ||
        any_byte(config->reserved_rows, sizeof config->reserved_rows))
        broken(in, "a reserved byte is not zero");
    for (unsigned i = 0; i < TILES; i++) {
        if (config->rows[i] > ROWS || config->row_bytes[i] > ROW_BYTES)
            broken(in, "tmm%u is to have %u rows of %u bytes", i, config->rows[i],
                   config->row_bytes[i]);
        if ((config->rows[i] == 0) != (config->row_bytes[i] == 0))
            broken(in, "tmm%u is to have rows or bytes, but not both", i);
    }
}

static void check_product(const struct instruction *in)
{
    const struct tile_config *config = &unit.config;

    check_tile(in, in->tile);
    check_tile(in, in->a);
    check_tile(in, in->b);
    if (in->tile == in->a || in->tile == in->b || in->a == in->b)
        broken(in, "a tile is named twice");
    check_row_bytes(in, in->tile);
    check_row_bytes(in, in->a);
    check_row_bytes(in, in->b);
    if (config->rows[in->tile] != config->rows[in->a])
        broken(in, "tmm%u and tmm%u differ in rows", in->tile, in->a);
    if (config->row_bytes[in->tile] != config->row_bytes[in->b])
        broken(in, "tmm%u and tmm%u differ in bytes", in->tile, in->b);
    if (config->row_bytes[in->a] / 4u != config->rows[in->b])
        broken(in, "a row of tmm%u has other than 4 bytes for each row of tmm%u", in->a, in->b);
}

/* ---- Products ------------------------------------------------------------------------------- */

/* Every dword of a row of `a` meets a row of `b`: `depth` of them. */
struct product {
    struct tile *c;
    const struct tile *a, *b;
    unsigned rows, depth;
    uint16_t columns; /* a bit for each dword of a row of c */
};

#define WIDE __attribute__((target("avx512f,avx512bw"), noinline))

/*
 * Bytes are widened to 16 bits, so that one instruction multiplies and adds two of the four
 * products of a dword; sums of two never overflow, and all further ones wrap around.
 */
WIDE static void multiply_bytes(const struct product *p, bool a_signed, bool b_signed)
{
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2,
                                          0);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    __m512i b[ROWS][2];

    for (unsigned k = 0; k < p->depth; k++)
        for (unsigned half = 0; half < 2; half++) {
            const __m256i bytes = _mm256_load_si256((const void *)(p->b->row[k] + 32 * half));

            b[k][half] = b_signed ? _mm512_cvtepi8_epi16(bytes) : _mm512_cvtepu8_epi16(bytes);
        }
    for (unsigned r = 0; r < p->rows; r++) {
        __m512i low = _mm512_setzero_si512(), high = low, sum;
        _Alignas(64) int64_t a[ROWS];

        for (unsigned half = 0; half < 2; half++) {
            const __m256i bytes = _mm256_load_si256((const void *)(p->a->row[r] + 32 * half));

            _mm512_store_si512(a + 8 * half, a_signed ? _mm512_cvtepi8_epi16(bytes)
                                                      : _mm512_cvtepu8_epi16(bytes));
        }
        for (unsigned k = 0; k < p->depth; k++) {
            const __m512i four = _mm512_set1_epi64(a[k]);

            low = _mm512_add_epi32(low, _mm512_madd_epi16(b[k][0], four));
            high = _mm512_add_epi32(high, _mm512_madd_epi16(b[k][1], four));
        }
        sum = _mm512_add_epi32(_mm512_permutex2var_epi32(low, even, high),
                               _mm512_permutex2var_epi32(low, odd, high));
        sum = _mm512_add_epi32(sum, _mm512_load_si512(p->c->row[r]));
        _mm512_store_si512(p->c->row[r], _mm512_maskz_mov_epi32(p->columns, sum));
    }
}

/*
 * Even and odd products have a sum each; their sum is added to the destination.  A bfloat16 is the
 * upper half of a float.
 */
WIDE static void multiply_bf16(const struct product *p)
{
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000u);
    __m512 b[ROWS][2];

    for (unsigned k = 0; k < p->depth; k++) {
        const __m512i pairs = _mm512_load_si512(p->b->row[k]);

        b[k][0] = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
        b[k][1] = _mm512_castsi512_ps(_mm512_and_si512(pairs, upper));
    }
    for (unsigned r = 0; r < p->rows; r++) {
        __m512 even = _mm512_setzero_ps(), odd = even, sum;

        for (unsigned k = 0; k < p->depth; k++) {
            uint32_t pair;

            memcpy(&pair, p->a->row[r] + 4 * k, sizeof pair);
            even = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_set1_epi32((int)(pair << 16))),
                                   b[k][0], even);
            odd = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_set1_epi32((int)(pair & 0xffff0000u))),
                                  b[k][1], odd);
        }
        sum = _mm512_add_ps(_mm512_load_ps(p->c->row[r]), _mm512_add_ps(even, odd));
        _mm512_store_ps(p->c->row[r], _mm512_maskz_mov_ps(p->columns, sum));
    }
}

static void multiply(const struct instruction *in)
{
    /* All exceptions masked, round to nearest, flush to zero, denormals are zero. */
    static const unsigned tile_float = 0x9fc0u;
    struct product product;
    unsigned before;

    check_product(in);
    product.c = &unit.tiles[in->tile];
    product.a = &unit.tiles[in->a];
    product.b = &unit.tiles[in->b];
    product.rows = unit.config.rows[in->tile];
    product.depth = unit.config.rows[in->b];
    product.columns = (uint16_t)((1u << unit.config.row_bytes[in->tile] / 4) - 1);
    if (in->kind != TDPBF16PS) {
        multiply_bytes(&product, in->kind == TDPBSSD || in->kind == TDPBSUD,
                       in->kind == TDPBSSD || in->kind == TDPBUSD);
        return;
    }
    before = _mm_getcsr();
    _mm_setcsr(tile_float);
    multiply_bf16(&product);
    _mm_setcsr(before);
}

/* ---- The other instructions ----------------------------------------------------------------- */

static void load_config(const struct instruction *in)
{
    struct tile_config config;

    memcpy(&config, in->memory, sizeof config);
    check_config(in, &config);
    memset(&unit, 0, sizeof unit);
    if (config.palette != 0)
        unit.config = config;
}

static void load_tile(const struct instruction *in)
{
    struct tile *tile = &unit.tiles[in->tile];
    const uint8_t *row = in->memory;

    check_tile(in, in->tile);
    check_row_bytes(in, in->tile);
    for (unsigned r = 0; r < unit.config.rows[in->tile]; r++, row += in->stride)
        memcpy(tile->row[r], row, unit.config.row_bytes[in->tile]);
}

static void store_tile(const struct instruction *in)
{
    const struct tile *tile = &unit.tiles[in->tile];
    uint8_t *row = in->memory;

    check_tile(in, in->tile);
    check_row_bytes(in, in->tile);
    for (unsigned r = 0; r < unit.config.rows[in->tile]; r++, row += in->stride)
        memcpy(row, tile->row[r], unit.config.row_bytes[in->tile]);
}

static void execute(const struct instruction *in)
{
    switch (in->kind) {
    case LDTILECFG:
        load_config(in);
        break;
    case STTILECFG:
        memcpy(in->memory, &unit.config, sizeof unit.config);
        break;
    case TILERELEASE:
        memset(&unit, 0, sizeof unit);
        break;
    case TILEZERO:
        check_tile(in, in->tile);
        memset(&unit.tiles[in->tile], 0, sizeof unit.tiles[in->tile]);
        break;
    case TILELOADD:
    case TILELOADDT1:
        load_tile(in);
        break;
    case TILESTORED:
        store_tile(in);
        break;
    default:
        multiply(in);
        break;
    }
    atomic_fetch_add_explicit(&counts[in->kind], 1, memory_order_relaxed);
}

/* ---- Decoding ------------------------------------------------------------------------------- */

/* A VEX prefix of three bytes: C4, ~R ~X ~B and the map, W ~vvvv L and pp. */
struct vex {
    unsigned r, x, b, v, pp; /* not inverted */
};

static int64_t displacement(const uint8_t *code, size_t bytes)
{
    int32_t wide;

    if (bytes == 0)
        return 0;
    if (bytes == 1)
        return (int8_t)*code;
    memcpy(&wide, code, sizeof wide);
    return wide;
}

/* The operand in memory of the ModRM byte at code[4]; false if it is not one for this kind. */
static bool decode_memory(const uint8_t *code, const struct vex *vex, const int64_t *registers,
                          struct instruction *in)
{
    const unsigned mod = code[4] >> 6, rm = code[4] & 7;
    const bool has_sib = rm == 4;
    const unsigned sib = has_sib ? code[5] : 0;
    const unsigned index = (sib >> 3 & 7) | vex->x << 3;
    const unsigned base = (has_sib ? sib & 7 : rm) | vex->b << 3;
    const size_t at = has_sib ? 6 : 5;
    const bool no_base = mod == 0 && (base & 7) == 5;
    const size_t bytes = mod == 1 ? 1 : mod == 2 || no_base ? 4 : 0;
    int64_t address = displacement(code + at, bytes), offset = 0;

    in->length = at + bytes;
    if (!no_base)
        address += registers[base];
    else if (!has_sib)
        address += (int64_t)(in->at + in->length);
    if (has_sib && index != 4)
        offset = (int64_t)((uint64_t)registers[index] << (sib >> 6));
    /* For tiles the index is what separates the rows. */
    if (in->kind == LDTILECFG || in->kind == STTILECFG)
        address += offset;
    else
        in->stride = offset;
    in->memory = (uint8_t *)(uintptr_t)address;
    return has_sib || in->kind == LDTILECFG || in->kind == STTILECFG;
}

/* The kind by opcode, prefix pp, and whether ModRM names memory; KINDS if there is none. */
static enum kind find_kind(unsigned opcode, unsigned pp, unsigned modrm)
{
    static const enum kind loads[4] = { KINDS, TILELOADDT1, TILESTORED, TILELOADD };
    static const enum kind products[4] = { TDPBUUD, TDPBUSD, TDPBSUD, TDPBSSD };
    const bool memory = modrm < 0xc0;

    if (opcode == 0x49 && memory && (modrm >> 3 & 7) == 0 && pp < 2)
        return pp == 0 ? LDTILECFG : STTILECFG;
    if (opcode == 0x49 && modrm == 0xc0 && pp == 0)
        return TILERELEASE;
    if (opcode == 0x49 && !memory && (modrm & 7) == 0 && pp == 3)
        return TILEZERO;
    if (opcode == 0x4b && memory)
        return loads[pp];
    if (opcode == 0x5e && !memory)
        return products[pp];
    if (opcode == 0x5c && !memory && pp == 2)
        return TDPBF16PS;
    return KINDS;
}

/* Bytes are looked at one after the other: behind another instruction a page may end. */
static bool decode(const uint8_t *code, uint64_t at, const int64_t *registers,
                   struct instruction *in)
{
    struct vex vex;
    unsigned first, second, modrm;

    if (code[0] != 0xc4 || (code[1] & 0x1f) != 2 || (code[2] & 0x84) != 0)
        return false;
    first = code[1] ^ 0xffu;
    second = code[2] ^ 0xffu;
    vex = (struct vex){ .r = first >> 7, .x = first >> 6 & 1, .b = first >> 5 & 1,
                        .v = second >> 3 & 15, .pp = code[2] & 3u };
    modrm = code[4];
    *in = (struct instruction){ .kind = find_kind(code[3], vex.pp, modrm), .at = at,
                                .tile = modrm >> 3 & 7, .a = modrm & 7, .b = vex.v, .length = 5 };
    if (in->kind == KINDS || vex.r != 0 || vex.v > (in->kind >= TDPBSSD ? 7u : 0u))
        return false;
    if (modrm < 0xc0)
        return decode_memory(code, &vex, registers, in);
    return vex.x == 0 && vex.b == 0;
}

/* ---- For the signal and the stubs ----------------------------------------------------------- */

size_t tile_unit_length(const uint8_t *code)
{
    static const int64_t registers[16];
    struct instruction in;

    return decode(code, 0, registers, &in) ? in.length : 0;
}

size_t tile_unit_execute(const uint8_t *code, uint64_t at, const int64_t registers[16])
{
    struct instruction in;

    if (!decode(code, at, registers, &in))
        return 0;
    execute(&in);
    return in.length;
}

struct tiles_counts tiles_counts(void)
{
    struct tiles_counts now;
    uint64_t values[KINDS];

    for (unsigned i = 0; i < KINDS; i++)
        values[i] = atomic_load_explicit(&counts[i], memory_order_relaxed);
    memcpy(&now, values, sizeof now);
    return now;
}
#else
struct tiles_counts tiles_counts(void)
{
    return (struct tiles_counts){ 0 };
}
#endif
