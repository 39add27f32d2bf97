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
    case VMOE_ISA_AVX512_VNNI:
        return &vmoe_kernels_vnni;
    case VMOE_ISA_AVX512_BF16:
        return &vmoe_kernels_bf16;
    case VMOE_ISA_AMX:
        return &vmoe_kernels_amx;
#elif defined(__aarch64__)
    case VMOE_ISA_NEON:
        return &vmoe_kernels_neon;
    case VMOE_ISA_NEON_DOT:
        return &vmoe_kernels_neon_dot;
    case VMOE_ISA_NEON_I8MM:
        return &vmoe_kernels_neon_i8mm;
#endif
    default:
        return NULL;
    }
}

uint64_t vmoe_product_scratch_bytes(uint32_t rows, uint32_t panels, uint64_t k)
{
    if (rows != VMOE_PRECISION_BF16 || panels != VMOE_PRECISION_INT8)
        return 0;
    return 2 * vmoe_pack_bytes(VMOE_PRECISION_INT8, k, VMOE_PANEL);
}

size_t vmoe_attend_stride(size_t tokens)
{
    const size_t bytes = (tokens + VMOE_PANEL - 1) / VMOE_PANEL * VMOE_PANEL * sizeof(float);

    return bytes % 1024 == 0 ? bytes + VMOE_ROW_BYTES : bytes;
}

/* Packed keys and values, and scores of the queries that are under way. */
uint64_t vmoe_attend_bytes(uint32_t type, uint64_t tokens, uint64_t width)
{
    struct vmoe_arena arena = { 0 };

    vmoe_arena_take(&arena, 1, vmoe_pack_bytes(type, width, tokens));
    vmoe_arena_take(&arena, 1, vmoe_pack_bytes(type, tokens, width));
    vmoe_arena_take(&arena, type == VMOE_PRECISION_BF16 ? 96 : 16,
                    vmoe_attend_stride((size_t)tokens));
    return arena.used;
}
