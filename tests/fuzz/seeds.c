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

#include "fuzz/own.h"

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
    number_seeds();
    return 0;
}
