/* The packed layout, read here as kernels.h draws it, and the roundings on the way into it. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/pack.h"
#include "runtime/memory.h"

static float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A value of its own for each element, of many magnitudes; column 3 is zero. */
static float element(size_t i, size_t j)
{
    return j == 3 ? 0.0f : sinf((float)(i * 131 + j)) * ldexpf(1.0f, (int)(j % 9) - 4);
}

static float column_scale(size_t k, size_t j)
{
    float largest = 0;

    for (size_t i = 0; i < k; i++)
        largest = fmaxf(largest, fabsf(element(i, j)));
    return largest > 0 ? largest / 127.0f : 1.0f;
}

/* What a packed matrix holds at (i, j). */
static float stored(uint32_t precision, size_t k, size_t i, size_t j)
{
    switch (precision) {
    case VMOE_PRECISION_BF16:
        return float_of((uint32_t)vmoe_bf16_from_f32(element(i, j)) << 16);
    case VMOE_PRECISION_INT8:
        return nearbyintf(element(i, j) / column_scale(k, j));
    default:
        return element(i, j);
    }
}

/* The value at a position of the storage, whatever it belongs to. */
static float raw(uint32_t precision, const void *packed, size_t at)
{
    switch (precision) {
    case VMOE_PRECISION_BF16:
        return float_of((uint32_t)((const uint16_t *)packed)[at] << 16);
    case VMOE_PRECISION_INT8:
        return ((const int8_t *)packed)[at];
    default:
        return ((const float *)packed)[at];
    }
}

/* Walks through the storage in the order of the drawing. */
static void check_storage(uint32_t precision, size_t k, size_t n, const void *packed)
{
    const size_t group = (size_t[]){ 0, 1, 2, 4 }[precision];
    size_t at = 0;

    for (size_t panel = 0; panel * 32 < n; panel++)
        for (size_t block = 0; block * 16 * group < k; block++)
            for (size_t tile = 0; tile < 2; tile++)
                for (size_t line = 0; line < 16; line++)
                    for (size_t c = 0; c < 16; c++)
                        for (size_t r = 0; r < group; r++, at++) {
                            const size_t i = (block * 16 + line) * group + r;
                            const size_t j = panel * 32 + tile * 16 + c;
                            const bool inside = i < k && j < n;
                            const float value = inside ? stored(precision, k, i, j) : 0.0f;

                            assert_true(raw(precision, packed, at) == value);
                            if (inside)
                                assert_true(vmoe_pack_value(precision, k, packed, i, j) == value);
                        }
    assert_int_equal(at * 4 / group, vmoe_pack_bytes(precision, k, n));
}

/* Sums of the columns of an int8 matrix; what comes after them stays. */
static void check_sums(size_t k, size_t n, const void *packed)
{
    int32_t *sums = malloc((n + 1) * sizeof *sums);

    sums[n] = 12345;
    vmoe_pack_sums(k, n, packed, sums);
    for (size_t j = 0; j < n; j++) {
        float sum = 0;

        for (size_t i = 0; i < k; i++)
            sum += stored(VMOE_PRECISION_INT8, k, i, j);
        assert_true((float)sums[j] == sum);
    }
    assert_int_equal(sums[n], 12345);
    free(sums);
}

/* Packs from a source with these strides, into memory full of other bytes and with a guard. */
static void check_pack(uint32_t precision, size_t k, size_t n, size_t row_stride,
                       size_t column_stride)
{
    const size_t bytes = (size_t)vmoe_pack_bytes(precision, k, n);
    float *source = malloc((k * row_stride + n * column_stride) * sizeof *source);
    uint8_t *packed = vmoe_memory_take(&vmoe_memory_default, bytes + 64);
    float *scales = malloc((n + 1) * sizeof *scales);

    for (size_t i = 0; i < k * row_stride + n * column_stride; i++)
        source[i] = NAN;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < n; j++)
            source[i * row_stride + j * column_stride] = element(i, j);
    memset(packed, 0xa5, bytes + 64);
    for (size_t j = 0; j <= n; j++)
        scales[j] = -1.0f;
    vmoe_pack(precision, k, n, source, row_stride, column_stride, packed, scales);

    check_storage(precision, k, n, packed);
    if (precision == VMOE_PRECISION_INT8)
        check_sums(k, n, packed);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(packed[bytes + i], 0xa5);
    for (size_t j = 0; j < n; j++)
        assert_true(scales[j] == (precision == VMOE_PRECISION_INT8 ? column_scale(k, j) : -1.0f));
    assert_true(scales[n] == -1.0f);
    free(source);
    free(scales);
    vmoe_memory_release(&vmoe_memory_default, packed);
}

static void every_element_is_where_the_drawing_says_and_padding_is_zero(void **state)
{
    static const size_t k[] = { 1, 2, 15, 16, 17, 33, 64, 65, 130 };
    static const size_t n[] = { 1, 5, 16, 17, 32, 33, 64, 70 };

    (void)state;
    for (uint32_t precision = VMOE_PRECISION_F32; precision <= VMOE_PRECISION_INT8; precision++)
        for (size_t a = 0; a < sizeof k / sizeof k[0]; a++)
            for (size_t b = 0; b < sizeof n / sizeof n[0]; b++) {
                check_pack(precision, k[a], n[b], n[b], 1);
                check_pack(precision, k[a], n[b], n[b] + 7, 1);
                check_pack(precision, k[a], n[b], 1, k[a]);
                check_pack(precision, k[a], n[b], 1, k[a] + 3);
                check_pack(precision, k[a], n[b], 2 * n[b] + 1, 2);
            }
}

static void blocks_and_bytes_are_those_of_the_layout(void **state)
{
    (void)state;
    assert_int_equal(vmoe_pack_block(VMOE_PRECISION_F32), 16);
    assert_int_equal(vmoe_pack_block(VMOE_PRECISION_BF16), 32);
    assert_int_equal(vmoe_pack_block(VMOE_PRECISION_INT8), 64);
    assert_int_equal(vmoe_pack_bytes(VMOE_PRECISION_F32, 768, 3072), 768 * 3072 * 4);
    assert_int_equal(vmoe_pack_bytes(VMOE_PRECISION_BF16, 768, 3072), 768 * 3072 * 2);
    assert_int_equal(vmoe_pack_bytes(VMOE_PRECISION_INT8, 768, 3072), 768 * 3072);
    assert_int_equal(vmoe_pack_bytes(VMOE_PRECISION_INT8, 65, 33), 128 * 64);
    /* The largest matrix of the limits does not wrap. */
    assert_true(vmoe_pack_bytes(VMOE_PRECISION_F32, 262144, 1048576) == UINT64_C(1) << 40);
}

static void bfloat16_rounds_to_nearest_and_ties_to_even(void **state)
{
    static const struct {
        uint32_t from;
        uint16_t to;
    } cases[] = {
        { 0x00000000u, 0x0000u }, { 0x80000000u, 0x8000u }, { 0x3f800000u, 0x3f80u },
        { 0x3f807fffu, 0x3f80u }, { 0x3f808000u, 0x3f80u }, { 0x3f808001u, 0x3f81u },
        { 0x3f817fffu, 0x3f81u }, { 0x3f818000u, 0x3f82u }, { 0xbf818000u, 0xbf82u },
        { 0x3fffffffu, 0x4000u }, { 0x7f7f7fffu, 0x7f7fu }, { 0x7f7fffffu, 0x7f80u },
        { 0x7f800000u, 0x7f80u }, { 0xff800000u, 0xff80u }, { 0x00008000u, 0x0000u },
        { 0x00018000u, 0x0002u },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(vmoe_bf16_from_f32(float_of(cases[i].from)), cases[i].to);
    for (uint32_t fraction = 1; fraction < 0x800000u; fraction <<= 1) {
        const uint16_t nan = vmoe_bf16_from_f32(float_of(0x7f800000u | fraction));

        assert_true((nan & 0x7f80u) == 0x7f80u && (nan & 0x7fu) != 0);
    }
}

static void int8_rounds_ties_to_even_and_never_exceeds_127(void **state)
{
    static const float column[] = { 127.0f, 0.5f,    1.5f,   2.5f, -0.5f,
                                    -1.5f,  -127.0f, 126.5f, 0.49f };
    static const int8_t rounded[] = { 127, 0, 2, 2, 0, -2, -127, 126, 0 };
    float scale;
    _Alignas(64) int8_t packed[64 * 32];

    (void)state;
    vmoe_pack(VMOE_PRECISION_INT8, 9, 1, column, 1, 9, packed, &scale);
    assert_true(scale == 1.0f);
    for (size_t i = 0; i < 9; i++)
        assert_true(vmoe_pack_value(VMOE_PRECISION_INT8, 9, packed, i, 0) == rounded[i]);
    for (float largest = 1e-30f; largest < 1e30f; largest *= 1.37f) {
        vmoe_pack(VMOE_PRECISION_INT8, 1, 1, &largest, 1, 1, packed, &scale);
        assert_true(scale == largest / 127.0f && packed[0] == 127);
    }
}

static void the_sum_of_the_longest_int8_column_is_exact(void **state)
{
    enum { K = 262144 };
    float *column = malloc(K * sizeof *column), scale;
    int8_t *packed = vmoe_memory_take(&vmoe_memory_default,
                                      vmoe_pack_bytes(VMOE_PRECISION_INT8, K, 1));
    int32_t sum;

    (void)state;
    for (size_t i = 0; i < K; i++)
        column[i] = i == K / 2 ? -1.0f / 127.0f : -1.0f;
    vmoe_pack(VMOE_PRECISION_INT8, K, 1, column, 1, K, packed, &scale);
    vmoe_pack_sums(K, 1, packed, &sum);
    assert_int_equal(sum, -127 * (K - 1) - 1);
    free(column);
    vmoe_memory_release(&vmoe_memory_default, packed);
}

static void an_int8_column_too_small_for_a_scale_is_zero(void **state)
{
    const float column[] = { 1e-40f, -1e-40f, 0.0f };
    float scale;
    _Alignas(64) int8_t packed[64 * 32];

    (void)state;
    vmoe_pack(VMOE_PRECISION_INT8, 3, 1, column, 1, 3, packed, &scale);
    assert_true(scale == 1.0f);
    for (size_t i = 0; i < 3; i++)
        assert_true(vmoe_pack_value(VMOE_PRECISION_INT8, 3, packed, i, 0) == 0.0f);
}

static void the_smallest_scale_is_the_smallest_normal_number(void **state)
{
    const float column[] = { 0x1p-126f, -127.0f * 0x1p-126f };
    float scale;
    _Alignas(64) int8_t packed[64 * 32];

    (void)state;
    vmoe_pack(VMOE_PRECISION_INT8, 2, 1, column, 1, 2, packed, &scale);
    assert_true(scale == 0x1p-126f);
    assert_true(vmoe_pack_value(VMOE_PRECISION_INT8, 2, packed, 0, 0) == 1.0f);
    assert_true(vmoe_pack_value(VMOE_PRECISION_INT8, 2, packed, 1, 0) == -127.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_element_is_where_the_drawing_says_and_padding_is_zero),
        cmocka_unit_test(blocks_and_bytes_are_those_of_the_layout),
        cmocka_unit_test(bfloat16_rounds_to_nearest_and_ties_to_even),
        cmocka_unit_test(int8_rounds_ties_to_even_and_never_exceeds_127),
        cmocka_unit_test(the_sum_of_the_longest_int8_column_is_exact),
        cmocka_unit_test(an_int8_column_too_small_for_a_scale_is_zero),
        cmocka_unit_test(the_smallest_scale_is_the_smallest_normal_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
