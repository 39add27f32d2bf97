/* Chooses the table of an instruction set among those that are compiled in. */
#include "kernels/kernels.h"

const struct vmoe_kernels *vmoe_kernels_for(uint32_t isa)
{
    switch (isa) {
    case VMOE_ISA_REF:
        return &vmoe_kernels_ref;
#if defined(__x86_64__)
    case VMOE_ISA_AVX2:
        return &vmoe_kernels_avx2;
    case VMOE_ISA_AVX512:
        return &vmoe_kernels_avx512;
#endif
    default:
        return NULL;
    }
}
