/*
 * Writes the seed corpora: what our own writer and the builders of the tests make, and what the
 * repository ships.
 *
 *     seeds FOLDER        a folder in it for every target
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jpeglib.h>

#include "fuzz/foreign.h"
#include "fuzz/own.h"
#include "support/formula.h"

static const char *base;

static void save(const char *target, const char *name, const void *data, size_t size)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", base, target);
    (void)mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", base, target, name);
    file = fopen(path, "wb");
    MUST(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

/* ---- Our own format ------------------------------------------------------------------------- */

/* Models of a few bytes; `i` chooses among classifiers, precisions, and what else there is. */
static vmoe_info geometry(uint32_t i)
{
    vmoe_info info = own_least_info();

    info.classifier = 1 + i % 3;
    info.precision = 1 + i / 3 % 3;
    info.width = i % 2 ? 3 : 1;
    info.heads = info.width;
    info.classes = 1 + i % 4;
    info.labels = i % 2;
    info.pre_logits = i % 5 == 4 ? 2 : 0;
    if (i % 4 >= 2) {
        info.experts = 2;
        info.moe[0] = 1;
        info.capacity = 0.5 + i;
        info.capacity_multiple = 1 + i % 2;
    }
    if (i % 6 == 5) {
        info.image_size = 4;
        info.patch_size = 2;
        info.preprocessing = (vmoe_preprocessing){ VMOE_PREPROCESS_SMALL_CROP, 5, 4 };
    }
    return info;
}

static void own_seeds(void)
{
    for (uint32_t i = 0; i < 24; i++) {
        vmoe_info info = geometry(i);
        const uint8_t *file;
        uint32_t header;
        char name[32];
        size_t size;

        info.compact = i / 3 % 2;
        snprintf(name, sizeof name, "%02u.vmoe", i);
        file = own_make(&info, &size);
        MUST(file != NULL);
        memcpy(&header, file + 24, sizeof header);
        save(info.compact ? "own_compact" : "own_file", name, file, size);
        save("own_header", name, file, header);
    }
    save("own_compact", "stream", "\x0c\x00\x78\x9c\x63\x60\x60\x60\x00\x00\x00\x04\x00\x01", 14);
}

/* ---- Foreign formats ------------------------------------------------------------------------ */

static void save_file(const char *target, const char *name, const char *path)
{
    static uint8_t data[1 << 16];
    FILE *file = fopen(path, "rb");
    size_t size;

    MUST(file != NULL);
    size = fread(data, 1, sizeof data, file);
    fclose(file);
    save(target, name, data, size);
}

static void save_npz(const char *name, struct vmoe_source *source, bool deflated)
{
    struct foreign npz = foreign_npz(source, deflated);

    save("npz", name, npz.data, npz.size);
    save("zip", name, npz.data, npz.size);
    free(npz.data);
}

static void save_shards(const char *name, struct vmoe_source *source)
{
    struct foreign shards = foreign_shards(source);
    size_t bytes;
    const uint8_t *index = foreign_part(shards.data, shards.size, 0, &bytes);

    save("shards", name, shards.data, shards.size);
    save("index", name, index, bytes);
    free(shards.data);
}

/* A document behind a list of calls: whole values, and steps into the first ones. */
static void save_msgpack(void)
{
    static const uint8_t input[] = "\x0a\x02\x93\x04\x1d\x06\x00\x04\x01\x47\x01"
                                   "\x98\x01\xa3" "abc" "\xc4\x05\x92\x07\xcd\x01\x02"
                                   "\xc7\x02\x08\x91\xc0\xca\x3f\x80\x00\x00\x82\xa1" "a" "\xc3"
                                   "\xa1" "b" "\xd3\xff\xff\xff\xff\xff\xff\xff\xfe\xd5\x06\x00\x00"
                                   "\xdd\x00\x00\x00\x01\xde\x00\x00";

    save("msgpack", "calls", input, sizeof input - 1);
    save("msgpack", "values", "\0", 1);
}

static void foreign_seeds(void)
{
    static const char npy[] = "\x93NUMPY\x01\0\x46\0"
                              "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4), }"
                              "       \n";

    for (uint32_t i = 0; i < 6; i++) {
        const vmoe_info info = geometry(i);
        struct vmoe_source *source = formula_source(&info, i);
        char name[32];

        MUST(source != NULL);
        snprintf(name, sizeof name, "%u", i);
        save_npz(name, source, i % 2);
        save_shards(name, source);
        source->close(source);
    }
    save_file("npz", "stored", "tests/data/types_stored.npz");
    save_file("npz", "deflated", "tests/data/types_deflated.npz");
    save_file("zip", "deflated", "tests/data/types_deflated.npz");
    save_file("index", "upstream", "tests/data/golden/models/gap/model.index");
    save("npy", "f4", npy, sizeof npy - 1);
    save("boxes", "halves", "\x02\x01\x03\x04\x00\x01\x00\x04\x02\x01\x00\x04", 12);
    save_msgpack();
}

/* ---- Pictures ------------------------------------------------------------------------------- */

struct picture {
    uint32_t width, height;
    int components;
    bool progressive, ycck, optimal;
    int sampling, restart; /* the first component's factors: 21 is twice as wide, once as high */
};

/* A smooth picture, as libjpeg's compressor makes a file of it. */
static void save_jpeg(const char *name, struct picture picture)
{
    static const J_COLOR_SPACE spaces[] = { 0, JCS_GRAYSCALE, 0, JCS_RGB, JCS_CMYK };
    struct jpeg_compress_struct encoder;
    struct jpeg_error_mgr manager;
    unsigned long bytes = 0;
    uint8_t *file = NULL, row[4 * 64];
    JSAMPROW rows = row;

    encoder.err = jpeg_std_error(&manager);
    jpeg_create_compress(&encoder);
    jpeg_mem_dest(&encoder, &file, &bytes);
    encoder.image_width = picture.width;
    encoder.image_height = picture.height;
    encoder.input_components = picture.components;
    encoder.in_color_space = spaces[picture.components];
    jpeg_set_defaults(&encoder);
    jpeg_set_quality(&encoder, 60, TRUE);
    encoder.optimize_coding = picture.optimal;
    encoder.restart_in_rows = picture.restart;
    if (picture.ycck)
        jpeg_set_colorspace(&encoder, JCS_YCCK);
    if (picture.sampling != 0) {
        encoder.comp_info[0].h_samp_factor = picture.sampling / 10;
        encoder.comp_info[0].v_samp_factor = picture.sampling % 10;
    }
    if (picture.progressive)
        jpeg_simple_progression(&encoder);
    jpeg_start_compress(&encoder, TRUE);
    for (uint32_t y = 0; y < picture.height; y++) {
        for (uint32_t i = 0; i < picture.width * (uint32_t)picture.components; i++)
            row[i] = (uint8_t)(i * 3 + y * 7 + (i * y) % 11);
        (void)jpeg_write_scanlines(&encoder, &rows, 1);
    }
    jpeg_finish_compress(&encoder);
    jpeg_destroy_compress(&encoder);
    save("jpeg", name, file, bytes);
    free(file);
}

static void picture_seeds(void)
{
    static const struct picture pictures[] = {
        { 8, 8, 1, false, false, true, 0, 0 },   { 17, 9, 3, false, false, true, 22, 0 },
        { 16, 16, 3, true, false, true, 11, 0 }, { 9, 20, 1, true, false, true, 0, 1 },
        { 16, 8, 4, false, true, true, 0, 0 },   { 8, 8, 4, false, false, false, 0, 0 },
        { 32, 24, 3, false, false, false, 22, 1 }, { 3, 40, 3, true, false, true, 22, 2 },
        { 40, 2, 3, false, false, true, 41, 0 },
    };
    char name[32];

    for (size_t i = 0; i < sizeof pictures / sizeof pictures[0]; i++) {
        snprintf(name, sizeof name, "%zu.jpg", i);
        save_jpeg(name, pictures[i]);
    }
    save_file("jpeg", "shipped.jpg", "examples/demo/pictures/sneaker.jpg");
}

/* ---- Numbers -------------------------------------------------------------------------------- */

static void number_seeds(void)
{
    static const uint64_t numbers[] = { 0,          1,          UINT32_MAX, UINT64_C(1) << 32,
                                        UINT64_MAX, UINT64_MAX / 3, UINT64_C(1) << 63 };
    const size_t count = sizeof numbers / sizeof numbers[0];

    for (size_t i = 0; i < count; i++) {
        uint8_t input[48] = { 0 };
        char name[32];

        memcpy(input, &numbers[i], 8);
        memcpy(input + 8, &numbers[(i + 1) % count], 8);
        memcpy(input + 19, &numbers[i], 8);
        input[27] = (uint8_t)i;
        snprintf(name, sizeof name, "%zu", i);
        save("checked", name, input, sizeof input);
        save("router", name, input, sizeof input);
    }
}

int main(int arguments, char **argument)
{
    if (arguments != 2) {
        fprintf(stderr, "usage: seeds FOLDER\n");
        return 2;
    }
    base = argument[1];
    own_seeds();
    foreign_seeds();
    picture_seeds();
    number_seeds();
    return 0;
}
