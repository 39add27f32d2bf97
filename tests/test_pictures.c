/*
 * Pictures as they come to the public calls: bad ones are refused by their place, kinds and sizes
 * may be mixed, and the simple calls say what the full one says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/call.h"
#include "support/support.h"
#include "support/tiny.h"

#define JPEG "examples/demo/pictures/bag.jpg"

static void bad_pictures_are_named_by_their_place(void **state)
{
    enum { COUNT = 9 };
    static const uint8_t pixels[12 * 10 * 3 + 1];
    const vmoe_picture good = { VMOE_PICTURE_RGB8, 12, 10, pixels, sizeof pixels, 0 };
    size_t jpeg_bytes;
    void *jpeg = read_file(JPEG, &jpeg_bytes);
    const struct {
        vmoe_picture picture;
        vmoe_status expected;
    } bad[] = {
        { { 0, 12, 10, pixels, sizeof pixels, 0 }, VMOE_ERR_ARGUMENT },
        { { 3, 12, 10, pixels, sizeof pixels, 0 }, VMOE_ERR_ARGUMENT },
        { { VMOE_PICTURE_RGB8, 12, 10, NULL, sizeof pixels, 0 }, VMOE_ERR_ARGUMENT },
        { { VMOE_PICTURE_RGB8, 0, 10, pixels, sizeof pixels, 0 }, VMOE_ERR_ARGUMENT },
        { { VMOE_PICTURE_RGB8, 12, 0, pixels, sizeof pixels, 0 }, VMOE_ERR_ARGUMENT },
        { { VMOE_PICTURE_RGB8, 12, 10, pixels, 359, 0 }, VMOE_ERR_ARGUMENT },
        { { VMOE_PICTURE_RGB8, 12, 10, pixels, sizeof pixels, 35 }, VMOE_ERR_ARGUMENT },
        { { VMOE_PICTURE_RGB8, 12, 10, pixels, sizeof pixels, 37 }, VMOE_ERR_ARGUMENT },
        { { VMOE_PICTURE_RGB8, 12, 10, pixels, sizeof pixels, SIZE_MAX }, VMOE_ERR_ARGUMENT },
        { { VMOE_PICTURE_RGB8, 16385, 1, pixels, SIZE_MAX, 0 }, VMOE_ERR_LIMIT },
        { { VMOE_PICTURE_RGB8, 1, 16385, pixels, SIZE_MAX, 0 }, VMOE_ERR_LIMIT },
        { { VMOE_PICTURE_RGB8, 16384, 4097, pixels, SIZE_MAX, 0 }, VMOE_ERR_LIMIT },
        { { VMOE_PICTURE_RGB8, UINT32_MAX, UINT32_MAX, pixels, SIZE_MAX, 0 }, VMOE_ERR_LIMIT },
        { { VMOE_PICTURE_JPEG, 0, 0, jpeg, 0, 0 }, VMOE_ERR_IMAGE },
        { { VMOE_PICTURE_JPEG, 0, 0, jpeg, 1, 0 }, VMOE_ERR_IMAGE },
        { { VMOE_PICTURE_JPEG, 0, 0, jpeg, jpeg_bytes - 1, 0 }, VMOE_ERR_IMAGE },
        { { VMOE_PICTURE_JPEG, 0, 0, jpeg, jpeg_bytes / 2, 0 }, VMOE_ERR_IMAGE },
        { { VMOE_PICTURE_JPEG, 0, 0, pixels, sizeof pixels, 0 }, VMOE_ERR_IMAGE },
    };
    const vmoe_output none = VMOE_OUTPUT_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (size_t at = 0; at < COUNT; at += 4) {
            vmoe_picture pictures[COUNT];
            char place[32];

            for (size_t k = 0; k < COUNT; k++)
                pictures[k] = good;
            pictures[at] = bad[i].picture;
            /* Of several bad pictures the first is named, whatever thread meets it. */
            for (size_t k = at + 1; k < COUNT; k += 2)
                pictures[k] = bad[(i + k) % (sizeof bad / sizeof bad[0])].picture;
            snprintf(place, sizeof place, "input.pictures[%zu]", at);
            call.input.images = COUNT;
            call.input.tensor = NULL;
            call.input.length = 0;
            call.input.pictures = pictures;
            call.options.threads = 4;
            call.output = none;
            assert_call_refused(bad[i].expected, place);
        }
    }
    free(jpeg);
}

/*
 * JPEG files and pixels of different sizes in one call, each as in a call of its own.  While the
 * caller is busy with the first one, the other thread works through some of the rest.
 */
static void kinds_and_sizes_of_pictures_may_be_mixed(void **state)
{
    static uint8_t pixels[50 * 40 * 3];
    size_t jpeg_bytes;
    void *jpeg = read_file(JPEG, &jpeg_bytes);
    const vmoe_picture kinds[] = {
        { VMOE_PICTURE_RGB8, 40, 30, pixels, sizeof pixels, 0 },
        { VMOE_PICTURE_JPEG, 0, 0, jpeg, jpeg_bytes, 0 },
        { VMOE_PICTURE_RGB8, 12, 12, pixels + 7, 12 * 36, 36 },
        { VMOE_PICTURE_RGB8, 1, 1, pixels + 100, 3, 0 },
        { VMOE_PICTURE_RGB8, 3, 40, pixels, sizeof pixels, 150 },
    };
    enum { KINDS = sizeof kinds / sizeof kinds[0], COUNT = 4 * KINDS, SIDE = 4000 };
    void *large = calloc(SIDE, 3 * SIDE);
    vmoe_picture pictures[COUNT];
    float together[COUNT * 5], alone[5];
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * i + i / 150);
    for (size_t i = 0; i < COUNT; i++)
        pictures[i] = kinds[i % KINDS];
    pictures[0] = (vmoe_picture){ VMOE_PICTURE_RGB8, SIDE, SIDE, large, 3 * SIDE * SIDE, 0 };
    call.options.threads = 2;
    call.input.tensor = NULL;
    call.input.length = 0;
    call.input.pictures = pictures;
    call.input.images = COUNT;
    output.logits = together;
    output.logits_length = COUNT * 5;
    assert_ok(vmoe_run(call.model, &call.input, &call.options, &output, &error), error);
    call.input.images = 1;
    output.logits = alone;
    output.logits_length = 5;
    for (size_t i = 0; i < COUNT; i++) {
        call.input.pictures = &pictures[i];
        assert_ok(vmoe_run(call.model, &call.input, NULL, &output, &error), error);
        assert_memory_equal(together + 5 * i, alone, sizeof alone);
    }
    free(large);
    free(jpeg);
}

/* With more experts than a cache line has bytes. */
static void pictures_touch_the_weights_that_their_pixels_touch(void **state)
{
    static uint8_t pixels[12 * 12 * 3];
    const vmoe_picture picture = { VMOE_PICTURE_RGB8, 12, 12, pixels, sizeof pixels, 0 };
    vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    vmoe_input by_picture = VMOE_INPUT_INIT, by_pixels = VMOE_INPUT_INIT;
    vmoe_report report = VMOE_REPORT_INIT, expected = VMOE_REPORT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;

    (void)state;
    geometry.experts = 40;
    model = make_model(&geometry, VMOE_PRECISION_F32);
    by_picture.images = by_pixels.images = 1;
    by_picture.pictures = &picture;
    by_pixels.pixels = pixels;
    by_pixels.length = sizeof pixels;
    output.report = &expected;
    assert_ok(vmoe_run(model, &by_pixels, NULL, &output, &error), error);
    output.report = &report;
    assert_ok(vmoe_run(model, &by_picture, NULL, &output, &error), error);
    assert_true(expected.weight_bytes < info_of(model).weight_bytes);
    assert_int_equal(report.weight_bytes, expected.weight_bytes);
    vmoe_free(model);
}

static void the_simple_calls_refuse_what_the_full_one_refuses(void **state)
{
    static const uint8_t pixels[3];
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_class top[5];

    (void)state;
    options.threads = 257;
    assert_refused(vmoe_classify_rgb8(call.model, pixels, 1, 1, 0, &options, top, 1, &error), error,
                   VMOE_ERR_LIMIT, "options.threads");
    assert_refused(vmoe_classify_jpeg(call.model, pixels, 3, &options, top, 1, &error), error,
                   VMOE_ERR_LIMIT, "options.threads");
    assert_refused(vmoe_logits_f32(call.model, call.images, 1, &options, call.logits, &error),
                   error, VMOE_ERR_LIMIT, "options.threads");
    assert_refused(vmoe_classify_rgb8(call.model, pixels, 1, 1, 2, NULL, top, 1, &error), error,
                   VMOE_ERR_ARGUMENT, "pictures[0]");
    assert_refused(vmoe_classify_rgb8(call.model, pixels, 1, 2, SIZE_MAX, NULL, top, 1, &error),
                   error, VMOE_ERR_ARGUMENT, "pictures[0]");
    assert_refused(vmoe_classify_rgb8(call.model, pixels, 0, 1, 0, NULL, top, 1, &error), error,
                   VMOE_ERR_ARGUMENT, "pictures[0]");
    assert_refused(vmoe_classify_rgb8(call.model, pixels, 20000, 1, 0, NULL, top, 1, &error), error,
                   VMOE_ERR_LIMIT, "pictures[0]");
    assert_refused(vmoe_classify_jpeg(call.model, pixels, 3, NULL, top, 1, &error), error,
                   VMOE_ERR_IMAGE, "pictures[0]");
}

static void preprocessing_knows_its_size(void **state)
{
    static const uint8_t pixels[30 * 20 * 3];
    static const struct {
        vmoe_preprocessing how;
        size_t bytes;
        vmoe_status expected;
        const char *where;
    } cases[] = {
        { { VMOE_PREPROCESS_RESIZE, 12, 0 }, 432, VMOE_OK, "" },
        { { VMOE_PREPROCESS_RESIZE, 1, 0 }, 3, VMOE_OK, "" },
        { { VMOE_PREPROCESS_SMALL_CROP, 16, 12 }, 1728, VMOE_OK, "" },
        { { VMOE_PREPROCESS_SMALL_CROP, 12, 12 }, 1728, VMOE_OK, "" },
        { { VMOE_PREPROCESS_RESIZE, 12, 0 }, 431, VMOE_ERR_ARGUMENT, "bytes" },
        { { VMOE_PREPROCESS_RESIZE, 12, 0 }, 433, VMOE_ERR_ARGUMENT, "bytes" },
        { { VMOE_PREPROCESS_RESIZE, 12, 0 }, 1728, VMOE_ERR_ARGUMENT, "bytes" },
        { { VMOE_PREPROCESS_SMALL_CROP, 16, 12 }, 432, VMOE_ERR_ARGUMENT, "bytes" },
        { { VMOE_PREPROCESS_RESIZE, 12, 12 }, 432, VMOE_ERR_ARGUMENT, "preprocessing.crop" },
        { { VMOE_PREPROCESS_SMALL_CROP, 12, 0 }, 0, VMOE_ERR_ARGUMENT, "preprocessing.crop" },
        { { VMOE_PREPROCESS_SMALL_CROP, 12, 13 }, 2028, VMOE_ERR_ARGUMENT, "preprocessing.crop" },
        { { VMOE_PREPROCESS_RESIZE, 0, 0 }, 0, VMOE_ERR_ARGUMENT, "preprocessing.side" },
        { { VMOE_PREPROCESS_RESIZE, 4097, 0 }, 3, VMOE_ERR_LIMIT, "preprocessing.side" },
        { { VMOE_PREPROCESS_RESIZE, UINT32_MAX, 0 }, 3, VMOE_ERR_LIMIT, "preprocessing.side" },
        { { 0, 12, 0 }, 432, VMOE_ERR_ARGUMENT, "preprocessing.kind" },
        { { 3, 12, 0 }, 432, VMOE_ERR_ARGUMENT, "preprocessing.kind" },
    };
    vmoe_picture picture = { VMOE_PICTURE_RGB8, 30, 20, pixels, sizeof pixels, 0 };
    vmoe_error error = VMOE_ERROR_INIT;
    uint8_t out[2048];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vmoe_status status = vmoe_preprocess(&cases[i].how, &picture, out, cases[i].bytes, &error);

        if (cases[i].expected == VMOE_OK)
            assert_ok(status, error);
        else
            assert_refused(status, error, cases[i].expected, cases[i].where);
        assert_null(strstr(error.where, "argument"));
    }
    picture.bytes = 5;
    assert_refused(vmoe_preprocess(&cases[0].how, &picture, out, 432, &error), error,
                   VMOE_ERR_ARGUMENT, "picture");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, call_reset)
    const struct CMUnitTest tests[] = {
        TEST(bad_pictures_are_named_by_their_place),
        TEST(kinds_and_sizes_of_pictures_may_be_mixed),
        TEST(pictures_touch_the_weights_that_their_pixels_touch),
        TEST(the_simple_calls_refuse_what_the_full_one_refuses),
        TEST(preprocessing_knows_its_size),
    };

    return cmocka_run_group_tests_name("pictures", tests, call_make, call_free);
}
