/* The one list of instruction sets among the tests. */
#include "support/tiers.h"

#include <stddef.h>
#include <vmoe.h>

#include "support/tiles.h"

static const uint32_t known[] = {
    VMOE_ISA_REF,
    VMOE_ISA_AVX2,
    VMOE_ISA_AVX512,
    VMOE_ISA_AVX512_VNNI,
    VMOE_ISA_AVX512_BF16,
    VMOE_ISA_AMX,
};

const uint32_t *tiers(void)
{
    static uint32_t here[sizeof known / sizeof known[0] + 1];
    size_t count = 0;

    tiles_emulate();
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (vmoe_isa_available(known[i]))
            here[count++] = known[i];
    here[count] = VMOE_ISA_DEFAULT;
    return here;
}
