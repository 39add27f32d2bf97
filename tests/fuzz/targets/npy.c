/* The header of a .npy array.  What is accepted means the same when it is printed plainly. */
#include <stdio.h>
#include <string.h>

#include "checkpoint/npy.h"
#include "fuzz/fuzz.h"

static vmoe_status parse(const uint8_t *data, size_t size, struct vmoe_array *array,
                         struct vmoe_npy *npy)
{
    vmoe_error error = VMOE_ERROR_INIT;
    uint32_t bytes = 0;
    vmoe_status status = vmoe_npy_header_bytes(data, "fuzz", &bytes, &error);

    if (status == VMOE_OK) {
        MUST(bytes > VMOE_NPY_START_BYTES && bytes <= VMOE_LIMIT_NPY_HEADER_BYTES);
        if (bytes > size)
            return VMOE_ERR_FORMAT; /* the importer finds that the member is too short */
        *array = (struct vmoe_array){ .name = "fuzz" };
        status = vmoe_npy_parse(data, bytes, array, npy, &error);
    }
    fuzz_check_error(status, &error);
    return status;
}

static void check_again(const struct vmoe_array *array, const struct vmoe_npy *npy)
{
    static const char *const descr[] = { "",    "<f4", "|V2", "<f2", "<f8", "|i1", "<i2", "<i4",
                                         "<i8", "|u1", "<u2", "<u4", "<u8", "|b1" };
    uint8_t header[512];
    char *text = (char *)header + 10;
    struct vmoe_array again;
    struct vmoe_npy same;
    int length = sprintf(text, "{'descr': '%s', 'fortran_order': %s, 'shape': (", descr[npy->type],
                         npy->fortran ? "True" : "False");

    for (uint32_t i = 0; i < array->rank; i++)
        length += sprintf(text + length, "%llu,", (unsigned long long)array->dims[i]);
    length += sprintf(text + length, ")}\n");
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (uint8_t)length;
    header[9] = (uint8_t)(length >> 8);
    MUST(parse(header, sizeof header, &again, &same) == VMOE_OK);
    MUST(same.type == npy->type && same.fortran == npy->fortran);
    MUST(again.rank == array->rank && again.elements == array->elements);
    MUST(memcmp(again.dims, array->dims, array->rank * sizeof array->dims[0]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmoe_npy npy;
    struct vmoe_array array;
    uint64_t elements = 1;

    if (size < VMOE_NPY_START_BYTES || parse(data, size, &array, &npy) != VMOE_OK)
        return 0;
    MUST(npy.type < VMOE_NUMBERS && strlen(npy.descr) < sizeof npy.descr);
    MUST(array.rank <= VMOE_LIMIT_RANK);
    for (uint32_t i = 0; i < array.rank; i++) {
        MUST(array.dims[i] <= VMOE_LIMIT_DIMENSION);
        elements *= array.dims[i];
    }
    MUST(elements == array.elements && elements <= VMOE_LIMIT_ELEMENTS);
    check_again(&array, &npy);
    return 0;
}
