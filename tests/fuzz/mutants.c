/*
 * Changed copies of our own files, with what the library makes of each, for second_opinion.py:
 *
 *     mutants COUNT SEED FOLDER...
 *
 * writes records to stdout: four numbers of 4 bytes (the size, 1 if the file is accepted, the CRC-32
 * of the CRCs of its tensors, the number of the mutant), then the bytes.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "checkpoint/format.h"
#include "checkpoint/reader.h"
#include "fuzz/own.h"
#include "runtime/memory.h"
#include "support/tensor_crc.h"

#define INPUTS_MAX 256u
#define GROWTH 64u

static struct input {
    uint8_t *data;
    size_t size;
} inputs[INPUTS_MAX];

static size_t count;
static struct dice dice;

/* The mutator of own.c asks an engine for its simple changes. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
    (void)max_size;
    if (size > 0)
        data[dice_below(&dice, (uint32_t)size)] ^= (uint8_t)(1u << dice_below(&dice, 8));
    return size;
}

static void read_folder(const char *folder)
{
    struct dirent **names;
    const int found = scandir(folder, &names, NULL, alphasort);

    for (int i = 0; i < found; i++) {
        char path[4096];
        struct stat info;
        FILE *file;

        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        free(names[i]);
        if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) || count == INPUTS_MAX)
            continue;
        inputs[count].size = (size_t)info.st_size;
        inputs[count].data = malloc(inputs[count].size + 1);
        file = fopen(path, "rb");
        MUST(inputs[count].data != NULL && file != NULL);
        MUST(fread(inputs[count].data, 1, inputs[count].size, file) == inputs[count].size);
        fclose(file);
        count++;
    }
    if (found >= 0)
        free(names);
}

static uint32_t meaning_of(const struct vmoe_checkpoint *checkpoint)
{
    const uint64_t tensors = vmoe_tensor_count(&checkpoint->info);
    struct vmoe_tensor *list = malloc(tensors * sizeof *list);
    const uint8_t *data = checkpoint->data;
    uLong crc = crc32(0, NULL, 0);

    MUST(list != NULL);
    vmoe_tensor_list(&checkpoint->info, list);
    for (uint64_t i = 0; i < tensors; i++) {
        const uint8_t *next = data + vmoe_format_tensor_offset(list[i].bytes);
        const uint32_t own = tensor_crc(&list[i], data, (const float *)(const void *)next);

        crc = crc32(crc, (const Bytef *)&own, sizeof own);
        data = next;
    }
    free(list);
    return (uint32_t)crc;
}

static void write_mutant(uint32_t number, const uint8_t *data, size_t size)
{
    const struct vmoe_read_options options = { 0 };
    struct vmoe_checkpoint checkpoint;
    vmoe_error error = VMOE_ERROR_INIT;
    uint32_t record[4] = { (uint32_t)size, 0, 0, number };

    if (vmoe_checkpoint_read("mutant", data, size, &options, &vmoe_memory_default, &checkpoint,
                             &error) == VMOE_OK) {
        record[1] = 1;
        record[2] = meaning_of(&checkpoint);
        vmoe_checkpoint_release(&checkpoint, &vmoe_memory_default);
    }
    MUST(fwrite(record, sizeof record, 1, stdout) == 1);
    MUST(size == 0 || fwrite(data, size, 1, stdout) == 1);
}

int main(int arguments, char **argument)
{
    const uint32_t mutants = arguments > 2 ? (uint32_t)strtoul(argument[1], NULL, 10) : 0;
    const uint32_t seed = arguments > 2 ? (uint32_t)strtoul(argument[2], NULL, 10) : 0;

    for (int i = 3; i < arguments; i++)
        read_folder(argument[i]);
    if (count == 0) {
        fprintf(stderr, "usage: mutants COUNT SEED FOLDER...\n");
        return 2;
    }
    for (uint32_t i = 0; i < mutants; i++) {
        const struct input *input = &inputs[i % count];
        const size_t room = input->size + GROWTH;
        uint8_t *data = malloc(room);
        size_t size = input->size;

        MUST(data != NULL);
        memcpy(data, input->data, size);
        dice = dice_begin(seed * 0x9e3779b1u + i);
        for (uint32_t n = dice_below(&dice, 3) + 1; n > 0; n--)
            size = own_mutate(&dice, data, size, room);
        write_mutant(i, data, size);
        free(data);
    }
    return fflush(stdout) != 0;
}
