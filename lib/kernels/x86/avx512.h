/* What the AVX-512 table shares with those that add instructions for narrow rows to it. */
#ifndef VMOE_KERNELS_X86_AVX512_H
#define VMOE_KERNELS_X86_AVX512_H

#include "kernels/kernels.h"

void vmoe_avx512_product_f32(const struct vmoe_product *product);
void vmoe_avx512_product_bf16(const struct vmoe_product *product);
void vmoe_avx512_product_int8(const struct vmoe_product *product);
void vmoe_avx512_attend(const struct vmoe_attend *attend);
void vmoe_avx512_layer_norm(size_t n, const float *x, float epsilon, const float *scale,
                            const float *bias, float *y);
float vmoe_avx512_softmax(size_t n, float factor, float *x);
void vmoe_avx512_sigmoid(size_t n, float *x);
void vmoe_avx512_router(size_t tokens, size_t width, size_t experts, const float *x, size_t ldx,
                        const float *weights, size_t ldw, float *logits);
void vmoe_avx512_gemv_f32(size_t k, size_t panels, const void *packed, const float *x, float *y,
                         size_t ldy);
void vmoe_avx512_gemv_bf16(size_t k, size_t panels, const void *packed, const float *x, float *y,
                          size_t ldy);
void vmoe_avx512_gemv_int8(size_t k, size_t panels, const void *packed, const float *x, float *y,
                          size_t ldy);

/* The entries for float32. */
#define VMOE_AVX512_KERNELS                                                                        \
    .product[VMOE_PRECISION_F32] = { [VMOE_PRECISION_F32] = vmoe_avx512_product_f32,               \
                                     [VMOE_PRECISION_BF16] = vmoe_avx512_product_bf16,             \
                                     [VMOE_PRECISION_INT8] = vmoe_avx512_product_int8 },           \
    .attend[VMOE_PRECISION_F32] = vmoe_avx512_attend, .layer_norm = vmoe_avx512_layer_norm,        \
    .softmax = vmoe_avx512_softmax, .sigmoid = vmoe_avx512_sigmoid,                                \
    .gemv = { [VMOE_PRECISION_F32] = vmoe_avx512_gemv_f32,                                         \
              [VMOE_PRECISION_BF16] = vmoe_avx512_gemv_bf16,                                       \
              [VMOE_PRECISION_INT8] = vmoe_avx512_gemv_int8 },                                     \
    .router = vmoe_avx512_router

#endif
