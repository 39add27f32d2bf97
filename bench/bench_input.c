/*
 * Times what lies before the first layer: pictures to patches, and files to models.
 *
 *     bench_input [--seconds N] [--jpeg FILE]... [--model FILE]...
 *     bench_input --write N FOLDER
 *
 * Pictures are made here, in the manner of photographs: noise of every size whose amplitude grows
 * with it.  `libjpeg` is a loop over the decoder alone, with the same settings, which is the floor;
 * `decode` the library's stream of rows; the other columns decode and resize.  --write makes JPEG
 * files of 500 x 375 pixels instead, for whole runs of the command.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jpeglib.h>
#include <vmoe.h>

#include "image/picture.h"
#include "image/preprocess.h"
#include "runtime/cpu.h"
#include "timing.h"

#define FILES_MAX 16u
#define LOADS 9u
#define CALLS 10u

struct setup {
    double seconds; /* for one figure */
    const char *jpegs[FILES_MAX], *models[FILES_MAX];
    size_t jpeg_count, model_count;
};

struct recipe {
    uint32_t width, height;
    int quality;
    bool full_colour; /* 4:4:4 instead of 4:2:0 */
    bool progressive;
};

struct file {
    uint8_t *data;
    size_t bytes;
};

static bool complain(const vmoe_error *error)
{
    fprintf(stderr, "bench_input: %s: %s: %s\n", vmoe_status_name(error->status), error->where,
            error->text);
    return false;
}

/* ---- Pictures ------------------------------------------------------------------------------- */

/* A number in -1..1 that depends on nothing but these four. */
static float noise_at(uint32_t seed, uint32_t channel, uint32_t x, uint32_t y)
{
    uint32_t h = seed * 2654435761u ^ (channel + 1) * 2246822519u ^ x * 3266489917u ^
                 (y + 7) * 668265263u;

    h = (h ^ h >> 15) * 2246822519u;
    h = (h ^ h >> 13) * 3266489917u;
    return (float)(h >> 8) * 0x1p-23f - 1.0f;
}

/* Noise between the points of a grid of `cell` pixels. */
static float smooth_noise(uint32_t seed, uint32_t channel, uint32_t cell, uint32_t x, uint32_t y)
{
    const uint32_t i = x / cell, j = y / cell;
    const float u = (float)(x % cell) / (float)cell, v = (float)(y % cell) / (float)cell;
    const float a = noise_at(seed, channel, i, j), b = noise_at(seed, channel, i + 1, j);
    const float c = noise_at(seed, channel, i, j + 1), d = noise_at(seed, channel, i + 1, j + 1);
    const float top = a * (1 - u) + b * u, low = c * (1 - u) + d * u;

    return top * (1 - v) + low * v;
}

static void fill_row(uint32_t seed, uint32_t width, uint32_t y, uint8_t *row)
{
    for (uint32_t x = 0; x < width; x++) {
        float grey = 0.0f;

        for (uint32_t cell = 1; cell <= 128; cell *= 2)
            grey += smooth_noise(seed + cell, 3, cell, x, y) * 4.0f * powf((float)cell, 0.7f);
        for (uint32_t c = 0; c < 3; c++) {
            const float tint = smooth_noise(seed, c, 64, x, y) * 30.0f +
                               smooth_noise(seed, c, 8, x, y) * 6.0f;

            row[3 * x + c] = (uint8_t)fminf(fmaxf(128.0f + grey + tint, 0.0f), 255.0f);
        }
    }
}

static struct file encode(struct recipe recipe, uint32_t seed)
{
    struct jpeg_compress_struct encoder;
    struct jpeg_error_mgr manager;
    struct file file = { NULL, 0 };
    unsigned long bytes = 0;
    JSAMPROW row = malloc((size_t)recipe.width * 3);

    encoder.err = jpeg_std_error(&manager);
    jpeg_create_compress(&encoder);
    jpeg_mem_dest(&encoder, &file.data, &bytes);
    encoder.image_width = recipe.width;
    encoder.image_height = recipe.height;
    encoder.input_components = 3;
    encoder.in_color_space = JCS_RGB;
    jpeg_set_defaults(&encoder);
    jpeg_set_quality(&encoder, recipe.quality, TRUE);
    if (recipe.full_colour)
        encoder.comp_info[0].h_samp_factor = encoder.comp_info[0].v_samp_factor = 1;
    if (recipe.progressive)
        jpeg_simple_progression(&encoder);
    jpeg_start_compress(&encoder, TRUE);
    for (uint32_t y = 0; y < recipe.height && row != NULL; y++) {
        fill_row(seed, recipe.width, y, row);
        jpeg_write_scanlines(&encoder, &row, 1);
    }
    jpeg_finish_compress(&encoder);
    jpeg_destroy_compress(&encoder);
    free(row);
    file.bytes = bytes;
    return file;
}

static struct file read_file(const char *path)
{
    struct file file = { NULL, 0 };
    FILE *stream = fopen(path, "rb");

    if (stream == NULL)
        return file;
    if (fseek(stream, 0, SEEK_END) == 0 && ftell(stream) > 0) {
        file.bytes = (size_t)ftell(stream);
        file.data = malloc(file.bytes);
        rewind(stream);
        if (file.data != NULL && fread(file.data, 1, file.bytes, stream) != file.bytes)
            file.bytes = 0;
    }
    fclose(stream);
    return file;
}

/* Writes `count` JPEG files of different contents. */
static bool write_pictures(uint32_t count, const char *folder)
{
    const struct recipe recipe = { 500, 375, 90, false, false };

    for (uint32_t i = 0; i < count; i++) {
        struct file file = encode(recipe, 1000 * i);
        char path[1024];
        FILE *stream;
        bool good;

        snprintf(path, sizeof path, "%s/%05u.jpg", folder, i);
        stream = fopen(path, "wb");
        good = stream != NULL && fwrite(file.data, 1, file.bytes, stream) == file.bytes;
        if (stream == NULL || fclose(stream) != 0 || !good) {
            perror(path);
            return false;
        }
        free(file.data);
    }
    return true;
}

/* ---- From pictures to pixels ---------------------------------------------------------------- */

struct decoding {
    struct file file;
    vmoe_picture picture;
    vmoe_preprocessing preprocessing;
    uint32_t width, height;
    uint8_t *pixels; /* the decoded picture */
    void *scratch;
    float *out;
};

/* The floor: libjpeg alone. */
static void run_libjpeg(void *context, size_t i)
{
    struct decoding *decoding = context;
    struct jpeg_decompress_struct decoder;
    struct jpeg_error_mgr manager;

    (void)i;
    decoder.err = jpeg_std_error(&manager);
    jpeg_create_decompress(&decoder);
    jpeg_mem_src(&decoder, decoding->file.data, (unsigned long)decoding->file.bytes);
    (void)jpeg_read_header(&decoder, TRUE);
    decoder.dct_method = JDCT_IFAST;
    decoder.out_color_space = JCS_RGB;
    (void)jpeg_start_decompress(&decoder);
    decoding->width = decoder.output_width;
    decoding->height = decoder.output_height;
    while (decoder.output_scanline < decoder.output_height) {
        JSAMPROW row = decoding->pixels + 3u * decoder.output_width * decoder.output_scanline;

        (void)jpeg_read_scanlines(&decoder, &row, 1);
    }
    (void)jpeg_finish_decompress(&decoder);
    jpeg_destroy_decompress(&decoder);
}

static void run_rows(void *context, size_t i)
{
    struct decoding *decoding = context;
    struct vmoe_rows *rows;
    uint8_t *line = (uint8_t *)decoding->out + 1;

    (void)i;
    if (vmoe_rows_open(&decoding->picture, "picture", decoding->scratch, &rows, NULL) != VMOE_OK)
        abort();
    for (uint32_t y = 0; y < rows->height; y++)
        if (rows->next(rows, line, NULL) != VMOE_OK)
            abort();
    if (rows->finish(rows, NULL) != VMOE_OK)
        abort();
}

static void run_preprocess(void *context, size_t i)
{
    struct decoding *decoding = context;

    (void)i;
    if (vmoe_preprocess_picture(&decoding->preprocessing, &decoding->picture, "picture",
                                decoding->scratch, decoding->out, NULL) != VMOE_OK)
        abort();
}

static void print_figure(struct figure figure)
{
    printf(" %6.3f/%6.3f", 1e3 * figure.best, 1e3 * figure.median);
}

static void bench_picture(const struct setup *setup, const char *name, struct file file)
{
    static const vmoe_preprocessing kinds[] = { { VMOE_PREPROCESS_RESIZE, 224, 0 },
                                                { VMOE_PREPROCESS_RESIZE, 384, 0 },
                                                { VMOE_PREPROCESS_SMALL_CROP, 256, 224 } };
    uint64_t scratch = 0;
    struct decoding decoding = { .file = file };

    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        if (vmoe_preprocess_scratch_bytes(&kinds[k]) > scratch)
            scratch = vmoe_preprocess_scratch_bytes(&kinds[k]);
    decoding.pixels = malloc((size_t)64 << 20);
    decoding.scratch = aligned_alloc(64, (size_t)(scratch + 63) / 64 * 64);
    decoding.out = malloc((size_t)4 << 20);
    if (decoding.pixels == NULL || decoding.scratch == NULL || decoding.out == NULL)
        abort();
    decoding.picture = (vmoe_picture){ VMOE_PICTURE_JPEG, 0, 0, file.data, file.bytes, 0 };
    printf("%-24s%7.1f", name, 1e-3 * (double)file.bytes);
    print_figure(figure_measure(setup->seconds, run_libjpeg, &decoding));
    print_figure(figure_measure(setup->seconds, run_rows, &decoding));
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        decoding.preprocessing = kinds[k];
        print_figure(figure_measure(setup->seconds, run_preprocess, &decoding));
    }
    decoding.picture = (vmoe_picture){ VMOE_PICTURE_RGB8, decoding.width, decoding.height,
                                       decoding.pixels,
                                       (size_t)3 * decoding.width * decoding.height, 0 };
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        decoding.preprocessing = kinds[k];
        print_figure(figure_measure(setup->seconds, run_preprocess, &decoding));
    }
    putchar('\n');
    fflush(stdout);
    free(decoding.pixels);
    free(decoding.scratch);
    free(decoding.out);
}

static void bench_pictures(const struct setup *setup)
{
    static const struct recipe recipes[] = {
        { 500, 375, 75, false, false }, { 500, 375, 90, false, false },
        { 500, 375, 90, true, false },  { 500, 375, 90, false, true },
        { 333, 500, 90, false, false }, { 256, 256, 90, false, false },
        { 1280, 960, 90, false, false },
    };

    printf("pictures, best/median ms      ------------ JPEG -----------  ------ JPEG, resized to "
           "-----------------  ---------- pixels, resized to ------------\n"
           "%-24s%7s%14s%14s%14s%14s%14s%14s%14s%14s\n", "", "KB", "libjpeg", "decode", "224",
           "384", "256 crop 224", "224", "384", "256 crop 224");
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++) {
        const struct recipe r = recipes[i];
        struct file file = encode(r, 1);
        char name[64];

        snprintf(name, sizeof name, "%ux%u q%d %s%s", r.width, r.height, r.quality,
                 r.full_colour ? "444" : "420", r.progressive ? " prog" : "");
        bench_picture(setup, name, file);
        free(file.data);
    }
    for (size_t i = 0; i < setup->jpeg_count; i++) {
        struct file file = read_file(setup->jpegs[i]);
        const char *slash = strrchr(setup->jpegs[i], '/');

        if (file.bytes > 0)
            bench_picture(setup, slash != NULL ? slash + 1 : setup->jpegs[i], file);
        free(file.data);
    }
}

/* ---- From pixels to patches ----------------------------------------------------------------- */

struct cutting {
    uint32_t side, patch;
    uint8_t *pixels;
    float *range, *tensor, *patches;
};

static void run_pixels(void *context, size_t i)
{
    const struct cutting *cutting = context;

    (void)i;
    vmoe_patches_from_pixels(cutting->side, cutting->patch, cutting->pixels, cutting->patches);
}

static void run_range(void *context, size_t i)
{
    const struct cutting *cutting = context;

    (void)i;
    vmoe_patches_from_range(cutting->side, cutting->patch, cutting->range, cutting->patches);
}

static void run_tensor(void *context, size_t i)
{
    const struct cutting *cutting = context;

    (void)i;
    vmoe_patches_from_tensor(cutting->side, cutting->patch, cutting->tensor, cutting->patches);
}

static void bench_patches(const struct setup *setup)
{
    static const uint32_t sizes[][2] = { { 224, 16 }, { 224, 32 }, { 384, 16 }, { 384, 32 },
                                         { 224, 14 } };

    printf("\npatches, best/median ms             pixels         range        tensor\n");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct cutting cutting = { .side = sizes[i][0], .patch = sizes[i][1] };
        const size_t values = (size_t)3 * cutting.side * cutting.side;

        cutting.pixels = malloc(values);
        cutting.range = malloc(values * sizeof(float));
        cutting.tensor = malloc(values * sizeof(float));
        cutting.patches = malloc(values * sizeof(float));
        if (cutting.pixels == NULL || cutting.range == NULL || cutting.tensor == NULL ||
            cutting.patches == NULL)
            abort();
        for (size_t v = 0; v < values; v++) {
            cutting.pixels[v] = (uint8_t)(v * 37);
            cutting.range[v] = (float)cutting.pixels[v];
            cutting.tensor[v] = 0.0f;
        }
        printf("%ux%u in patches of %u      ", cutting.side, cutting.side, cutting.patch);
        print_figure(figure_measure(setup->seconds, run_pixels, &cutting));
        print_figure(figure_measure(setup->seconds, run_range, &cutting));
        print_figure(figure_measure(setup->seconds, run_tensor, &cutting));
        putchar('\n');
        free(cutting.pixels);
        free(cutting.range);
        free(cutting.tensor);
        free(cutting.patches);
    }
}

/* ---- From files to models ------------------------------------------------------------------- */

/* A number of /proc/self/status, in bytes; 0 if it is not there. */
static uint64_t process_status(const char *field)
{
    FILE *stream = fopen("/proc/self/status", "r");
    char line[256];
    unsigned long long kilobytes = 0;

    while (stream != NULL && fgets(line, sizeof line, stream) != NULL)
        if (strncmp(line, field, strlen(field)) == 0)
            (void)sscanf(line + strlen(field), ": %llu", &kilobytes);
    if (stream != NULL)
        fclose(stream);
    return 1024 * kilobytes;
}

/* The time of one load, or a negative number. */
static double load(const char *path, uint32_t flags, vmoe_info *info)
{
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;
    double start, seconds;

    options.flags = flags;
    start = vmoe_cpu_seconds();
    if (vmoe_load_file(path, &options, &model, &error) != VMOE_OK) {
        complain(&error);
        return -1.0;
    }
    seconds = vmoe_cpu_seconds() - start;
    if (vmoe_get_info(model, info, &error) != VMOE_OK)
        seconds = -1.0;
    vmoe_free(model);
    return seconds;
}

/* What a load adds to the memory of a process of its own, at its peak. */
static double peak_of_load(const char *path, uint32_t flags)
{
    int ends[2];
    double peak = -1.0;
    pid_t child;

    if (pipe(ends) != 0)
        return peak;
    child = fork();
    if (child == 0) {
        vmoe_info info = VMOE_INFO_INIT;
        const uint64_t before = process_status("VmRSS");

        if (load(path, flags, &info) >= 0.0)
            peak = (double)(process_status("VmHWM") - before);
        _exit(write(ends[1], &peak, sizeof peak) == sizeof peak ? 0 : 1);
    }
    close(ends[1]);
    if (read(ends[0], &peak, sizeof peak) != sizeof peak)
        peak = -1.0;
    close(ends[0]);
    waitpid(child, NULL, 0);
    return peak;
}

/* Reading the file into memory that is used again: what a load cannot beat with one thread. */
static double read_only(const char *path, uint8_t *buffer, size_t bytes)
{
    const double start = vmoe_cpu_seconds();
    FILE *stream = fopen(path, "rb");

    if (stream == NULL)
        return -1.0;
    setvbuf(stream, NULL, _IONBF, 0);
    while (fread(buffer, 1, bytes, stream) == bytes)
        ;
    fclose(stream);
    return vmoe_cpu_seconds() - start;
}

/* The times of a model's first ten calls, of one image of pixels, or false. */
static bool call_ten_times(const char *path, uint32_t threads, double *seconds)
{
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_info info = VMOE_INFO_INIT;
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;
    bool good;

    if (vmoe_load_file(path, NULL, &model, &error) != VMOE_OK ||
        vmoe_get_info(model, &info, &error) != VMOE_OK)
        return complain(&error);
    input.images = 1;
    input.length = (size_t)3 * info.image_size * info.image_size;
    input.pixels = calloc(input.length, 1);
    output.logits_length = info.classes;
    output.logits = malloc(info.classes * sizeof *output.logits);
    options.threads = threads;
    good = input.pixels != NULL && output.logits != NULL;
    for (size_t i = 0; good && i < CALLS; i++) {
        const double start = vmoe_cpu_seconds();

        good = vmoe_run(model, &input, &options, &output, &error) == VMOE_OK || complain(&error);
        seconds[i] = vmoe_cpu_seconds() - start;
    }
    free((void *)(uintptr_t)input.pixels);
    free(output.logits);
    vmoe_free(model);
    return good;
}

/* The same in a process of its own, whose malloc has no memory left from before. */
static bool call_in_child(const char *path, uint32_t threads, double *seconds)
{
    const size_t bytes = CALLS * sizeof *seconds;
    int ends[2];
    bool good;
    pid_t child;

    if (pipe(ends) != 0)
        return false;
    child = fork();
    if (child == 0)
        _exit(call_ten_times(path, threads, seconds) &&
                      write(ends[1], seconds, bytes) == (ssize_t)bytes ? 0 : 1);
    close(ends[1]);
    good = read(ends[0], seconds, bytes) == (ssize_t)bytes;
    close(ends[0]);
    waitpid(child, NULL, 0);
    return good;
}

/* The first call makes the workspace and starts the threads; it should cost little more. */
static bool bench_first_call(const char *path, uint32_t threads)
{
    double first[LOADS], tenth[LOADS], seconds[CALLS];
    struct figure one, ten;

    for (size_t i = 0; i < LOADS; i++) {
        if (!call_in_child(path, threads, seconds))
            return false;
        first[i] = seconds[0];
        tenth[i] = seconds[CALLS - 1];
    }
    one = figure_of(first, LOADS);
    ten = figure_of(tenth, LOADS);
    printf("  first call, %u thread%s%9.2f/%9.2f  tenth %9.2f/%9.2f, ratio %.2f/%.2f\n", threads,
           threads == 1 ? " " : "s", 1e3 * one.best, 1e3 * one.median, 1e3 * ten.best,
           1e3 * ten.median, one.best / ten.best, one.median / ten.median);
    return true;
}

static bool bench_model(const char *path)
{
    static const struct {
        const char *name;
        uint32_t flags;
    } ways[] = {
        { "read, verified", 0 },
        { "read", VMOE_LOAD_HEADER_ONLY },
        { "mapped, verified", VMOE_LOAD_MMAP },
        { "mapped", VMOE_LOAD_MMAP | VMOE_LOAD_HEADER_ONLY },
    };
    vmoe_info info = VMOE_INFO_INIT;
    double samples[LOADS];
    uint8_t *buffer = malloc((size_t)1 << 20);
    struct figure figure;

    if (buffer == NULL || load(path, 0, &info) < 0.0)
        return false;
    printf("\n%s, %.1f MB, best/median ms\n", path, 1e-6 * (double)info.file_bytes);
    for (size_t i = 0; i < LOADS; i++)
        samples[i] = read_only(path, buffer, (size_t)1 << 20);
    figure = figure_of(samples, LOADS);
    printf("  %-20s%9.2f/%9.2f  %5.2f GB/s\n", "read into a cache", 1e3 * figure.best,
           1e3 * figure.median, 1e-9 * (double)info.file_bytes / figure.best);
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
        const double peak = peak_of_load(path, ways[w].flags);

        for (size_t i = 0; i < LOADS; i++)
            samples[i] = load(path, ways[w].flags, &info);
        figure = figure_of(samples, LOADS);
        printf("  %-20s%9.2f/%9.2f  %5.2f GB/s, peak memory file %+.1f MB\n", ways[w].name,
               1e3 * figure.best, 1e3 * figure.median,
               1e-9 * (double)info.file_bytes / figure.best,
               1e-6 * (peak - (double)info.file_bytes));
    }
    free(buffer);
    return bench_first_call(path, 1) && bench_first_call(path, 2);
}

/* ---- Together ------------------------------------------------------------------------------- */

static bool parse(int count, char **words, struct setup *setup)
{
    for (int i = 1; i < count; i += 2) {
        if (i + 1 == count)
            return false;
        if (strcmp(words[i], "--seconds") == 0)
            setup->seconds = strtod(words[i + 1], NULL);
        else if (strcmp(words[i], "--jpeg") == 0 && setup->jpeg_count < FILES_MAX)
            setup->jpegs[setup->jpeg_count++] = words[i + 1];
        else if (strcmp(words[i], "--model") == 0 && setup->model_count < FILES_MAX)
            setup->models[setup->model_count++] = words[i + 1];
        else
            return false;
    }
    return setup->seconds > 0.0;
}

int main(int count, char **words)
{
    struct setup setup = { .seconds = 0.3 };
    bool good = true;

    if (count == 4 && strcmp(words[1], "--write") == 0)
        return write_pictures((uint32_t)strtoul(words[2], NULL, 10), words[3]) ? 0 : 1;
    if (!parse(count, words, &setup)) {
        fputs("usage: bench_input [--seconds N] [--jpeg FILE]... [--model FILE]...\n"
              "       bench_input --write N FOLDER\n", stderr);
        return 2;
    }
    if (setup.model_count == 0) {
        bench_pictures(&setup);
        bench_patches(&setup);
    }
    for (size_t i = 0; i < setup.model_count; i++)
        good = bench_model(setup.models[i]) && good;
    return good ? 0 : 1;
}
