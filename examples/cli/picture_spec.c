/* Parsing and printing of preprocessings. */
#include "picture_spec.h"

#include <stdio.h>
#include <string.h>

/* Up to six digits that do not begin with a zero. */
static bool take_number(const char **at, uint32_t *number)
{
    const char *first = *at;

    *number = 0;
    for (; **at >= '0' && **at <= '9'; ++*at)
        if (*at - first < 6)
            *number = *number * 10 + (uint32_t)(**at - '0');
    return *at > first && *at - first <= 6 && *first != '0';
}

static bool take_word(const char **at, const char *word)
{
    const size_t length = strlen(word);

    if (strncmp(*at, word, length) != 0)
        return false;
    *at += length;
    return true;
}

bool preprocessing_parse(const char *text, vmoe_preprocessing *preprocessing)
{
    vmoe_preprocessing parsed = { 0, 0, 0 };

    if (take_word(&text, "resize-")) {
        parsed.kind = VMOE_PREPROCESS_RESIZE;
        if (!take_number(&text, &parsed.side))
            return false;
    } else {
        parsed.kind = VMOE_PREPROCESS_SMALL_CROP;
        if (!take_word(&text, "small-") || !take_number(&text, &parsed.side) ||
            !take_word(&text, "-crop-") || !take_number(&text, &parsed.crop))
            return false;
    }
    if (*text != '\0')
        return false;
    *preprocessing = parsed;
    return true;
}

void preprocessing_format(char out[PREPROCESSING_BYTES], const vmoe_preprocessing *preprocessing)
{
    if (preprocessing->kind == VMOE_PREPROCESS_RESIZE)
        snprintf(out, PREPROCESSING_BYTES, "resize-%u", preprocessing->side);
    else
        snprintf(out, PREPROCESSING_BYTES, "small-%u-crop-%u", preprocessing->side,
                 preprocessing->crop);
}

size_t preprocessing_side(const vmoe_preprocessing *preprocessing)
{
    return preprocessing->kind == VMOE_PREPROCESS_RESIZE ? preprocessing->side
                                                         : preprocessing->crop;
}

enum npy_type preprocessing_type(const vmoe_preprocessing *preprocessing)
{
    return preprocessing->kind == VMOE_PREPROCESS_RESIZE ? NPY_UINT8 : NPY_FLOAT32;
}

vmoe_status picture_see(const vmoe_preprocessing *preprocessing, const vmoe_picture *picture,
                        float *values, vmoe_error *error)
{
    const size_t side = preprocessing_side(preprocessing), count = side * side * 3;
    const size_t size = (size_t)preprocessing_type(preprocessing);
    const uint8_t *bytes = (const uint8_t *)values;

    if (vmoe_preprocess(preprocessing, picture, values, count * size, error) != VMOE_OK ||
        size != sizeof *bytes)
        return error->status;
    for (size_t i = count; i-- > 0;) /* bytes become floats in place, from the end */
        values[i] = bytes[i];
    return VMOE_OK;
}

void picture_normalise(float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = values[i] / 255.0f * 2.0f - 1.0f;
}

const char *option_preprocessing(const struct cli_option *option, const char *text)
{
    return preprocessing_parse(text, option->target) ? NULL : PREPROCESSING_VALUE;
}
