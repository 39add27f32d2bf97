/* Chooses the table of an instruction set among those that are compiled in. */
#include "kernels/kernels.h"

#include "kernels/pack.h"
#include "runtime/memory.h"

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

/* Packed keys and values, and what one block of queries needs at a time. */
uint64_t vmoe_attend_bytes(uint32_t type, uint64_t tokens, uint64_t width)
{
    const uint64_t stride = (tokens + VMOE_PANEL - 1) / VMOE_PANEL * VMOE_PANEL;
    struct vmoe_arena arena = { 0 };

    vmoe_arena_take(&arena, 1, vmoe_pack_bytes(type, width, tokens));
    vmoe_arena_take(&arena, 1, vmoe_pack_bytes(type, tokens, width));
    vmoe_arena_take(&arena, VMOE_ATTEND_ROWS * stride, sizeof(float));
    return arena.used;
}
