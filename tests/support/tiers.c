/* The one list of instruction sets among the tests. */
#include "support/tiers.h"

#include <stdbool.h>
#include <stddef.h>
#include <vmoe.h>

#include "kernels/kernels.h"
#include "support/tiles.h"

static const uint32_t known[] = {
    VMOE_ISA_REF,
    VMOE_ISA_AVX2,
    VMOE_ISA_AVX512,
    VMOE_ISA_AVX512_VNNI,
    VMOE_ISA_AVX512_BF16,
    VMOE_ISA_AMX,
    VMOE_ISA_NEON,
    VMOE_ISA_NEON_DOT,
    VMOE_ISA_NEON_I8MM,
};

#define KNOWN (sizeof known / sizeof known[0])

const uint32_t *tiers(void)
{
    static uint32_t here[KNOWN + 1];
    size_t count = 0;

    tiles_emulate();
    for (size_t i = 0; i < KNOWN; i++)
        if (vmoe_isa_available(known[i]))
            here[count++] = known[i];
    here[count] = VMOE_ISA_DEFAULT;
    return here;
}

const uint32_t *tiers_with(uint32_t rows, uint32_t panels)
{
    static uint32_t here[KNOWN + 1];
    size_t count = 0;

    for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
        const struct vmoe_kernels *kernels = vmoe_kernels_for(*isa);
        bool known_before = kernels->product[rows][panels] == NULL;

        for (size_t i = 0; i < count; i++)
            known_before |= kernels->product[rows][panels] ==
                            vmoe_kernels_for(here[i])->product[rows][panels];
        if (!known_before)
            here[count++] = *isa;
    }
    here[count] = VMOE_ISA_DEFAULT;
    return here;
}
