/*
 * Drives a target without a fuzzing engine: every file of the folders that are named, and then
 * MUTATIONS changed copies of them, always the same.
 *
 *     replay_TARGET MUTATIONS FOLDER...
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "fuzz/fuzz.h"

#define SECONDS_MAX 2 /* of the processor, for one input */
#define GROWTH 64u    /* bytes that a mutated copy may have more */

/* Optional in a target. */
__attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                                                     unsigned seed);

static struct input {
    uint8_t *data;
    size_t size;
} *inputs;

static size_t count;
static struct dice dice;

/* ---- A small engine ------------------------------------------------------------------------- */

/* Writes a number that parsers fear, in either order of bytes. */
static void put_number(uint8_t *data, size_t size)
{
    const size_t bytes = (size_t)1 << dice_below(&dice, 4);
    const bool reverse = dice_below(&dice, 2);
    const uint64_t number = dice_number(&dice);
    size_t at;

    if (size < bytes)
        return;
    at = dice_below(&dice, (uint32_t)(size - bytes) + 1);
    for (size_t i = 0; i < bytes; i++)
        data[at + (reverse ? bytes - 1 - i : i)] = (uint8_t)(number >> 8 * i);
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
    const uint32_t at = size > 0 ? dice_below(&dice, (uint32_t)size) : 0;
    uint32_t length = 1 + dice_below(&dice, 16);

    switch (size == 0 ? 4 : dice_below(&dice, 7)) {
    case 0: data[at] ^= (uint8_t)(1u << dice_below(&dice, 8)); break;
    case 1: data[at] = (uint8_t)dice_below(&dice, 256); break;
    case 2: put_number(data, size); break;
    case 3: /* take some out */
        length = length < size - at ? length : (uint32_t)(size - at);
        memmove(data + at, data + at + length, size - at - length);
        return size - length;
    case 4: /* put some in */
        if (length > max_size - size)
            break;
        memmove(data + at + length, data + at, size - at);
        for (uint32_t i = 0; i < length; i++)
            data[at + i] = (uint8_t)dice_below(&dice, 256);
        return size + length;
    case 5: /* copy some from elsewhere */
        length = length < size - at ? length : (uint32_t)(size - at);
        memmove(data + at, data + dice_below(&dice, (uint32_t)(size - length) + 1), length);
        break;
    default: return at; /* cut */
    }
    return size;
}

/* ---- Inputs --------------------------------------------------------------------------------- */

/* The process ends if it takes more; 0 takes the limit away. */
static void limit_time(int seconds)
{
    const struct itimerval limit = { .it_value.tv_sec = seconds };

    MUST(setitimer(ITIMER_PROF, &limit, NULL) == 0);
}

static void run(const uint8_t *data, size_t size)
{
    /* Exactly as long as it is, so that tools see a read behind the end. */
    uint8_t *copy = malloc(size > 0 ? size : 1);

    MUST(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    limit_time(SECONDS_MAX);
    MUST(LLVMFuzzerTestOneInput(copy, size) == 0);
    limit_time(0);
    free(copy);
}

static void read_input(const char *folder, const char *name)
{
    struct input input;
    struct stat status;
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (name[0] == '.' || stat(path, &status) != 0 || !S_ISREG(status.st_mode))
        return;
    input.size = (size_t)status.st_size;
    input.data = malloc(input.size + 1);
    file = fopen(path, "rb");
    MUST(input.data != NULL && file != NULL);
    MUST(fread(input.data, 1, input.size, file) == input.size);
    fclose(file);
    inputs = realloc(inputs, (count + 1) * sizeof *inputs);
    MUST(inputs != NULL);
    inputs[count++] = input;
}

static void read_folder(const char *folder)
{
    struct dirent **names;
    int found = scandir(folder, &names, NULL, alphasort); /* the same order everywhere */

    for (int i = 0; i < found; i++) {
        read_input(folder, names[i]->d_name);
        free(names[i]);
    }
    if (found >= 0)
        free(names);
}

static void mutate(unsigned number)
{
    const struct input *input = &inputs[number % count];
    const size_t room = input->size + GROWTH;
    uint8_t *data = malloc(room);
    size_t size = input->size;

    MUST(data != NULL);
    if (size > 0)
        memcpy(data, input->data, size);
    dice = dice_begin(number);
    for (uint32_t i = dice_below(&dice, 4) + 1; i > 0; i--)
        size = LLVMFuzzerCustomMutator != NULL
                   ? LLVMFuzzerCustomMutator(data, size, room, dice_below(&dice, 1u << 31))
                   : LLVMFuzzerMutate(data, size, room);
    run(data, size);
    free(data);
}

int main(int arguments, char **argument)
{
    const unsigned mutations = arguments > 1 ? (unsigned)strtoul(argument[1], NULL, 10) : 0;

    for (int i = 2; i < arguments; i++)
        read_folder(argument[i]);
    run((const uint8_t *)"", 0);
    for (size_t i = 0; i < count; i++)
        run(inputs[i].data, inputs[i].size);
    for (unsigned i = 0; count > 0 && i < mutations; i++)
        mutate(i);
    printf("  %zu files, %u mutated\n", count, mutations);
    printf("%d passed, %d failed\n", count > 0, count == 0);
    for (size_t i = 0; i < count; i++)
        free(inputs[i].data);
    free(inputs);
    return count == 0;
}
