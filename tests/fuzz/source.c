/* Arrays of up to ROOM elements are read whole, of larger ones the begin and the end. */
#include "fuzz/source.h"

#include <string.h>

#include "fuzz/account.h"

#define ROOM 4096u

static float whole[ROOM], pieces[ROOM];

static void check_shape(const struct vmoe_array *array)
{
    uint64_t elements = 1;

    MUST(array->name != NULL && strlen(array->name) <= VMOE_LIMIT_NAME_BYTES);
    MUST(array->rank <= VMOE_LIMIT_RANK);
    for (uint32_t i = 0; i < array->rank; i++) {
        MUST(array->dims[i] <= VMOE_LIMIT_DIMENSION);
        elements *= array->dims[i];
    }
    MUST(array->elements == elements && elements <= VMOE_LIMIT_ELEMENTS);
}

static vmoe_status read(struct vmoe_source *source, size_t i, uint64_t first, uint64_t count,
                        float *to)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status status = source->read(source, i, first, count, to, &error);

    fuzz_check_error(status, &error);
    MUST(status == VMOE_OK || status == VMOE_ERR_FORMAT || status == VMOE_ERR_UNSUPPORTED);
    return status;
}

static void check_numbers(struct vmoe_source *source, size_t i, uint64_t first, size_t count)
{
    const size_t middle = count / 3;
    vmoe_status status;

    if (read(source, i, first, count, whole) != VMOE_OK)
        return;
    status = read(source, i, first + middle, count - middle, pieces + middle);
    /* Arrays in Fortran order are read as a whole only. */
    if (status == VMOE_ERR_UNSUPPORTED)
        return;
    MUST(status == VMOE_OK && read(source, i, first, middle, pieces) == VMOE_OK);
    MUST(memcmp(whole, pieces, count * sizeof *whole) == 0);
}

static void check_arrays(struct vmoe_source *source)
{
    for (size_t i = 0; i < source->count; i++) {
        const uint64_t elements = source->arrays[i].elements;
        const size_t count = elements < ROOM ? (size_t)elements : ROOM;

        check_shape(&source->arrays[i]);
        MUST(i == 0 || strcmp(source->arrays[i - 1].name, source->arrays[i].name) < 0);
        check_numbers(source, i, 0, count);
        check_numbers(source, i, elements - count, count);
        MUST(source->read(source, i, elements, 1, whole, NULL) != VMOE_OK);
        MUST(source->read(source, i, UINT64_MAX, 2, whole, NULL) == VMOE_ERR_ARGUMENT);
    }
}

void source_check(source_open *open, const char *path, size_t memory)
{
    vmoe_error error = VMOE_ERROR_INIT;
    struct vmoe_source *source;
    struct account account;
    vmoe_status status;

    account_open(&account);
    status = open(path, &account.allocator, &source, &error);
    fuzz_check_error(status, &error);
    MUST((status == VMOE_OK) == (source != NULL));
    MUST(account.peak < memory);
    if (source != NULL) {
        check_arrays(source);
        source->close(source);
    }
    account_close(&account);
}
