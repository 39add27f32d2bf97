/* Number types: one row of a table each, and one loop each. */
#include "checkpoint/number.h"

#include <string.h>

#include "checkpoint/bytes.h"

static const struct {
    const char *name;
    const char *descr; /* without the byte order */
    const char *tag;
    uint32_t bytes;
} types[VMOE_NUMBERS] = {
    [VMOE_NUMBER_NONE] = { "no number", "", "", 0 },
    [VMOE_NUMBER_F32] = { "float32", "f4", "F32", 4 },
    [VMOE_NUMBER_BF16] = { "bfloat16", "V2", "BF16", 2 },
    [VMOE_NUMBER_F16] = { "float16", "f2", "F16", 2 },
    [VMOE_NUMBER_F64] = { "float64", "f8", "F64", 8 },
    [VMOE_NUMBER_I8] = { "int8", "i1", "I8", 1 },
    [VMOE_NUMBER_I16] = { "int16", "i2", "I16", 2 },
    [VMOE_NUMBER_I32] = { "int32", "i4", "I32", 4 },
    [VMOE_NUMBER_I64] = { "int64", "i8", "I64", 8 },
    [VMOE_NUMBER_U8] = { "uint8", "u1", "U8", 1 },
    [VMOE_NUMBER_U16] = { "uint16", "u2", "U16", 2 },
    [VMOE_NUMBER_U32] = { "uint32", "u4", "U32", 4 },
    [VMOE_NUMBER_U64] = { "uint64", "u8", "U64", 8 },
    [VMOE_NUMBER_BOOL] = { "bool", "b1", "BOOL", 1 },
};

enum vmoe_number vmoe_number_by_name(const char *name)
{
    for (unsigned i = VMOE_NUMBER_F32; i < VMOE_NUMBERS; i++)
        if (strcmp(types[i].name, name) == 0)
            return (enum vmoe_number)i;
    return VMOE_NUMBER_NONE;
}

enum vmoe_number vmoe_number_by_descr(const char *descr)
{
    for (unsigned i = VMOE_NUMBER_F32; i < VMOE_NUMBERS; i++) {
        /* "|" means that there is no byte order, as in single and in raw bytes. */
        if (descr[0] != '<' && !(descr[0] == '|' && (types[i].bytes == 1 || i == VMOE_NUMBER_BF16)))
            continue;
        if (strcmp(types[i].descr, descr + 1) == 0)
            return (enum vmoe_number)i;
    }
    return VMOE_NUMBER_NONE;
}

enum vmoe_number vmoe_number_by_tag(const char *tag)
{
    for (unsigned i = VMOE_NUMBER_F32; i < VMOE_NUMBERS; i++)
        if (strcmp(types[i].tag, tag) == 0)
            return (enum vmoe_number)i;
    return VMOE_NUMBER_NONE;
}

const char *vmoe_number_name(enum vmoe_number type)
{
    return types[type].name;
}

uint32_t vmoe_number_bytes(enum vmoe_number type)
{
    return types[type].bytes;
}

static float float_of_bits(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static double double_of_bits(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static float float_of_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = (half >> 10) & 31;
    uint32_t fraction = half & 1023;

    if (exponent == 0) { /* a multiple of 2^-24, exact in float32 */
        float magnitude = (float)fraction * 0x1p-24f;

        return sign != 0 ? -magnitude : magnitude;
    }
    exponent = exponent == 31 ? 255 : exponent + (127 - 15);
    return float_of_bits(sign | exponent << 23 | fraction << 13);
}

/* Two's complement without conversions that C leaves to the implementation. */
static int64_t signed_of(uint64_t value, unsigned bits)
{
    uint64_t half = UINT64_C(1) << (bits - 1);

    return value < half ? (int64_t)value : -(int64_t)(half - 1 - (value - half)) - 1;
}

void vmoe_number_to_f32(enum vmoe_number type, const void *raw, size_t count, float *out)
{
    const uint8_t *p = raw;
    const uint32_t step = types[type].bytes;

    if (type == VMOE_NUMBER_F32 && raw == out)
        return;

#define CASE(type, value) \
    case type: \
        for (size_t i = 0; i < count; i++, p += step) \
            out[i] = (value); \
        break

    switch (type) {
        CASE(VMOE_NUMBER_F32, float_of_bits(get_u32(p)));
        CASE(VMOE_NUMBER_BF16, float_of_bits((uint32_t)get_u16(p) << 16));
        CASE(VMOE_NUMBER_F16, float_of_half(get_u16(p)));
        CASE(VMOE_NUMBER_F64, (float)double_of_bits(get_u64(p)));
        CASE(VMOE_NUMBER_I8, (float)signed_of(*p, 8));
        CASE(VMOE_NUMBER_I16, (float)signed_of(get_u16(p), 16));
        CASE(VMOE_NUMBER_I32, (float)signed_of(get_u32(p), 32));
        CASE(VMOE_NUMBER_I64, (float)signed_of(get_u64(p), 64));
        CASE(VMOE_NUMBER_U8, (float)*p);
        CASE(VMOE_NUMBER_U16, (float)get_u16(p));
        CASE(VMOE_NUMBER_U32, (float)get_u32(p));
        CASE(VMOE_NUMBER_U64, (float)get_u64(p));
        CASE(VMOE_NUMBER_BOOL, *p != 0 ? 1.0f : 0.0f);
    case VMOE_NUMBER_NONE:
    case VMOE_NUMBERS: break;
    }
#undef CASE
}
