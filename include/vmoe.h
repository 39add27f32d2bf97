/*
 * libvmoe: sparse Vision Transformers (V-MoE, arXiv 2106.05974) on CPUs.
 *
 * Copyright 2026 the libvmoe authors.  SPDX-License-Identifier: Apache-2.0
 *
 * INTRODUCTION
 *
 * A V-MoE is a Vision Transformer in which some of the MLPs are replaced by E expert MLPs.  A
 * router sends each token (one patch of the image) to the K experts with the largest gates, and
 * an expert takes at most `capacity` tokens of a group; the pairs that find no free slot are
 * dropped.  Batch Priority Routing (BPR) hands the slots out in the order of importance instead
 * of in the order of position.  Three numbers can be chosen for every call, with one file:
 *
 *     C   the capacity ratio: capacity = C * S * K / E for a group of S tokens,
 *     K   the experts a token is sent to,
 *     BPR who comes first when slots are scarce,
 *
 * and they form a dial between accuracy and compute.  This library loads one `.vmoe` file into
 * one handle and classifies pictures with it.  A dense ViT is a V-MoE without MoE layers and
 * works the same way; C, K and BPR then change nothing.
 *
 * An ensemble of experts (E3, arXiv 2110.03360) is a V-MoE whose experts are shared out among M
 * members.  Everything up to the first MoE layer is computed once for an image; from there on each
 * member has a copy of the tokens, which it routes to its own E / M experts.  The answer is the
 * mean of the members' probabilities.  M is 1 for all other models.
 *
 * EXAMPLE
 *
 *     #include <stdio.h>
 *     #include <vmoe.h>
 *
 *     int classify(const char *file, const void *jpeg, size_t bytes)
 *     {
 *         vmoe_error error = VMOE_ERROR_INIT;
 *         vmoe_model *model = NULL;
 *         vmoe_class top[3];
 *         vmoe_options options = VMOE_OPTIONS_INIT;
 *
 *         options.capacity = 0.5;                      // half the slots ...
 *         options.priority = VMOE_PRIORITY_BPR_MAX;    // ... for the tokens that matter
 *         if (vmoe_load_file(file, NULL, &model, &error) == VMOE_OK &&
 *             vmoe_classify_jpeg(model, jpeg, bytes, &options, top, 3, &error) == VMOE_OK)
 *             for (int i = 0; i < 3; i++)
 *                 printf("%5.1f %%  %u %s\n", 100.0 * top[i].probability, top[i].index,
 *                        top[i].label);
 *         else
 *             fprintf(stderr, "%s: %s\n", error.where, error.text);
 *         vmoe_free(model);
 *         return error.status == VMOE_OK ? 0 : 1;
 *     }
 *
 * CONVENTIONS
 *
 * Status.  Every function that can fail returns a vmoe_status and takes a vmoe_error as its last
 *     argument, which may be NULL.  The error belongs to the caller and is overwritten by every
 *     call.  After an error nothing needs to be freed, `*out` handles are NULL, the contents of
 *     other outputs are unspecified, and the model remains usable.
 * Structs.  Structs that the caller fills begin with `size` and are initialised by a macro such
 *     as VMOE_OPTIONS_INIT.  A zero in a field means "the default" (the model's own, where the
 *     model has one).  Later versions append fields; a library that is older than the header
 *     accepts the longer struct only if the part that it does not know is zero, and answers
 *     VMOE_ERR_UNSUPPORTED otherwise.  Structs that the library fills also begin with `size`; it
 *     writes as many bytes as both sides know.
 * Threads.  A vmoe_model never changes after loading: any number of threads may call with the
 *     same handle at the same time.  Each call takes a workspace (memory and worker threads) from
 *     a pool inside the handle and puts it back.  vmoe_free must be the last call.
 * Quiet.  The library has no global state, reads no environment variables (libjpeg-turbo has some
 *     of its own, which change no result), writes nothing to stdout or stderr, installs no signal
 *     handlers and never ends the process.
 * Units.  Images are RGB, rows from top to bottom, channels interleaved.  Tensors are dense and
 *     row-major.  N is the number of images of a call, `classes`, `width`, ... are fields of
 *     vmoe_info.
 * Same bits.  With the same library, ISA and precision, results are bit-identical for every
 *     number of threads and every run, and, as long as a routing group is one image (the
 *     default), for every batch size and every position in the batch.
 */
#ifndef VMOE_H
#define VMOE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef VMOE_API
#if defined(__GNUC__)
#define VMOE_API __attribute__((visibility("default")))
#else
#define VMOE_API
#endif
#endif

/* The version of this header; vmoe_version() tells that of the library. */
#define VMOE_VERSION_MAJOR 0
#define VMOE_VERSION_MINOR 1
#define VMOE_VERSION_PATCH 0
#define VMOE_VERSION_NUMBER \
    (VMOE_VERSION_MAJOR * 10000 + VMOE_VERSION_MINOR * 100 + VMOE_VERSION_PATCH)

/* The version of the library as a number, 10000 * major + 100 * minor + patch. */
VMOE_API uint32_t vmoe_version(void);

/* ---- Status and errors ---------------------------------------------------------------------- */

/* The outcome of a call.  The values are pinned and will not change. */
typedef enum vmoe_status {
    VMOE_OK = 0,
    VMOE_ERR_ARGUMENT = 1,    /* the call is wrong: a NULL, an option out of range, a wrong size */
    VMOE_ERR_UNSUPPORTED = 2, /* well-formed, but not something this library or machine can do */
    VMOE_ERR_MEMORY = 3,      /* an allocation failed */
    VMOE_ERR_IO = 4,          /* the operating system refused to open, read or write a file */
    VMOE_ERR_FORMAT = 5,      /* the bytes are not what they claim to be */
    VMOE_ERR_CHECKSUM = 6,    /* a `.vmoe` file was damaged after it was written */
    VMOE_ERR_VERSION = 7,     /* a file of a version that this library does not read */
    VMOE_ERR_LIMIT = 8,       /* larger than a limit of vmoe_limits or of the caller */
    VMOE_ERR_IMAGE = 9,       /* a JPEG that cannot be decoded */
    VMOE_ERR_CANCELLED = 10,  /* the cancel flag was set, or the progress of an import said so */
    VMOE_ERR_THREAD = 11      /* a thread or a lock could not be created */
} vmoe_status;

/* What went wrong: a sentence, and the place it is about (a file, a tensor, an option). */
typedef struct vmoe_error {
    vmoe_status status;
    char where[96];
    char text[320];
} vmoe_error;

#define VMOE_ERROR_INIT { VMOE_OK, "", "" }

/* The name of a status, such as "VMOE_ERR_FORMAT"; "unknown" for a number that is none. */
VMOE_API const char *vmoe_status_name(vmoe_status status);

/* ---- The model ------------------------------------------------------------------------------ */

typedef struct vmoe_model vmoe_model;

/*
 * Memory for the model and its workspaces.  `alloc` returns at least `bytes` bytes aligned to
 * `alignment` (a power of two), or NULL; `release` takes what `alloc` gave.  Memory that is aligned
 * to less is given back at once, and counts as NULL.  Both may be called from any thread that calls
 * the library, never from the library's own threads.
 */
typedef struct vmoe_allocator {
    void *(*alloc)(void *context, size_t bytes, size_t alignment);
    void (*release)(void *context, void *memory);
    void *context;
} vmoe_allocator;

enum {
    VMOE_LOAD_MMAP = 1,       /* map the file instead of reading it; see vmoe_load_file */
    VMOE_LOAD_HEADER_ONLY = 2 /* verify the header but not the weights: faster, trusts the disk */
};

typedef struct vmoe_load_options {
    uint32_t size;
    uint32_t flags;                  /* VMOE_LOAD_... */
    uint64_t max_bytes;              /* refuse models with more bytes of weights; 0: 16 GiB */
    const vmoe_allocator *allocator; /* copied; NULL: the C library */
    const int32_t *cancel; /* as that of vmoe_options; looked at before each MiB of weights */
} vmoe_load_options;

#define VMOE_LOAD_OPTIONS_INIT { sizeof(vmoe_load_options), 0, 0, NULL, NULL }

/*
 * Loads a `.vmoe` file (docs/format.md).  On success `*model` is a handle that the caller owns and
 * gives to vmoe_free; on failure it is NULL.  `options` may be NULL.  Every byte of the file is
 * verified by default; a file with a single flipped bit is refused with VMOE_ERR_CHECKSUM or
 * VMOE_ERR_FORMAT.
 *
 * With VMOE_LOAD_MMAP the weights of a raw file stay in the page cache and are shared between
 * processes.  The host then promises that nobody truncates or rewrites the file in place while
 * the model lives (a truncated mapping raises SIGBUS, which no library can prevent); replacing it
 * by rename is safe.  Compact files are always read.
 */
VMOE_API vmoe_status vmoe_load_file(const char *path, const vmoe_load_options *options,
                                    vmoe_model **model, vmoe_error *error);

/*
 * The same from memory.  The bytes are copied (or unpacked) and may be released after the call;
 * VMOE_LOAD_MMAP means that they are used in place instead: then `data` must be aligned to 64
 * bytes and must stay until vmoe_free.
 */
VMOE_API vmoe_status vmoe_load_memory(const void *data, size_t bytes,
                                      const vmoe_load_options *options, vmoe_model **model,
                                      vmoe_error *error);

/* Frees a model.  NULL is fine.  No call with this model may be running. */
VMOE_API void vmoe_free(vmoe_model *model);

/* Reads a whole file and checks every byte of it without keeping the weights in memory. */
VMOE_API vmoe_status vmoe_verify_file(const char *path, vmoe_error *error);

typedef enum vmoe_classifier {
    VMOE_CLASSIFIER_TOKEN = 1, /* a class token before the patches */
    VMOE_CLASSIFIER_GAP = 2,   /* the mean of the tokens */
    VMOE_CLASSIFIER_MAP = 3    /* a multi-head attention pooling head */
} vmoe_classifier;

typedef enum vmoe_precision {
    VMOE_PRECISION_AUTO = 0,
    VMOE_PRECISION_F32 = 1,
    VMOE_PRECISION_BF16 = 2,
    VMOE_PRECISION_INT8 = 3
} vmoe_precision;

typedef enum vmoe_gelu { VMOE_GELU_TANH = 1, VMOE_GELU_ERF = 2 } vmoe_gelu;

typedef enum vmoe_activation {
    VMOE_OUTPUT_SOFTMAX = 1, /* probabilities of exclusive classes */
    VMOE_OUTPUT_SIGMOID = 2  /* a probability for each class on its own */
} vmoe_activation;

/* Roundings of the capacity: upstream's code rounds up, the paper rounds to nearest (even). */
typedef enum vmoe_capacity_rule {
    VMOE_CAPACITY_CEIL = 1,
    VMOE_CAPACITY_ROUND = 2
} vmoe_capacity_rule;

/*
 * How a picture of any size becomes the model's input (docs/semantics.md has the arithmetic).
 * RESIZE squashes it to `side` x `side` by bilinear interpolation and truncates to uint8;
 * SMALL_CROP brings the shorter side to `side` by area averaging and crops the centre, `crop` x
 * `crop`.
 */
typedef enum vmoe_preprocessing_kind {
    VMOE_PREPROCESS_RESIZE = 1,
    VMOE_PREPROCESS_SMALL_CROP = 2
} vmoe_preprocessing_kind;

typedef struct vmoe_preprocessing {
    uint32_t kind; /* vmoe_preprocessing_kind */
    uint32_t side;
    uint32_t crop; /* SMALL_CROP only, else 0 */
} vmoe_preprocessing;

#define VMOE_MAX_LAYERS 256

/* What a model is.  `moe[i]` is 1 if block i (counted from 0) has experts. */
typedef struct vmoe_info {
    uint32_t size;
    uint32_t image_size; /* pixels, the side of the square input */
    uint32_t patch_size; /* pixels */
    uint32_t tokens;     /* an image, with the class token */
    uint32_t width;      /* D */
    uint32_t heads;
    uint32_t mlp;    /* F, the width of the MLPs and of the experts */
    uint32_t layers; /* L */
    uint32_t classes;
    uint32_t pre_logits;    /* width of the tanh layer before the head, 0 if there is none */
    uint32_t features;      /* width of what enters the head: members * (pre_logits, or width) */
    uint32_t classifier;    /* vmoe_classifier */
    uint32_t gelu;          /* vmoe_gelu */
    uint32_t output;        /* vmoe_activation */
    uint32_t experts;       /* E, 0 for a dense model */
    uint32_t moe_layers;    /* how many blocks have experts */
    uint8_t moe[VMOE_MAX_LAYERS];
    uint32_t experts_per_token; /* K, the default of calls, as are the next four */
    uint32_t group_images;      /* images that are routed together */
    double capacity;            /* C */
    uint32_t capacity_rule;     /* vmoe_capacity_rule */
    uint32_t capacity_multiple; /* the capacity is rounded up to a multiple of this */
    vmoe_preprocessing preprocessing;
    uint32_t precision; /* vmoe_precision of the stored weights */
    uint32_t compact;   /* 1 if the file is zlib-coded */
    uint32_t labels;    /* 1 if the classes have names */
    uint64_t parameters;
    uint64_t weight_bytes; /* in memory */
    uint64_t file_bytes;
    uint8_t id[16]; /* XXH3-128 of the header, which covers the weights */
    /*
     * M of an ensemble of experts, whose member m has the experts m * E / M to (m + 1) * E / M - 1;
     * 1 for other models.  Where a caller gives a vmoe_info, 0 means 1.
     */
    uint32_t members;
    uint32_t reserved;
} vmoe_info;

#define VMOE_INFO_INIT \
    { sizeof(vmoe_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, { 0 }, 0, 0, 0.0, 0, 0, \
      { 0, 0, 0 }, 0, 0, 0, 0, 0, 0, { 0 }, 0, 0 }

VMOE_API vmoe_status vmoe_get_info(const vmoe_model *model, vmoe_info *info, vmoe_error *error);

/*
 * The name of a class, UTF-8, owned by the model; "" without labels or for an index out of range.
 */
VMOE_API const char *vmoe_label(const vmoe_model *model, uint32_t class_index);

/* The free text that the importer noted about where the weights came from; owned by the model. */
VMOE_API const char *vmoe_provenance(const vmoe_model *model);

/* ---- Simple calls --------------------------------------------------------------------------- */

typedef struct vmoe_options vmoe_options;

/* One class with its probability.  `label` belongs to the model and is never NULL. */
typedef struct vmoe_class {
    uint32_t index;
    float probability;
    const char *label;
} vmoe_class;

/*
 * Decodes one JPEG, and writes the `count` most probable classes, best first, to `top`.  `options`
 * may be NULL.  `count` must be 1..classes.  If the file of the model says larger groups, one
 * picture needs `options.group_images` = 1.  JPEGs that are truncated or damaged (anything after
 * the header at which the decoder warns) are refused.  The decoder's own memory, at most 512 MiB
 * and usually less than 1, comes from malloc.
 */
VMOE_API vmoe_status vmoe_classify_jpeg(const vmoe_model *model, const void *jpeg, size_t bytes,
                                        const vmoe_options *options, vmoe_class *top, size_t count,
                                        vmoe_error *error);

/* The same for pixels: row y begins at `pixels + y * stride`; stride 0 means 3 * width. */
VMOE_API vmoe_status vmoe_classify_rgb8(const vmoe_model *model, const uint8_t *pixels,
                                        uint32_t width, uint32_t height, size_t stride,
                                        const vmoe_options *options, vmoe_class *top, size_t count,
                                        vmoe_error *error);

/*
 * The logits (images, classes) of a float tensor (images, image_size, image_size, 3) whose values
 * are x / 255 * 2 - 1, that is, in -1..1.  Zero images are fine, and then both may be NULL.
 */
VMOE_API vmoe_status vmoe_logits_f32(const vmoe_model *model, const float *tensor, size_t images,
                                     const vmoe_options *options, float *logits, vmoe_error *error);

/* ---- The dial ------------------------------------------------------------------------------- */

typedef enum vmoe_priority {
    VMOE_PRIORITY_DEFAULT = 0, /* vanilla, as upstream evaluates its checkpoints */
    VMOE_PRIORITY_VANILLA = 1, /* by position in the group */
    VMOE_PRIORITY_BPR_MAX = 2, /* by the largest gate of the token (upstream's code) */
    VMOE_PRIORITY_BPR_SUM = 3  /* by the sum of its K gates (the paper's other score) */
} vmoe_priority;

/* Instruction sets.  DEFAULT is the best that the machine has; see vmoe_isa_available. */
typedef enum vmoe_isa {
    VMOE_ISA_DEFAULT = 0,
    VMOE_ISA_REF = 1, /* portable C */
    VMOE_ISA_AVX2 = 2, /* with products of int8 */
    VMOE_ISA_AVX512 = 3,
    VMOE_ISA_AVX512_VNNI = 4, /* with products of int8 */
    VMOE_ISA_AMX = 5, /* AVX-512 with BF16 and VNNI, and tiles for bfloat16 and int8 */
    VMOE_ISA_AVX512_BF16 = 6, /* with products of bfloat16 and int8; the default on AMD alone */
    VMOE_ISA_NEON = 7,        /* of every 64-bit ARM */
    VMOE_ISA_NEON_DOT = 8,    /* with dot products of int8 */
    VMOE_ISA_NEON_I8MM = 9    /* with dot products, and matrix products of bfloat16 and int8 */
} vmoe_isa;

#define VMOE_GROUP_ALL UINT32_MAX

/* Everything that a call may choose; all zeros is a good choice. */
struct vmoe_options {
    uint32_t size;
    uint32_t experts_per_token; /* K, 1..min(E / members, 16) */
    double capacity;            /* C, > 0 and at most 64 */
    uint32_t priority;          /* vmoe_priority */
    /*
     * Images that are routed as one group and compete for the same slots.  Their number must
     * divide the images of the call.  VMOE_GROUP_ALL: all images of the call.  With 1 an image's
     * logits do not depend on its neighbours; upstream evaluated in groups of 8.
     */
    uint32_t group_images;
    uint32_t capacity_rule;     /* vmoe_capacity_rule */
    uint32_t capacity_multiple; /* 4 is upstream's; 1 makes a finer dial at low C */
    uint32_t threads;           /* 1..256; 0: as many as there are CPUs to run on */
    /*
     * The least exact arithmetic that the call permits.  F32 is strict: activations and sums stay
     * in float32 whatever the type of the stored weights.  BF16 permits activations to be rounded
     * to bfloat16 before the matrix products of the blocks, INT8 also to 8 bits with a scale and a
     * zero for each token.  AUTO permits INT8: the library takes the narrowest type that the ISA
     * multiplies fast with the stored weights, and never one narrower than they are.  Norms,
     * router, residual stream, head and probabilities are float32 always (docs/semantics.md, 4).
     * The report says what was used.
     */
    uint32_t precision;
    uint32_t isa; /* vmoe_isa; one that the machine lacks is VMOE_ERR_UNSUPPORTED */
    uint32_t reserved;
    /*
     * If not NULL, the call ends with VMOE_ERR_CANCELLED soon after `*cancel` becomes non-zero (it
     * is looked at between the stages of every layer, and before each picture).  Any thread or
     * signal handler may store to it, atomically, as the library reads it:
     *
     *     static int32_t stop;
     *     options.cancel = &stop;
     *     ...
     *     __atomic_store_n(&stop, 1, __ATOMIC_RELAXED); // elsewhere, meanwhile
     */
    const int32_t *cancel;
    /* If not NULL, called by the calling thread with the images done so far. */
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *progress_context;
    /*
     * If not NULL, the routing decisions of the call: what a vmoe_report of the same shape gave
     * in `routes`.  The choice and the drops are taken from here; the gates are still computed.
     * For comparing precisions without the discontinuity of the routing.
     */
    const int16_t *routes;
    size_t routes_length; /* elements: moe_layers * images * tokens * members * K */
};

#define VMOE_OPTIONS_INIT \
    { sizeof(vmoe_options), 0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, 0 }

/* ---- Full calls ----------------------------------------------------------------------------- */

typedef enum vmoe_picture_kind { VMOE_PICTURE_JPEG = 1, VMOE_PICTURE_RGB8 = 2 } vmoe_picture_kind;

/* One picture of any size: a JPEG file in memory, or pixels. */
typedef struct vmoe_picture {
    uint32_t kind; /* vmoe_picture_kind */
    uint32_t width, height; /* RGB8 only */
    const void *data;
    size_t bytes;  /* of data; for RGB8 at least stride * (height - 1) + 3 * width */
    size_t stride; /* RGB8: bytes from row to row; 0 means 3 * width */
} vmoe_picture;

/*
 * The images of a call.  Exactly one of the three pointers is set:
 *   pictures  `images` pictures, mixed kinds and sizes, each put through the model's preprocessing;
 *   pixels    (images, image_size, image_size, 3) uint8, already of the right size;
 *   tensor    the same shape in float32, in -1..1.
 */
typedef struct vmoe_input {
    uint32_t size;
    uint32_t reserved;
    size_t images;
    const vmoe_picture *pictures;
    const uint8_t *pixels;
    const float *tensor;
    size_t length; /* elements of pixels or tensor, to guard against shape mistakes */
} vmoe_input;

#define VMOE_INPUT_INIT { sizeof(vmoe_input), 0, 0, NULL, NULL, NULL, 0 }

typedef struct vmoe_report vmoe_report;

/*
 * Where results go: the caller's arrays, each optional, each with its exact length in elements.
 * The probabilities of an ensemble are the mean of its members', and its logits are the numbers of
 * which softmax or sigmoid makes that mean: its logarithm, or log(p / (1 - p)).
 */
typedef struct vmoe_output {
    uint32_t size;
    uint32_t reserved;
    float *logits; /* (images, classes) */
    size_t logits_length;
    float *probabilities; /* (images, classes), softmax or sigmoid as the model says */
    size_t probabilities_length;
    float *features; /* (images, features): the vector that enters the head, of each member */
    size_t features_length;
    vmoe_class *top;   /* (images, top_count), most probable first; ties to the lower index */
    size_t top_length; /* images * top_count */
    size_t top_count;  /* 1..classes */
    vmoe_report *report;
    float *member_logits; /* (images, members, classes); with one member the same as `logits` */
    size_t member_logits_length;
} vmoe_output;

#define VMOE_OUTPUT_INIT \
    { sizeof(vmoe_output), 0, NULL, 0, NULL, 0, NULL, 0, NULL, 0, 0, NULL, NULL, 0 }

/*
 * Runs the model.  `options` may be NULL.  Zero images are fine and do nothing.  Batches of any
 * size are worked through in slices, so the workspace does not grow with the number of images
 * (except by a routing group that is larger than a slice).
 */
VMOE_API vmoe_status vmoe_run(const vmoe_model *model, const vmoe_input *input,
                              const vmoe_options *options, const vmoe_output *output,
                              vmoe_error *error);

/*
 * What happened in one MoE layer, summed over the groups of the call.  In an ensemble each member
 * has tokens of its own, members * tokens for an image.
 */
typedef struct vmoe_layer_report {
    uint32_t layer; /* index of the block, from 0 */
    uint32_t reserved;
    uint64_t assigned;  /* token-expert pairs that the router chose: tokens * K */
    uint64_t processed; /* of these, the ones that found a slot */
    uint64_t dropped;   /* the others */
    uint64_t untouched; /* tokens that no expert processed: only the residual passes */
} vmoe_layer_report;

typedef enum vmoe_stage {
    VMOE_STAGE_IMAGE = 0, /* decode, resize, normalise */
    VMOE_STAGE_EMBED = 1,
    VMOE_STAGE_ATTENTION = 2, /* with its layer norm and projections */
    VMOE_STAGE_MLP = 3,       /* dense MLPs with their layer norm */
    VMOE_STAGE_ROUTING = 4,   /* layer norm before the router, gates, plan */
    VMOE_STAGE_EXPERTS = 5,   /* gather, experts, combine */
    VMOE_STAGE_HEAD = 6,
    VMOE_STAGE_COUNT = 7
} vmoe_stage;

/*
 * What a call did.  The caller may point `layers`, `load` and `routes` at arrays of its own and
 * give their lengths; the library fills them and the numbers.
 */
struct vmoe_report {
    uint32_t size;
    uint32_t isa;       /* vmoe_isa that ran */
    uint32_t precision; /* vmoe_precision of the activations in the blocks */
    uint32_t threads;
    uint32_t experts_per_token; /* K */
    uint32_t group_images;
    uint64_t groups;
    /*
     * Not C but what follows from it: slots an expert has in a group, after rounding, the same in
     * every MoE layer, because S, K, C and E are.  It may exceed the tokens of the group, as
     * upstream's does.
     */
    uint64_t capacity;
    uint64_t assigned, processed, dropped, untouched; /* sums over the MoE layers */
    /* Multiply-adds of matrix products, as papers count them; macs - macs_saved were computed. */
    uint64_t macs;
    uint64_t weight_bytes; /* of weights that had a part in the result, each counted once */
    double seconds[VMOE_STAGE_COUNT];
    double total_seconds;
    vmoe_layer_report *layers; /* one for each MoE layer */
    size_t layers_length;      /* moe_layers, or 0 */
    uint64_t *load;            /* (moe_layers, experts): pairs that each expert processed */
    size_t load_length;        /* moe_layers * experts, or 0 */
    /*
     * (moe_layers, images, tokens, members, K): the expert of the k-th choice of each token, best
     * first.  A value e >= 0 was processed by expert e; a value e < 0 was dropped by expert -1 - e.
     */
    int16_t *routes;
    size_t routes_length; /* moe_layers * images * tokens * members * K, or 0 */
    /* Of `macs`, not done, because the head reads one token: see vmoe_cost. */
    uint64_t macs_saved;
};

#define VMOE_REPORT_INIT \
    { sizeof(vmoe_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, { 0.0 }, 0.0, NULL, 0, NULL, 0, \
      NULL, 0, 0 }

/* ---- Cost ----------------------------------------------------------------------------------- */

/*
 * What a call will cost, known before it is made.  `macs` counts the multiply-adds of matrix
 * products for the most pairs that can be processed: min(S * K, E * capacity) of each group;
 * `macs_padded` is upstream's cost, which computes empty slots too; `macs_dense` is that of the
 * ViT with the same geometry and no experts.  A model with a class token needs nothing of the other
 * tokens behind the last attention, and attention of one query, that of a last block without
 * experts or of the map head, needs no keys and values: `macs_saved` is left out of `macs` for
 * that, and macs - macs_saved computed.  In an ensemble S counts the tokens of all members, `macs`
 * counts once what is computed once, and `macs_dense` is that of a single ViT.
 */
typedef struct vmoe_cost {
    uint32_t size;
    uint32_t reserved;
    uint64_t capacity; /* not C, but the slots that an expert has in a group */
    uint64_t macs, macs_padded, macs_dense;
    uint64_t weight_bytes;    /* of all weights */
    uint64_t workspace_bytes; /* of the arena that the call takes on this machine */
    uint64_t macs_saved;
} vmoe_cost;

#define VMOE_COST_INIT { sizeof(vmoe_cost), 0, 0, 0, 0, 0, 0, 0, 0 }

/*
 * The cost of a call with `images` images: a pure function of the geometry and the options, but for
 * the workspace, which depends on the machine and its CPUs, too.  `info` comes from vmoe_get_info
 * or vmoe_preset; `options` may be NULL.
 */
VMOE_API vmoe_status vmoe_get_cost(const vmoe_info *info, const vmoe_options *options,
                                   size_t images, vmoe_cost *cost, vmoe_error *error);

/*
 * The geometry of a released checkpoint by the name of its file, such as
 * "vmoe_b16_imagenet21k_randaug_strong_ft_ilsvrc2012"; weights as float32.
 */
VMOE_API vmoe_status vmoe_preset(const char *name, vmoe_info *info, vmoe_error *error);

/* The i-th preset's name, or NULL past the last. */
VMOE_API const char *vmoe_preset_name(size_t i);

/* ---- Pictures alone ------------------------------------------------------------------------- */

/*
 * The tensor before x / 255 * 2 - 1.  RESIZE writes (side, side, 3) uint8, which a call takes as
 * `pixels`.  SMALL_CROP writes (crop, crop, 3) float32 in 0..255 but for rounding, which for
 * pictures thousands of times as long as wide can be more than the last bits; a call takes them as
 * `tensor` only after x / 255 * 2 - 1.  `bytes` is the size of `out` and must be exactly that.
 */
VMOE_API vmoe_status vmoe_preprocess(const vmoe_preprocessing *preprocessing,
                                     const vmoe_picture *picture, void *out, size_t bytes,
                                     vmoe_error *error);

/* ---- Import --------------------------------------------------------------------------------- */

typedef struct vmoe_import_options {
    uint32_t size;
    uint32_t precision;  /* of the stored weights: F32, BF16 (default) or INT8 */
    const char *preset;  /* NULL, or the name of a released checkpoint (vmoe_preset_name) that
                            the source is, or was fine-tuned from; the fields below override it */
    uint32_t compact;    /* 0, or 1: zlib-coded, smaller, slower to load */
    uint32_t experts_per_token; /* K; default 2, or E / members if that is less */
    double capacity;            /* C; default 1.05 */
    uint32_t capacity_rule;     /* default CEIL */
    uint32_t capacity_multiple; /* default 4 */
    uint32_t group_images;      /* default 1; calls must bring multiples of it, or choose another */
    uint32_t gelu;              /* default TANH */
    uint32_t output;            /* default SOFTMAX */
    vmoe_preprocessing preprocessing; /* default RESIZE to the model's image size */
    uint32_t image_size; /* resize the position embeddings to this input; default: as stored */
    uint32_t label_count;      /* `classes`, or 0 */
    const char *const *labels; /* UTF-8 */
    const char *provenance;    /* free text, or NULL for the source's file name, followed by what
                                  was left of a training state */
    /* If not NULL, called with the bytes written so far; a non-zero answer cancels the import. */
    int (*progress)(void *context, uint64_t done, uint64_t total);
    void *progress_context;
} vmoe_import_options;

#define VMOE_IMPORT_OPTIONS_INIT \
    { sizeof(vmoe_import_options), 0, NULL, 0, 0, 0.0, 0, 0, 0, 0, 0, { 0, 0, 0 }, 0, 0, NULL, \
      NULL, NULL, NULL }

/*
 * Writes `destination`, a `.vmoe` file, from a foreign checkpoint: `source` is the prefix of
 * google-research/vmoe's shards (PREFIX.index, PREFIX.data-00000-of-0000N), or a `.npz` of
 * vision_transformer, or a `.safetensors` file with the names of either.  The parameters may stand
 * at the root or under `params` or `target`.  Every array must be there in full; NaN or infinite
 * weights are refused.  The destination appears complete or not at all; an existing file is
 * replaced only by a complete one, with its rights, and never if it is one of the source.  Where an
 * error says that the file is complete, only its folder could not be flushed to the disk.  Memory
 * is that of the largest tensor in float32, two to three times.  `options` may be NULL.
 *
 * Routers of the shape (width, members, E / members) make an ensemble of experts.  They may also be
 * stored as (width, E); then only the preset tells that there are several members.
 *
 * An import to INT8 also evens out channels that are far larger than others, between the layer
 * norms of the blocks and the matrices behind them, by powers of two, which leaves the function as
 * it is (docs/semantics.md, section 4); it reads those matrices twice.
 */
VMOE_API vmoe_status vmoe_import(const char *source, const char *destination,
                                 const vmoe_import_options *options, vmoe_error *error);

/* ---- The machine and the limits ------------------------------------------------------------- */

/* The name of an ISA as the command line spells it ("ref", "avx2", "neon-dot", ...), or NULL. */
VMOE_API const char *vmoe_isa_name(uint32_t isa);

/* 1 if this machine can run it.  VMOE_ISA_DEFAULT asks nothing and answers 1. */
VMOE_API int vmoe_isa_available(uint32_t isa);

/*
 * The ISA that VMOE_ISA_DEFAULT means here.  A model finds it when it is loaded, and keeps it; on
 * a CPU with AMX that asks Linux to lend the process its tile registers.
 */
VMOE_API uint32_t vmoe_isa_default(void);

/*
 * The compiled-in limits; anything larger is VMOE_ERR_LIMIT.  Only a C that is out of range, and a
 * K of a call, are VMOE_ERR_ARGUMENT at either end.
 */
typedef struct vmoe_limits {
    uint32_t size;
    uint32_t layers, heads, experts, experts_per_token, width, mlp, classes;
    uint32_t image_size, tokens, group_tokens, threads;
    double capacity;
    uint64_t file_bytes, header_bytes, tensors, label_bytes;
    uint64_t jpeg_bytes, picture_side, picture_pixels, jpeg_scans;
    uint64_t import_index_bytes, import_shards;
    uint64_t members;
} vmoe_limits;

#define VMOE_LIMITS_INIT \
    { sizeof(vmoe_limits), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

VMOE_API vmoe_status vmoe_get_limits(vmoe_limits *limits, vmoe_error *error);

#ifdef __cplusplus
}
#endif

#endif
