/* The number types of foreign arrays: how they are called, how long they are, what they mean. */
#ifndef VMOE_CHECKPOINT_NUMBER_H
#define VMOE_CHECKPOINT_NUMBER_H

#include <stddef.h>
#include <stdint.h>

enum vmoe_number {
    VMOE_NUMBER_NONE, /* something that is not a number, or not one known here */
    VMOE_NUMBER_F32,
    VMOE_NUMBER_BF16,
    VMOE_NUMBER_F16,
    VMOE_NUMBER_F64,
    VMOE_NUMBER_I8,
    VMOE_NUMBER_I16,
    VMOE_NUMBER_I32,
    VMOE_NUMBER_I64,
    VMOE_NUMBER_U8,
    VMOE_NUMBER_U16,
    VMOE_NUMBER_U32,
    VMOE_NUMBER_U64,
    VMOE_NUMBER_BOOL,
    VMOE_NUMBERS
};

/* By the name of a dtype, such as "bfloat16". */
enum vmoe_number vmoe_number_by_name(const char *name);

/*
 * By the descr of a .npy file, such as "<f4".  numpy has no name for bfloat16 and writes it as raw
 * pairs of bytes, "V2".  Big-endian types are unknown.
 */
enum vmoe_number vmoe_number_by_descr(const char *descr);

/* By the dtype of a .safetensors file, such as "F32". */
enum vmoe_number vmoe_number_by_tag(const char *tag);

/* "float32", or "no number". */
const char *vmoe_number_name(enum vmoe_number type);

/* Bytes of one, 0 for VMOE_NUMBER_NONE. */
uint32_t vmoe_number_bytes(enum vmoe_number type);

/*
 * Converts `count` little-endian numbers.  `raw` needs no alignment; for VMOE_NUMBER_F32 it may be
 * `out` itself.
 */
void vmoe_number_to_f32(enum vmoe_number type, const void *raw, size_t count, float *out);

#endif
