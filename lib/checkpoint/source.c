/* What every source checks: shapes within the limits, and requests within the array. */
#include "checkpoint/source.h"

#include "runtime/checked.h"

bool vmoe_array_add_axis(struct vmoe_array *array, uint64_t size)
{
    if (array->rank == VMOE_LIMIT_RANK || size > VMOE_LIMIT_DIMENSION ||
        !vmoe_mul_u64(array->elements, size, &array->elements) ||
        array->elements > VMOE_LIMIT_ELEMENTS)
        return false;
    array->dims[array->rank++] = size;
    return true;
}

vmoe_status vmoe_array_check_range(const struct vmoe_array *array, uint64_t first, uint64_t count,
                                   vmoe_error *error)
{
    uint64_t end;

    if (!vmoe_add_u64(first, count, &end) || end > array->elements)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, array->name, "it has only %llu elements",
                         (unsigned long long)array->elements);
    return VMOE_OK;
}
