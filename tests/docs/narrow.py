"""Checkpoints with the names, the form and the inputs of the released ones, but narrow and of zeros.

They show that the commands of the documentation do what it says, with files of some hundred KB.
"""

import struct

# name: pixels, patch, classes, pre_logits, blocks, those with experts
RELEASED = {
    "vmoe_s32_last2_ilsvrc2012_randaug_light1": (224, 32, 1000, 16, 8, (5, 7)),
    "vmoe_s32_last2_ilsvrc2012_randaug_medium": (224, 32, 1000, 16, 8, (5, 7)),
    "vmoe_s32_last2_ilsvrc2012_randaug_light1_ft_ilsvrc2012": (384, 32, 1000, 0, 8, (5, 7)),
    "vmoe_b16_imagenet21k_randaug_strong": (224, 16, 21843, 0, 12, (1, 3, 5, 7, 9, 11)),
    "vmoe_b16_imagenet21k_randaug_strong_ft_ilsvrc2012": (384, 16, 1000, 0, 12, (1, 3, 5, 7, 9, 11)),
}
WIDTH, HEADS, MLP, EXPERTS = 16, 4, 24, 8


class Extension(bytes):
    """The payload of an extension type of msgpack; `code` is its number."""

    def __new__(cls, code, payload):
        made = super().__new__(cls, payload)
        made.code = code
        return made


def pack(value):
    """A value as msgpack, every length in four bytes."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return struct.pack(">Bq", 0xD3, value)
    if isinstance(value, Extension):
        return struct.pack(">BIB", 0xC9, len(value), value.code) + value
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xC6, len(value)) + value
    if isinstance(value, str):
        return struct.pack(">BI", 0xDB, len(value.encode())) + value.encode()
    if isinstance(value, dict):
        return struct.pack(">BI", 0xDF, len(value)) + b"".join(
            pack(name) + pack(item) for name, item in value.items())
    return struct.pack(">BI", 0xDD, len(value)) + b"".join(map(pack, value))


def linear(*shape, bias):
    return {"kernel": shape, "bias": bias}


def norm():
    return {"scale": (WIDTH,), "bias": (WIDTH,)}


def shapes(pixels, patch, classes, pre_logits, blocks, moe):
    """The tree of arrays, each as its shape."""
    head = (HEADS, WIDTH // HEADS)
    encoder = {
        "encoder_norm": norm(),
        "posembed_input": {"pos_embedding": (1, (pixels // patch) ** 2 + 1, WIDTH)},
    }
    for i in range(blocks):
        attention = {name: linear(WIDTH, *head, bias=head) for name in ("query", "key", "value")}
        attention["out"] = linear(*head, WIDTH, bias=(WIDTH,))
        block = {"LayerNorm_0": norm(), "LayerNorm_1": norm(), "SelfAttention": attention}
        many = (EXPERTS,) if i in moe else ()
        mlp = {"Dense_0": linear(*many, WIDTH, MLP, bias=(*many, MLP)),
               "Dense_1": linear(*many, MLP, WIDTH, bias=(*many, WIDTH))}
        if many:
            block["Moe"] = {"Mlp": mlp, "Router": {"dense": {"kernel": (WIDTH, EXPERTS)}}}
        else:
            block["Mlp"] = mlp
        encoder[f"encoderblock_{i}"] = block
    tree = {"Encoder": encoder, "cls": (1, 1, WIDTH)}
    tree["embedding"] = linear(patch, patch, 3, WIDTH, bias=(WIDTH,))
    tree["head"] = linear(pre_logits or WIDTH, classes, bias=(classes,))
    if pre_logits:
        tree["pre_logits"] = linear(WIDTH, pre_logits, bias=(pre_logits,))
    return tree


def number_leaves(tree, leaves):
    """The index of the checkpoint; shapes are appended to `leaves` in the order of their numbers."""
    if isinstance(tree, tuple):
        leaves.append(tree)
        whole = pack([pack([0, size, 1]) for size in tree])
        return Extension(8, pack([pack([tree, "float32", False, {}]), [whole], [0]]))
    return {name: number_leaves(tree[name], leaves) for name in sorted(tree)}


def write(folder, name):
    """Writes a released checkpoint into a folder, as one shard."""
    leaves = []
    index = {"shard_count": 1, "version": "20220622",
             "index": number_leaves(shapes(*RELEASED[name]), leaves)}
    shard = {"__msgpack_array_chunk_a87ca2__": True}
    for number, shape in enumerate(leaves):
        count = 1
        for size in shape:
            count *= size
        flat = Extension(1, pack([[count], "float32", bytes(4 * count)]))
        whole = Extension(6, pack([pack([0, size, 1]) for size in shape]))
        shard[str(number)] = [[[flat], whole]]
    (folder / f"{name}.index").write_bytes(pack(index))
    (folder / f"{name}.data-00000-of-00001").write_bytes(pack(shard))
