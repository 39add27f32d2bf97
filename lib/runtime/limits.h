/*
 * Every hard limit of the library, far above any released model.  Those that a host can meet are
 * reported by vmoe_get_limits.  Sizes of a geometry are products of two of them, or of three with a
 * small one, and fit 64 bits.
 */
#ifndef VMOE_RUNTIME_LIMITS_H
#define VMOE_RUNTIME_LIMITS_H

#define VMOE_LIMIT_LAYERS 256u
#define VMOE_LIMIT_HEADS 256u
#define VMOE_LIMIT_EXPERTS 4096u
#define VMOE_LIMIT_PICKS 16u /* experts per token */
#define VMOE_LIMIT_MEMBERS 64u
#define VMOE_LIMIT_WIDTH 65536u
#define VMOE_LIMIT_MLP 262144u
#define VMOE_LIMIT_CLASSES 1048576u
#define VMOE_LIMIT_IMAGE_SIZE 4096u
#define VMOE_LIMIT_TOKENS 65536u /* an image, those of all members together */
#define VMOE_LIMIT_GROUP_TOKENS 1048576u
#define VMOE_LIMIT_CAPACITY 64.0
#define VMOE_LIMIT_CAPACITY_MULTIPLE 4096u
#define VMOE_LIMIT_THREADS 256u
#define VMOE_LIMIT_IMAGES (UINT64_C(1) << 32) /* a call */

#define VMOE_LIMIT_FILE_BYTES (UINT64_C(1) << 40)
#define VMOE_LIMIT_HEADER_BYTES (UINT64_C(16) << 20)
#define VMOE_LIMIT_TENSORS 65536u
#define VMOE_LIMIT_LABEL_BYTES 1024u
#define VMOE_LIMIT_PROVENANCE_BYTES 4096u
#define VMOE_LIMIT_MODEL_BYTES (UINT64_C(16) << 30) /* the default of max_bytes */

#define VMOE_LIMIT_JPEG_BYTES (UINT64_C(64) << 20)
#define VMOE_LIMIT_PICTURE_SIDE 16384u
#define VMOE_LIMIT_PICTURE_PIXELS (UINT64_C(64) << 20)
#define VMOE_LIMIT_JPEG_SCANS 100u
#define VMOE_LIMIT_JPEG_WORK UINT64_C(100000000) /* scans times 8x8 blocks */
#define VMOE_LIMIT_JPEG_MEMORY (512l << 20)

#define VMOE_LIMIT_INDEX_BYTES (UINT64_C(64) << 20)
#define VMOE_LIMIT_SHARDS 4096u
#define VMOE_LIMIT_SHARD_CHANGES 1048576u
#define VMOE_LIMIT_IMPORT_ARRAYS 65536u
#define VMOE_LIMIT_IMPORT_CHUNKS 4194304u
#define VMOE_LIMIT_RANK 8u
#define VMOE_LIMIT_DIMENSION (UINT64_C(1) << 31)
#define VMOE_LIMIT_ELEMENTS (UINT64_C(1) << 40) /* a tensor */
#define VMOE_LIMIT_NAME_BYTES 255u
#define VMOE_LIMIT_MSGPACK_DEPTH 32u
#define VMOE_LIMIT_NPY_HEADER_BYTES 65536u
#define VMOE_LIMIT_ZIP_ENTRIES 65535u

#endif
