/* JPEG files from strangers: survey, decoder, and both ways of preprocessing. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "image/survey.h"
#include "runtime/limits.h"

enum { SIDE = 16, MARGIN = 3 };

static vmoe_status preprocess(const uint8_t *data, size_t size, uint32_t kind, void *out,
                              size_t bytes)
{
    const vmoe_preprocessing preprocessing = {
        kind, kind == VMOE_PREPROCESS_RESIZE ? SIDE : SIDE + MARGIN,
        kind == VMOE_PREPROCESS_RESIZE ? 0 : SIDE
    };
    const vmoe_picture picture = { .kind = VMOE_PICTURE_JPEG, .data = data, .bytes = size };
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status status = vmoe_preprocess(&preprocessing, &picture, out, bytes, &error);

    fuzz_check_error(status, &error);
    MUST(status == VMOE_OK || status == VMOE_ERR_IMAGE || status == VMOE_ERR_UNSUPPORTED ||
         status == VMOE_ERR_LIMIT || (size == 0 && status == VMOE_ERR_ARGUMENT));
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t pixels[SIDE * SIDE * 3];
    static float values[SIDE * SIDE * 3];
    vmoe_error error = VMOE_ERROR_INIT;
    uint32_t component_scans;
    vmoe_status survey = vmoe_jpeg_survey(data, size, "fuzz", &component_scans, &error);

    fuzz_check_error(survey, &error);
    memset(values, 0xff, sizeof values); /* not numbers */
    if (preprocess(data, size, VMOE_PREPROCESS_SMALL_CROP, values, sizeof values) != VMOE_OK)
        return 0;
    MUST(survey == VMOE_OK && component_scans <= 4 * VMOE_LIMIT_JPEG_SCANS);
    /* Averages are rounded; of a picture of 1 by 16,384 pixels, to some percent. */
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        MUST(values[i] >= 0.0f && values[i] < 1.1f * 255.0f);
    /* Files that decode are few; those are worth a second time. */
    MUST(preprocess(data, size, VMOE_PREPROCESS_RESIZE, pixels, sizeof pixels) == VMOE_OK);
    return 0;
}
