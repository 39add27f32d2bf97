/*
 * Pictures: TensorFlow's decodes and resizes bit for bit, both resizers against plain versions of
 * the same arithmetic, pixels of the caller, and patches.  Damaged JPEG files are in test_jpeg.c.
 */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "image/preprocess.h"
#include "image/resize.h"
#include "runtime/limits.h"
#include "support/random.h"
#include "support/sha256.h"
#include "support/support.h"

static uint32_t random_side(uint32_t most)
{
    return 1 + random_u32() % most;
}

static uint8_t *random_pixels(size_t n)
{
    uint8_t *pixels = malloc(n);

    for (size_t i = 0; i < n; i++)
        pixels[i] = (uint8_t)random_u32();
    return pixels;
}

static vmoe_picture jpeg_picture(const void *data, size_t bytes)
{
    return (vmoe_picture){ VMOE_PICTURE_JPEG, 0, 0, data, bytes, 0 };
}

static vmoe_picture rgb_picture(const uint8_t *pixels, uint32_t width, uint32_t height)
{
    return (vmoe_picture){ VMOE_PICTURE_RGB8,        width, height, pixels,
                           (size_t)3 * width * height, 0 };
}

/*
 * The preprocessed picture, with exactly as much scratch as was asked for, full of NaN; free()
 * releases it.
 */
static float *preprocess(vmoe_preprocessing how, vmoe_picture picture)
{
    const size_t side = vmoe_preprocess_side(&how), bytes = vmoe_preprocess_scratch_bytes(&how);
    void *scratch = memset(aligned_alloc(64, bytes), 0xff, bytes);
    float *out = malloc(3 * side * side * sizeof *out);
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status status = vmoe_preprocess_picture(&how, &picture, "test", scratch, out, &error);

    if (status != VMOE_OK)
        fail_msg("%s: %s", vmoe_status_name(status), error.text);
    free(scratch);
    return out;
}

static void assert_preprocess_fails(vmoe_preprocessing how, vmoe_picture picture,
                                    vmoe_status expected)
{
    static float out[3 * 64 * 64];
    void *scratch = aligned_alloc(64, vmoe_preprocess_scratch_bytes(&how));
    vmoe_error error = VMOE_ERROR_INIT;

    assert_int_equal(vmoe_preprocess_picture(&how, &picture, "test", scratch, out, &error),
                     expected);
    assert_int_equal(error.status, expected);
    assert_string_equal(error.where, "test");
    assert_true(strlen(error.text) > 10);
    assert_int_equal(vmoe_preprocess_picture(&how, &picture, "test", scratch, out, NULL),
                     expected);
    free(scratch);
}

static void assert_same_floats(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("value %zu is %.9g, expected %.9g", i, (double)a[i], (double)b[i]);
}

/* ---- Golden pictures ------------------------------------------------------------------------- */

/* All rows of a picture; free() releases them. */
static uint8_t *all_rows(const vmoe_picture *picture, uint32_t *width, uint32_t *height)
{
    _Alignas(64) static uint8_t memory[VMOE_ROWS_BYTES];
    struct vmoe_rows *rows;
    uint8_t *pixels;

    assert_int_equal(vmoe_rows_open(picture, "test", memory, &rows, NULL), VMOE_OK);
    *width = rows->width;
    *height = rows->height;
    pixels = malloc((size_t)3 * *width * *height);
    for (size_t y = 0; y < *height; y++)
        assert_int_equal(rows->next(rows, pixels + y * 3 * *width, NULL), VMOE_OK);
    assert_int_equal(rows->finish(rows, NULL), VMOE_OK);
    return pixels;
}

static void decodes_are_tensorflows(void **unused)
{
    static const char *const with_pixels[] = {
        "cat_420_prog_q30", "cmyk_90x64", "exif_rotate90_120x160", "fm_28",
        "gray_123x77",      "line_2x250", "line_301x1",            "odd_37x53_420",
        "odd_53x37_422",    "one_1x1",    "restart_160x120",
    };
    struct table table;
    size_t compared = 0;

    (void)unused;
    if (!golden_has("preprocess/cases.tsv"))
        skip_because("not among the golden data here");
    table = table_load(golden_path("preprocess/cases.tsv"));
    if (golden_exists())
        assert_int_equal(table.rows, 17);
    for (size_t row = 0; row < table.rows; row++) {
        const char *name = table_cell(&table, row, "name");
        size_t bytes;
        uint8_t *file = read_file(golden_path("preprocess/%s.jpg", name), &bytes);
        const vmoe_picture picture = jpeg_picture(file, bytes);
        uint32_t width, height;
        uint8_t *pixels = all_rows(&picture, &width, &height);
        char hex[65];

        assert_int_equal(width, atoi(table_cell(&table, row, "width")));
        assert_int_equal(height, atoi(table_cell(&table, row, "height")));
        for (size_t i = 0; i < sizeof with_pixels / sizeof with_pixels[0]; i++) {
            struct npy expected;

            if (strcmp(name, with_pixels[i]) != 0)
                continue;
            expected = npy_load(golden_path("preprocess/%s.decoded.npy", name));
            assert_int_equal(expected.elements, (size_t)3 * width * height);
            assert_memory_equal(pixels, expected.data, expected.elements);
            npy_free(&expected);
            compared++;
        }
        sha256_hex(pixels, (size_t)3 * width * height, hex);
        assert_string_equal(hex, table_cell(&table, row, "sha256_of_decoded_rgb"));
        free(pixels);
        free(file);
    }
    if (golden_exists())
        assert_int_equal(compared, sizeof with_pixels / sizeof with_pixels[0]);
    table_free(&table);
}

/* An output is called r384:uint8 or s256c224:float32. */
static vmoe_preprocessing parse_output(const char *output)
{
    vmoe_preprocessing how = { VMOE_PREPROCESS_RESIZE, 0, 0 };
    char *end;

    how.side = (uint32_t)strtoul(output + 1, &end, 10);
    if (*output == 's') {
        how.kind = VMOE_PREPROCESS_SMALL_CROP;
        how.crop = (uint32_t)strtoul(end + 1, NULL, 10);
    }
    return how;
}

static void check_output(const char *name, const char *output, vmoe_picture picture)
{
    const vmoe_preprocessing how = parse_output(output);
    const size_t side = vmoe_preprocess_side(&how);
    const int label = (int)strcspn(output, ":");
    struct npy expected = npy_load(golden_path("preprocess/%s.%.*s.npy", name, label, output));
    float *out = preprocess(how, picture);

    assert_int_equal(expected.elements, 3 * side * side);
    if (expected.item_bytes == 1)
        for (size_t i = 0; i < expected.elements; i++)
            assert_true(out[i] == (float)((const uint8_t *)expected.data)[i]);
    else
        assert_same_floats(out, expected.data, expected.elements);
    free(out);
    npy_free(&expected);
}

/* Every golden output, once from the JPEG file and once from its pixels. */
static void resized_pictures_are_tensorflows(void **unused)
{
    struct table table;
    size_t outputs = 0;

    (void)unused;
    if (!golden_has("preprocess/cases.tsv"))
        skip_because("not among the golden data here");
    table = table_load(golden_path("preprocess/cases.tsv"));
    for (size_t row = 0; row < table.rows; row++) {
        const char *name = table_cell(&table, row, "name");
        const char *output = table_cell(&table, row, "outputs");
        size_t bytes;
        uint8_t *file = read_file(golden_path("preprocess/%s.jpg", name), &bytes);
        const vmoe_picture picture = jpeg_picture(file, bytes);
        uint32_t width, height;
        uint8_t *pixels = all_rows(&picture, &width, &height);

        for (; output != NULL; outputs++) {
            check_output(name, output, picture);
            check_output(name, output, rgb_picture(pixels, width, height));
            output = strchr(output, ',');
            output = output == NULL ? NULL : output + 1;
        }
        free(pixels);
        free(file);
    }
    if (golden_exists())
        assert_int_equal(outputs, 33);
    table_free(&table);
}

/* ---- The arithmetic said once more, pixel by pixel ------------------------------------------- */

static float pixel(const vmoe_picture *picture, long x, long y, size_t c)
{
    const uint8_t *pixels = picture->data;
    const long right = (long)picture->width - 1, bottom = (long)picture->height - 1;

    x = x < 0 ? 0 : x > right ? right : x;
    y = y < 0 ? 0 : y > bottom ? bottom : y;
    return (float)pixels[((size_t)y * picture->width + (size_t)x) * 3 + c];
}

static float naive_bilinear(const vmoe_picture *picture, uint32_t side, size_t i, size_t j,
                            size_t c)
{
    const float scale_x = (float)picture->width / (float)side;
    const float scale_y = (float)picture->height / (float)side;
    const float x = ((float)j + 0.5f) * scale_x - 0.5f;
    const float y = ((float)i + 0.5f) * scale_y - 0.5f;
    const long left = (long)floorf(x), right = (long)ceilf(x);
    const long above = (long)floorf(y), below = (long)ceilf(y);
    const float a = pixel(picture, left, above, c), b = pixel(picture, right, above, c);
    const float d = pixel(picture, left, below, c), e = pixel(picture, right, below, c);
    const float top = a + (b - a) * (x - floorf(x));
    const float bottom = d + (e - d) * (x - floorf(x));

    return (float)(uint8_t)(top + (bottom - top) * (y - floorf(y)));
}

static float naive_weight(long v, float begin, float end, float scale)
{
    if ((float)v < begin)
        return (float)(v + 1) > end ? scale : (float)(v + 1) - begin;
    return (float)(v + 1) > end ? end - (float)v : 1.0f;
}

static float naive_area(const vmoe_picture *picture, uint32_t width, uint32_t height, size_t i,
                        size_t j, size_t c)
{
    const float scale_x = (float)picture->width / (float)width;
    const float scale_y = (float)picture->height / (float)height;
    const float top = (float)i * scale_y, bottom = (float)(i + 1) * scale_y;
    const float left = (float)j * scale_x, right = (float)(j + 1) * scale_x;
    float sum = 0.0f;

    for (long y = (long)floorf(top); y < (long)ceilf(bottom); y++) {
        float row = 0.0f;

        for (long x = (long)floorf(left); x < (long)ceilf(right); x++)
            row += pixel(picture, x, y, c) * naive_weight(x, left, right, scale_x);
        sum += row * naive_weight(y, top, bottom, scale_y);
    }
    return sum * (1.0f / (scale_y * scale_x));
}

static void bilinear_resizing_of_any_size(void **unused)
{
    (void)unused;
    random_seed(31);
    for (size_t run = 0; run < 300; run++) {
        const uint32_t width = random_side(90), height = random_side(90), side = random_side(70);
        uint8_t *pixels = random_pixels((size_t)3 * width * height);
        const vmoe_picture picture = rgb_picture(pixels, width, height);
        float *out = preprocess((vmoe_preprocessing){ VMOE_PREPROCESS_RESIZE, side, 0 }, picture);

        for (size_t i = 0; i < (size_t)3 * side * side; i++)
            assert_true(out[i] ==
                        naive_bilinear(&picture, side, i / 3 / side, i / 3 % side, i % 3));
        free(out);
        free(pixels);
    }
}

static void area_averaging_and_crop_of_any_size(void **unused)
{
    (void)unused;
    random_seed(32);
    for (size_t run = 0; run < 300; run++) {
        const uint32_t width = random_side(90), height = random_side(90);
        const uint32_t side = random_side(70), crop = random_side(side);
        const float ratio = (float)side / (float)(width < height ? width : height);
        const uint32_t new_width = (uint32_t)nearbyintf((float)width * ratio);
        const uint32_t new_height = (uint32_t)nearbyintf((float)height * ratio);
        uint8_t *pixels = random_pixels((size_t)3 * width * height);
        const vmoe_picture picture = rgb_picture(pixels, width, height);
        float *out =
            preprocess((vmoe_preprocessing){ VMOE_PREPROCESS_SMALL_CROP, side, crop }, picture);

        for (size_t i = 0; i < (size_t)3 * crop * crop; i++) {
            const float expected = naive_area(&picture, new_width, new_height,
                                              (new_height - crop) / 2 + i / 3 / crop,
                                              (new_width - crop) / 2 + i / 3 % crop, i % 3);

            assert_same_floats(&out[i], &expected, 1);
        }
        free(out);
        free(pixels);
    }
}

/* The longest rows and columns, through scratch of exactly the size asked for. */
static void pictures_of_the_largest_side(void **unused)
{
    static const uint32_t sizes[][2] = { { VMOE_LIMIT_PICTURE_SIDE, 1 },
                                         { 1, VMOE_LIMIT_PICTURE_SIDE },
                                         { VMOE_LIMIT_PICTURE_SIDE, 3 } };

    (void)unused;
    random_seed(33);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t *pixels = random_pixels((size_t)3 * sizes[i][0] * sizes[i][1]);
        const vmoe_picture picture = rgb_picture(pixels, sizes[i][0], sizes[i][1]);
        float *out;

        out = preprocess((vmoe_preprocessing){ VMOE_PREPROCESS_RESIZE, 5, 0 }, picture);
        assert_true(out[74] == naive_bilinear(&picture, 5, 4, 4, 2));
        free(out);
        out = preprocess((vmoe_preprocessing){ VMOE_PREPROCESS_SMALL_CROP, 7, 7 }, picture);
        free(out);
        free(pixels);
    }
}

/* So thin that an output row is less than a unit in the last place of its own number. */
static void rows_that_get_no_input_are_black(void **unused)
{
    enum { SIDE = VMOE_LIMIT_IMAGE_SIZE, CROP = 32, VALUES = 3 * CROP * CROP };
    const vmoe_preprocessing how = { VMOE_PREPROCESS_SMALL_CROP, SIDE, CROP };
    const uint32_t height = VMOE_LIMIT_PICTURE_SIDE;
    uint8_t *pixels = random_pixels((size_t)3 * height);
    const vmoe_picture picture = rgb_picture(pixels, 1, height);
    float *out = preprocess(how, picture), *again = preprocess(how, picture);
    size_t black = 0;

    (void)unused;
    assert_same_floats(out, again, VALUES);
    for (size_t i = 0; i < VALUES; i++) {
        const float expected =
            naive_area(&picture, SIDE, height * SIDE, (height * SIDE - CROP) / 2 + i / 3 / CROP,
                       (SIDE - CROP) / 2 + i / 3 % CROP, i % 3);

        assert_same_floats(&out[i], &expected, 1);
        black += expected == 0.0f;
    }
    assert_true(black > 0);
    free(out);
    free(again);
    free(pixels);
}

static void scratch_stays_small(void **unused)
{
    const vmoe_preprocessing resize = { VMOE_PREPROCESS_RESIZE, VMOE_LIMIT_IMAGE_SIZE, 0 };
    const vmoe_preprocessing crop = { VMOE_PREPROCESS_SMALL_CROP, 4096, VMOE_LIMIT_IMAGE_SIZE };

    (void)unused;
    assert_in_range(vmoe_preprocess_scratch_bytes(&resize), 1, 512 << 10);
    assert_in_range(vmoe_preprocess_scratch_bytes(&crop), 1, 512 << 10);
}

/* ---- Pixels of the caller -------------------------------------------------------------------- */

static void a_stride_skips_what_is_between_the_rows(void **unused)
{
    enum { WIDTH = 7, HEIGHT = 5, STRIDE = 29 };
    const vmoe_preprocessing how = { VMOE_PREPROCESS_RESIZE, 6, 0 };
    const size_t bytes = STRIDE * (HEIGHT - 1) + 3 * WIDTH; /* and not a byte more */
    vmoe_picture picture = { VMOE_PICTURE_RGB8, WIDTH, HEIGHT, NULL, bytes, STRIDE };
    uint8_t *dense, *padded;
    float *expected, *out;

    (void)unused;
    random_seed(34);
    dense = random_pixels(3 * WIDTH * HEIGHT);
    padded = random_pixels(bytes);
    for (size_t y = 0; y < HEIGHT; y++)
        memcpy(padded + y * STRIDE, dense + y * 3 * WIDTH, 3 * WIDTH);
    picture.data = padded;
    expected = preprocess(how, rgb_picture(dense, WIDTH, HEIGHT));
    out = preprocess(how, picture);
    assert_same_floats(out, expected, 3 * 6 * 6);
    free(out);
    free(expected);
    free(padded);
    free(dense);
}

static void a_stream_of_pixels_can_be_left_early(void **unused)
{
    _Alignas(64) static uint8_t memory[VMOE_ROWS_BYTES];
    static const uint8_t pixels[4] = { 1, 2, 3, 4 };
    const vmoe_picture picture = { VMOE_PICTURE_RGB8, 1, 1, pixels, sizeof pixels, 0 };
    struct vmoe_rows *rows;
    uint8_t row[3];

    (void)unused;
    assert_int_equal(vmoe_rows_open(&picture, "test", memory, &rows, NULL), VMOE_OK);
    assert_int_equal(rows->next(rows, row, NULL), VMOE_OK);
    assert_memory_equal(row, pixels, 3);
    rows->abandon(rows);
}

/* A stream whose next row but `good` cannot be read. */
struct broken_rows {
    struct vmoe_rows rows;
    uint32_t good;
    bool broken;
};

static vmoe_status broken_next(struct vmoe_rows *rows, uint8_t *row, vmoe_error *error)
{
    struct broken_rows *broken = (struct broken_rows *)rows;

    assert_false(broken->broken);
    memset(row, 0, (size_t)3 * rows->width);
    if (broken->good-- > 0)
        return VMOE_OK;
    broken->broken = true;
    return vmoe_fail(error, VMOE_ERR_IMAGE, "test", "a row is broken");
}

static void a_broken_row_is_the_last_that_is_read(void **unused)
{
    enum { SIDE = 6 };
    static const vmoe_preprocessing kinds[] = { { VMOE_PREPROCESS_RESIZE, SIDE, 0 },
                                                { VMOE_PREPROCESS_SMALL_CROP, SIDE, SIDE } };
    float out[3 * SIDE * SIDE];

    (void)unused;
    for (size_t i = 0; i < 2; i++)
        for (uint32_t height = 4; height <= 9; height++)
            for (uint32_t good = 0; good < height; good++) {
                const uint64_t bytes = vmoe_preprocess_scratch_bytes(&kinds[i]);
                struct broken_rows broken = { { height, height, broken_next, NULL, NULL }, good,
                                              false };
                struct vmoe_arena arena = { aligned_alloc(64, bytes), bytes, 0, false };
                vmoe_status status;

                if (i == 0)
                    status = vmoe_bilinear_resize(&broken.rows, SIDE, &arena, out, NULL);
                else
                    status = vmoe_area_resize(&broken.rows, SIDE, SIDE, &arena, out, NULL);
                assert_int_equal(status, broken.broken ? VMOE_ERR_IMAGE : VMOE_OK);
                assert_true(broken.broken || height > SIDE);
                free(arena.base);
            }
}

static void wrong_layouts_of_pixels_are_refused(void **unused)
{
    static const uint8_t pixels[1000];
    static const struct {
        uint32_t width, height;
        size_t bytes, stride;
        vmoe_status expected;
    } cases[] = {
        { 0, 4, 1000, 0, VMOE_ERR_ARGUMENT },
        { 4, 0, 1000, 0, VMOE_ERR_ARGUMENT },
        { 4, 4, 47, 0, VMOE_ERR_ARGUMENT },
        { 4, 4, 0, 0, VMOE_ERR_ARGUMENT },
        { 4, 4, 1000, 11, VMOE_ERR_ARGUMENT },
        { 4, 4, 1000, 1, VMOE_ERR_ARGUMENT },
        { 4, 4, 71, 20, VMOE_ERR_ARGUMENT },
        { 4, 4, 1000, SIZE_MAX, VMOE_ERR_ARGUMENT },
        { 4, 4, 1000, SIZE_MAX / 3 + 1, VMOE_ERR_ARGUMENT },
        { 4, 5, 1000, SIZE_MAX / 4 + 1, VMOE_ERR_ARGUMENT },
        { VMOE_LIMIT_PICTURE_SIDE + 1, 1, SIZE_MAX, 0, VMOE_ERR_LIMIT },
        { 1, VMOE_LIMIT_PICTURE_SIDE + 1, SIZE_MAX, 0, VMOE_ERR_LIMIT },
        { 8193, 8192, SIZE_MAX, 0, VMOE_ERR_LIMIT },
        { 8192, 8192, 1000, 0, VMOE_ERR_ARGUMENT },
        { UINT32_MAX, UINT32_MAX, SIZE_MAX, 0, VMOE_ERR_LIMIT },
    };
    const vmoe_preprocessing how = { VMOE_PREPROCESS_RESIZE, 4, 0 };

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const vmoe_picture picture = { VMOE_PICTURE_RGB8, cases[i].width, cases[i].height,
                                       pixels,            cases[i].bytes, cases[i].stride };

        assert_preprocess_fails(how, picture, cases[i].expected);
    }
    free(preprocess(how, (vmoe_picture){ VMOE_PICTURE_RGB8, 4, 4, pixels, 48, 0 }));
    free(preprocess(how, (vmoe_picture){ VMOE_PICTURE_RGB8, 4, 4, pixels, 48, 12 }));
    free(preprocess(how, (vmoe_picture){ VMOE_PICTURE_RGB8, 4, 4, pixels, 72, 20 }));
    free(preprocess(how, (vmoe_picture){ VMOE_PICTURE_RGB8, 4, 1, pixels, 12, SIZE_MAX }));
}

static void wrong_kinds_are_refused(void **unused)
{
    static const uint8_t pixels[48];
    const vmoe_preprocessing how = { VMOE_PREPROCESS_RESIZE, 4, 0 };

    (void)unused;
    assert_preprocess_fails(how, (vmoe_picture){ 0, 4, 4, pixels, 48, 0 }, VMOE_ERR_ARGUMENT);
    assert_preprocess_fails(how, (vmoe_picture){ 3, 4, 4, pixels, 48, 0 }, VMOE_ERR_ARGUMENT);
    assert_preprocess_fails(how, rgb_picture(NULL, 4, 4), VMOE_ERR_ARGUMENT);
    assert_preprocess_fails(how, jpeg_picture(NULL, 48), VMOE_ERR_ARGUMENT);
}

/* ---- Patches --------------------------------------------------------------------------------- */

static void patches_lie_in_the_order_of_the_embedding(void **unused)
{
    enum { SIDE = 12, PATCH = 3, GRID = SIDE / PATCH, VALUES = SIDE * SIDE * 3 };
    uint8_t pixels[VALUES];
    float range[VALUES], tensor[VALUES], from_pixels[VALUES], from_range[VALUES];
    float from_tensor[VALUES];
    size_t at = 0;

    (void)unused;
    for (size_t i = 0; i < VALUES; i++) {
        pixels[i] = (uint8_t)(i * 7);
        range[i] = (float)pixels[i] + (float)(i % 3) * 0.25f;
        tensor[i] = (float)i - 100.0f;
    }
    vmoe_patches_from_pixels(SIDE, PATCH, pixels, from_pixels);
    vmoe_patches_from_range(SIDE, PATCH, range, from_range);
    vmoe_patches_from_tensor(SIDE, PATCH, tensor, from_tensor);
    for (size_t p = 0; p < GRID * GRID; p++) {
        for (size_t y = 0; y < PATCH; y++) {
            for (size_t i = 0; i < PATCH * 3; i++, at++) {
                const size_t row = p / GRID * PATCH + y;
                const size_t from = row * SIDE * 3 + p % GRID * PATCH * 3 + i;

                assert_true(from_pixels[at] == (float)pixels[from] / 255.0f * 2.0f - 1.0f);
                assert_true(from_range[at] == range[from] / 255.0f * 2.0f - 1.0f);
                assert_true(from_tensor[at] == tensor[from]);
            }
        }
    }
}

static void patches_reach_from_minus_one_to_one(void **unused)
{
    uint8_t pixels[256 * 3];
    float patches[256 * 3];

    (void)unused;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i / 3);
    vmoe_patches_from_pixels(16, 16, pixels, patches);
    assert_true(patches[0] == -1.0f);
    assert_true(patches[3 * 255 + 2] == 1.0f);
    for (size_t i = 0; i < 256; i++) {
        assert_true(patches[3 * i] == (float)i / 255.0f * 2.0f - 1.0f);
        assert_true(fabs((double)patches[3 * i] - ((double)i / 127.5 - 1.0)) < 1.2e-7);
    }
}

static void a_tensor_is_taken_as_it_is(void **unused)
{
    static const float tensor[12] = { NAN,  -0.0f, INFINITY, 1e-42f, 5.0f, -7.0f,
                                      0.1f, 0.2f,  0.3f,     0.4f,   0.5f, 0.6f };
    float patches[12];

    (void)unused;
    vmoe_patches_from_tensor(2, 2, tensor, patches);
    assert_memory_equal(patches, tensor, sizeof tensor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_are_tensorflows),
        cmocka_unit_test(resized_pictures_are_tensorflows),
        cmocka_unit_test(bilinear_resizing_of_any_size),
        cmocka_unit_test(area_averaging_and_crop_of_any_size),
        cmocka_unit_test(pictures_of_the_largest_side),
        cmocka_unit_test(rows_that_get_no_input_are_black),
        cmocka_unit_test(scratch_stays_small),
        cmocka_unit_test(a_stride_skips_what_is_between_the_rows),
        cmocka_unit_test(a_stream_of_pixels_can_be_left_early),
        cmocka_unit_test(a_broken_row_is_the_last_that_is_read),
        cmocka_unit_test(wrong_layouts_of_pixels_are_refused),
        cmocka_unit_test(wrong_kinds_are_refused),
        cmocka_unit_test(patches_lie_in_the_order_of_the_embedding),
        cmocka_unit_test(patches_reach_from_minus_one_to_one),
        cmocka_unit_test(a_tensor_is_taken_as_it_is),
    };

    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
