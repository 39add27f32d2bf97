/*
 * Writes the seeds of our own format, which the library's own writer makes; those of other formats
 * are small enough to lie in seeds/.
 *
 *     seeds FOLDER        a folder in it for every target
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz/own.h"
#include "runtime/memory.h"

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
        info.members = 1 + i / 4 % 2;
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

/* A file and a call behind it: each of the options alone, then an image. */
static void save_run(const char *name, const uint8_t *file, size_t size, uint32_t i)
{
    static uint8_t input[1 << 16];
    const uint8_t call[] = { (uint8_t)(1u << i % 8), 2, 1, 2, 127, 0x80, 20, 70, 90 };

    MUST(size + sizeof call <= sizeof input);
    memcpy(input, file, size);
    memcpy(input + size, call, sizeof call);
    save("own_run", name, input, size + sizeof call);
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
        file = own_make(&info, &vmoe_memory_default, &size);
        MUST(file != NULL);
        memcpy(&header, file + 24, sizeof header);
        save(info.compact ? "own_compact" : "own_file", name, file, size);
        save("own_header", name, file, header);
        save_run(name, file, size, i);
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
    return 0;
}
