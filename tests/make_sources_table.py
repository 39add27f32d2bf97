#!/usr/bin/env python3
"""Writes tests/data/sources.tsv, tests/data/types*.npz and types.safetensors for test_sources.c.

    tests/make_sources_table.py GOLDEN_FOLDER

The table has the CRC-32 of the float32 bytes of every array of the golden checkpoints, as numpy and
msgpack-python see them.  The row "*" of a source holds the number of its arrays and the CRC-32 of
all of them one behind the other, in the order of their names; most sources have only that row.
"""
import json
import os
import struct
import sys
import zlib

import msgpack
import numpy as np

SHARDS = [("models/token/model", True), ("models/odd/model", True), ("models/last2/model", True),
          ("models/gap/model", False), ("models/map/model", False), ("e3/model", False),
          ("../demo/model", False), ("../demo/dense", False)]
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")


def floats(array):
    return np.ascontiguousarray(array).astype("<f4")


def unpack(data):
    return msgpack.unpackb(data, ext_hook=extension, strict_map_key=False, max_bin_len=2**31 - 1)


def box(data):
    return tuple(slice(*msgpack.unpackb(part)) for part in msgpack.unpackb(data))


def extension(code, data):
    if code == 1:
        shape, name, raw = msgpack.unpackb(data, max_bin_len=2**31 - 1)
        if name == "bfloat16":
            wide = np.frombuffer(raw, "<u2").astype("<u4") << 16
            return wide.view("<f4").reshape(shape)
        return np.frombuffer(raw, np.dtype(name).newbyteorder("<")).reshape(shape)
    if code == 6:
        return box(data)
    if code == 8:
        shape, slices, shards = msgpack.unpackb(data)
        return tuple(msgpack.unpackb(shape)[0])
    raise ValueError(code)


def leaves(tree, path=()):
    for key in sorted(tree):
        if isinstance(tree[key], dict):
            yield from leaves(tree[key], path + (key,))
        else:
            yield "/".join(path + (key,)), tree[key]


def read_shards(prefix):
    with open(prefix + ".index", "rb") as file:
        index = unpack(file.read())
    arrays = [(name, np.full(shape, np.nan)) for name, shape in leaves(index["index"])]
    for shard in range(index["shard_count"]):
        with open("%s.data-%05d-of-%05d" % (prefix, shard, index["shard_count"]), "rb") as file:
            chunks = unpack(file.read())
        for key, value in chunks.items():
            if key.startswith("__"):
                continue
            target = arrays[int(key)][1]
            for pieces, where in value:
                target[where] = np.concatenate(pieces).reshape(target[where].shape)
    assert not any(np.isnan(array).any() for _, array in arrays)
    return dict(arrays)


def rows(name, arrays, each):
    total = 0
    for key in sorted(arrays, key=str.encode):
        raw = floats(arrays[key]).tobytes()
        total = zlib.crc32(raw, total)
        if each:
            shape = ",".join(str(size) for size in arrays[key].shape)
            yield "%s\t%s\t%s\t%08x" % (name, key, shape or "-", zlib.crc32(raw))
    yield "%s\t*\t%d\t%08x" % (name, len(arrays), total)


TAGS = {"V2": "BF16", "b1": "BOOL", **{"f%d" % n: "F%d" % (8 * n) for n in (2, 4, 8)},
        **{k + str(n): "%s%d" % (k.upper(), 8 * n) for n in (1, 2, 4, 8) for k in "iu"}}


def write_safetensors(name, arrays):
    header, data = {"__metadata__": {"format": "np"}}, b""
    for key in sorted(arrays, key=lambda key: (-arrays[key].itemsize, key)):
        array = arrays[key]
        header[key] = {"dtype": TAGS[array.dtype.str[1:]], "shape": list(array.shape),
                       "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(HERE, name), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def write_types():
    """One array of every type; those of bfloat16 are raw pairs of bytes, as numpy writes them."""
    random = np.random.default_rng(7)
    normal = random.normal(size=(5, 7, 3))
    arrays = {"float/f%d" % (8 * n): normal.astype("<f%d" % n) for n in (2, 4, 8)}
    for n in (1, 2, 4, 8):
        for kind in "iu":
            limits = np.iinfo("%s%d" % (kind, n))
            values = random.integers(limits.min, limits.max, size=(11, 2), dtype=limits.dtype)
            values[0] = limits.min, limits.max
            arrays["%s%d" % (kind, 8 * n)] = values
    arrays["flags"] = normal > 0
    arrays["halves"] = np.arange(0, 65536, 97, dtype="<u2")
    arrays["halves"] = arrays["halves"][(arrays["halves"] >> 10 & 31) != 31].view("<f2")
    arrays["scalar"] = np.float32(2.5)
    arrays["vector"] = (np.arange(20000) // 70).astype("<f4")
    raw = {**arrays, "bf16": (floats(normal).view("<u4") >> 16).astype("<u2").view("V2")}
    np.savez_compressed(os.path.join(HERE, "types_deflated.npz"), **raw)
    del raw["vector"]
    np.savez(os.path.join(HERE, "types_stored.npz"), **raw)
    write_safetensors("types.safetensors", {key: np.asarray(raw[key]) for key in raw})
    arrays["bf16"] = (floats(normal).view("<u4") >> 16 << 16).view("<f4")
    return arrays


def main():
    golden = sys.argv[1]
    os.makedirs(HERE, exist_ok=True)
    lines = ["source\tname\tshape\tcrc32"]
    for name, each in SHARDS:
        lines += rows(name, read_shards(os.path.join(golden, name)), each)
    with np.load(os.path.join(golden, "dense/vit.npz")) as file:
        lines += rows("dense/vit.npz", dict(file), True)
    types = write_types()
    lines += rows("types_deflated.npz", types, True)
    del types["vector"]
    lines += rows("types_stored.npz", types, True)
    lines += rows("types.safetensors", types, True)
    with open(os.path.join(HERE, "sources.tsv"), "w") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
