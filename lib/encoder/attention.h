/* Multi-head attention between queries and tokens that are already projected. */
#ifndef VMOE_ENCODER_ATTENTION_H
#define VMOE_ENCODER_ATTENTION_H

#include "encoder/encoder.h"

/*
 * For each image and head: out = softmax(Q K' / sqrt(head width)) V.  Head h has columns
 * h * width .. of q, k, v and out.
 */
struct vmoe_attention_call {
    size_t images, heads, width; /* width of a head */
    size_t queries, tokens;      /* an image */
    const float *q;
    size_t ldq, q_image; /* row stride, and floats from image to image (0: shared) */
    const float *k, *v;
    size_t ldkv; /* row stride; images follow each other */
    float *out;  /* (images * queries, ..) */
    size_t ldo;
};

void vmoe_attention_run(struct vmoe_encoder *encoder, const struct vmoe_attention_call *call);

/* Scratch of one thread. */
uint64_t vmoe_attention_scratch_bytes(uint64_t tokens, uint64_t width);

#endif
