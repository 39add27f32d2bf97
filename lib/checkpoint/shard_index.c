/*
 * PREFIX.index: {"shard_count": n, "index": tree, "version": text}.  The tree is maps in maps; a
 * leaf tells shape, type and slices of an array, and the shard of each slice.
 *
 * The leaves are numbered in depth-first order with the keys of every map sorted.  While the tree
 * is read, the keys on a path are joined by a byte below all characters, so that comparing the
 * joined paths gives just that order; afterwards the byte becomes a slash.
 */
#include "checkpoint/shards.h"

#include <string.h>

#include "checkpoint/heapsort.h"

#define SEPARATOR '\1'
#define VERSION "20220622"

/* Every key of the tree, branches too, so that duplicates show. */
struct node {
    uint32_t name; /* where it begins in `names` */
    uint32_t leaf; /* its place in `arrays` and `leaves`, or one of these: */
};

#define BRANCH UINT32_MAX             /* a map, or nil, which stands for an empty one */
#define NOT_AN_ARRAY (UINT32_MAX - 1) /* a leaf with a number, but without elements */

struct index {
    struct vmoe_msgpack *reader;
    struct vmoe_shards *shards;
    struct vmoe_list nodes;  /* struct node */
    struct vmoe_list names;  /* char */
    struct vmoe_list arrays; /* struct vmoe_array, in the order of the file */
    struct vmoe_list leaves; /* struct vmoe_shards_leaf, likewise */
    char path[VMOE_LIMIT_NAME_BYTES + 1]; /* of the value being read */
    uint64_t tree;                        /* where the tree begins */
    bool has_tree, has_version;
};

static void *add(struct index *index, struct vmoe_list *list, uint64_t count)
{
    void *items = vmoe_list_add(list, count);

    if (items == NULL)
        vmoe_msgpack_fail(index->reader, VMOE_ERR_MEMORY, "no memory for the index");
    return items;
}

/* ---- The document --------------------------------------------------------------------------- */

static void read_shard_count(struct index *index)
{
    uint64_t count = vmoe_msgpack_unsigned(index->reader);

    if (count == 0)
        vmoe_msgpack_fail(index->reader, VMOE_ERR_FORMAT, "the shard_count is 0");
    if (count > VMOE_LIMIT_SHARDS)
        vmoe_msgpack_fail(index->reader, VMOE_ERR_LIMIT, "the shard_count is %llu, the limit is %u",
                          (unsigned long long)count, VMOE_LIMIT_SHARDS);
    index->shards->shard_count = (uint32_t)count;
}

static void read_version(struct index *index)
{
    char version[32];

    vmoe_msgpack_text(index->reader, version, sizeof version);
    if (strcmp(version, VERSION) != 0)
        vmoe_msgpack_fail(index->reader, VMOE_ERR_VERSION,
                          "the index has version \"%s\", expected " VERSION " or none", version);
    index->has_version = true;
}

/* The tree waits until version and shard_count are known, for they may come after it. */
static void read_root(struct index *index)
{
    struct vmoe_msgpack *reader = index->reader;
    uint64_t pairs = vmoe_msgpack_map(reader);

    for (uint64_t i = 0; i < pairs && reader->status == VMOE_OK; i++) {
        char key[32];

        vmoe_msgpack_text(reader, key, sizeof key);
        if (strcmp(key, "shard_count") == 0 && index->shards->shard_count == 0) {
            read_shard_count(index);
        } else if (strcmp(key, "version") == 0 && !index->has_version) {
            read_version(index);
        } else if (strcmp(key, "index") == 0 && !index->has_tree) {
            index->tree = reader->offset;
            index->has_tree = true;
            vmoe_msgpack_skip(reader);
        } else {
            vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT,
                              "the key \"%s\" is unknown or comes twice", key);
        }
    }
    vmoe_msgpack_leave(reader);
    if (reader->offset != reader->file->size)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "bytes follow the index from byte %llu on",
                          (unsigned long long)reader->offset);
    if (!index->has_tree || index->shards->shard_count == 0)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "the index has no shard_count or no tree");
}

/* ---- The tree ------------------------------------------------------------------------------- */

static void read_pairs(struct index *index, size_t length, uint64_t pairs);

/* The inside of an index info, which describes an array. */
static uint32_t read_array(struct index *index, uint64_t bytes)
{
    struct vmoe_array *array = add(index, &index->arrays, 1);
    struct vmoe_shards_leaf *leaf = add(index, &index->leaves, 1);

    if (array == NULL || leaf == NULL)
        return BRANCH;
    vmoe_shards_read_leaf(index->shards, index->reader, bytes, array, leaf);
    return (uint32_t)index->leaves.count - 1;
}

/* A value of the tree whose path is known: a branch, an array, or something to step over. */
static uint32_t read_value(struct index *index, size_t length)
{
    struct vmoe_msgpack *reader = index->reader;
    struct vmoe_msgpack_head head = vmoe_msgpack_next(reader);

    switch (head.kind) {
    case VMOE_MSGPACK_MAP:
        vmoe_msgpack_enter(reader);
        read_pairs(index, length, head.number);
        vmoe_msgpack_leave(reader);
        return BRANCH;
    case VMOE_MSGPACK_NIL: return BRANCH;
    case VMOE_MSGPACK_EXT:
        if (head.type == VMOE_SHARDS_INDEX_INFO)
            return read_array(index, head.number);
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "found an ext value of type %d, expected %d",
                          head.type, VMOE_SHARDS_INDEX_INFO);
        return BRANCH;
    case VMOE_MSGPACK_ARRAY:
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "found a list in the tree of names");
        return BRANCH;
    default: vmoe_msgpack_skip_rest(reader, head); return NOT_AN_ARRAY;
    }
}

/* The pairs of a map, at the path that the first `length` characters of `path` are. */
static void read_pairs(struct index *index, size_t length, uint64_t pairs)
{
    struct vmoe_msgpack *reader = index->reader;

    if (length > 0)
        index->path[length++] = SEPARATOR;
    if (pairs > 0 && length >= VMOE_LIMIT_NAME_BYTES)
        vmoe_msgpack_fail(reader, VMOE_ERR_LIMIT, "a name is longer than %u bytes",
                          VMOE_LIMIT_NAME_BYTES);
    for (uint64_t i = 0; i < pairs && reader->status == VMOE_OK; i++) {
        const uint64_t at = index->nodes.count;
        size_t bytes, name = (size_t)index->names.count;
        uint32_t leaf;

        bytes = length + 1 +
                vmoe_msgpack_text(reader, index->path + length, sizeof index->path - length);
        if (at == VMOE_LIMIT_IMPORT_ARRAYS)
            vmoe_msgpack_fail(reader, VMOE_ERR_LIMIT, "the tree has more than %u names",
                              VMOE_LIMIT_IMPORT_ARRAYS);
        if (add(index, &index->nodes, 1) == NULL || add(index, &index->names, bytes) == NULL)
            return;
        memcpy((char *)index->names.items + name, index->path, bytes);
        leaf = read_value(index, bytes - 1);
        ((struct node *)index->nodes.items)[at] = (struct node){ (uint32_t)name, leaf };
    }
}

/* ---- Order ---------------------------------------------------------------------------------- */

static const char *name_of(const struct index *index, uint32_t node)
{
    const struct node *nodes = index->nodes.items;

    return (const char *)index->names.items + nodes[node].name;
}

static int compare_nodes(const void *context, uint32_t a, uint32_t b)
{
    return strcmp(name_of(context, a), name_of(context, b));
}

/* Fails if two nodes, sorted by their names, have the same. */
static vmoe_status check_names(const struct index *index, const uint32_t *order, size_t count,
                               vmoe_error *error)
{
    for (size_t i = 1; i < count; i++)
        if (compare_nodes(index, order[i - 1], order[i]) == 0)
            return vmoe_fail(error, VMOE_ERR_FORMAT, index->shards->path,
                             "the name \"%s\" comes twice", name_of(index, order[i]));
    return VMOE_OK;
}

/*
 * Numbers the leaves: `numbered` gets the arrays in the order of the paths, each by its place in
 * the file, and `order`, which has room for all nodes, gets the nodes that are arrays.
 */
static vmoe_status number_leaves(struct index *index, uint32_t *order, size_t *arrays,
                                 vmoe_error *error)
{
    struct vmoe_shards *shards = index->shards;
    const struct node *nodes = index->nodes.items;
    const size_t count = (size_t)index->nodes.count;
    vmoe_status status;

    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    vmoe_heapsort(order, count, compare_nodes, index);
    status = check_names(index, order, count, error);
    *arrays = 0;
    for (size_t i = 0; i < count && status == VMOE_OK; i++) {
        uint32_t leaf = nodes[order[i]].leaf;

        if (leaf == BRANCH)
            continue;
        shards->numbered[shards->numbers++] = leaf == NOT_AN_ARRAY ? VMOE_SHARDS_NO_ARRAY : leaf;
        if (leaf != NOT_AN_ARRAY)
            order[(*arrays)++] = order[i];
    }
    return status;
}

/*
 * Puts the `count` arrays of `order` into the order of their final names, and `numbered` right.
 * `place` has room for all arrays.
 */
static vmoe_status sort_arrays(struct index *index, uint32_t *order, size_t count, uint32_t *place,
                               vmoe_error *error)
{
    struct vmoe_shards *shards = index->shards;
    const struct node *nodes = index->nodes.items;
    const struct vmoe_array *arrays = index->arrays.items;
    const struct vmoe_shards_leaf *leaves = index->leaves.items;
    char *names = index->names.items;
    vmoe_status status;

    for (size_t i = 0; i < index->names.count; i++)
        if (names[i] == SEPARATOR)
            names[i] = '/';
    vmoe_heapsort(order, count, compare_nodes, index);
    status = check_names(index, order, count, error);
    if (status != VMOE_OK)
        return status;
    for (uint32_t i = 0; i < count; i++) {
        const struct node *node = &nodes[order[i]];

        shards->arrays[i] = arrays[node->leaf];
        shards->arrays[i].name = names + node->name;
        shards->leaves[i] = leaves[node->leaf];
        place[node->leaf] = i;
    }
    for (uint32_t i = 0; i < shards->numbers; i++)
        if (shards->numbered[i] != VMOE_SHARDS_NO_ARRAY)
            shards->numbered[i] = place[shards->numbered[i]];
    shards->source.count = count;
    shards->source.arrays = shards->arrays;
    shards->names = names;
    index->names.items = NULL;
    return VMOE_OK;
}

/* The counts are at most VMOE_LIMIT_IMPORT_ARRAYS. */
static vmoe_status keep_arrays(struct index *index, vmoe_error *error)
{
    struct vmoe_shards *shards = index->shards;
    const vmoe_allocator *allocator = shards->allocator;
    const uint64_t nodes = index->nodes.count, arrays = index->arrays.count;
    uint32_t *order = vmoe_memory_take(allocator, (nodes + arrays) * sizeof *order);
    size_t count;
    vmoe_status status;

    shards->numbered = vmoe_memory_take(allocator, nodes * sizeof *shards->numbered);
    shards->arrays = vmoe_memory_take(allocator, arrays * sizeof *shards->arrays);
    shards->leaves = vmoe_memory_take(allocator, arrays * sizeof *shards->leaves);
    if (order == NULL || shards->numbered == NULL || shards->arrays == NULL ||
        shards->leaves == NULL)
        status = vmoe_fail(error, VMOE_ERR_MEMORY, shards->path, "no memory for %llu names",
                           (unsigned long long)nodes);
    else
        status = number_leaves(index, order, &count, error);
    if (status == VMOE_OK)
        status = sort_arrays(index, order, count, order + nodes, error);
    vmoe_memory_release(allocator, order);
    return status;
}

/* ---- All together --------------------------------------------------------------------------- */

static vmoe_status read_document(struct index *index, const struct vmoe_file *file,
                                 vmoe_error *error)
{
    struct vmoe_msgpack reader;

    index->reader = &reader;
    vmoe_msgpack_init(&reader, file, index->shards->path, 0, error);
    if (file->size > VMOE_LIMIT_INDEX_BYTES)
        vmoe_msgpack_fail(&reader, VMOE_ERR_LIMIT, "the index has %llu bytes, the limit is %llu",
                          (unsigned long long)file->size,
                          (unsigned long long)VMOE_LIMIT_INDEX_BYTES);
    read_root(index);
    if (reader.status == VMOE_OK) {
        vmoe_msgpack_init(&reader, file, index->shards->path, index->tree, error);
        read_pairs(index, 0, vmoe_msgpack_map(&reader));
    }
    index->reader = NULL;
    return reader.status;
}

vmoe_status vmoe_shards_read_index(struct vmoe_shards *shards, vmoe_error *error)
{
    struct index index = {
        .shards = shards,
        .nodes = VMOE_LIST(struct node, shards->allocator),
        .names = VMOE_LIST(char, shards->allocator),
        .arrays = VMOE_LIST(struct vmoe_array, shards->allocator),
        .leaves = VMOE_LIST(struct vmoe_shards_leaf, shards->allocator),
    };
    struct vmoe_file file = VMOE_FILE_CLOSED;
    vmoe_error reason = VMOE_ERROR_INIT;
    vmoe_status status;

    /* Whatever has no suffix of its own comes here, folders of other programs too. */
    status = vmoe_file_open(shards->path, &file, &reason);
    if (status != VMOE_OK)
        vmoe_fail(error, status, shards->path,
                  "%s; a source is an .npz or .safetensors file, or the prefix of PREFIX.index "
                  "and PREFIX.data-00000-of-0000N, and no Orbax folder",
                  reason.text);
    else
        status = read_document(&index, &file, error);
    vmoe_file_close(&file);
    if (status == VMOE_OK)
        status = keep_arrays(&index, error);
    if (status == VMOE_OK)
        status = vmoe_shards_check_slices(shards, error);
    vmoe_list_free(&index.nodes);
    vmoe_list_free(&index.names);
    vmoe_list_free(&index.arrays);
    vmoe_list_free(&index.leaves);
    return status;
}
