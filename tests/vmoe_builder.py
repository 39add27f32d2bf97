#!/usr/bin/env python3
"""Builds small `.vmoe` files from docs/format.md, for tests and fixtures.

`build(config, tensors)` gives the bytes of a file, `expected(config, tensors)` what a reader must
find in it.  `items` and `assemble` are its two halves, for tests that change what lies between, and
`sign` makes a changed file consistent again.  As a program it writes FIXTURES into a directory.
It shares no layout code with second_reader.py, so that the two can disagree.
"""

from __future__ import annotations

import struct
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import numpy as np

from xxh3 import xxh3_64, xxh3_128

Config = dict[str, Any]
Tensors = dict[str, np.ndarray]
# Takes the bytes of a chunk and the width of its numbers; gives the coding and the stored bytes.
Coder = Callable[[bytes, int], "tuple[int, bytes]"]

F32, BF16, INT8, INT32 = 1, 2, 3, 4
CHUNK = 1048576
FIELDS = """image_size patch_size width heads mlp layers classes pre_logits classifier gelu output
    experts experts_per_token group_images capacity_rule capacity_multiple preprocessing_kind
    preprocessing_side preprocessing_crop precision compact labels members""".split()


@dataclass
class Item:
    """A tensor as it goes into the file, not yet cut into chunks."""

    name: str
    precision: int
    packed: int
    rows: int
    columns: int
    data: bytes

    @property
    def width(self) -> int:
        return {F32: 4, BF16: 2, INT8: 1, INT32: 4}[self.precision]


@dataclass
class Places:
    """Where the parts of a file begin, and the (offset, stored bytes) of every chunk."""

    config: int
    strings: int
    directory: int
    table: int
    header_end: int
    chunks: list[tuple[int, int]]


def make_config(**changes: Any) -> Config:
    """A tiny model with experts in its second block; no size is a multiple of a padding."""
    config = dict(
        image_size=12, patch_size=4, width=21, heads=3, mlp=37, layers=2, classes=5, pre_logits=0,
        classifier=1, gelu=1, output=1, experts=3, experts_per_token=2, group_images=1,
        capacity_rule=1, capacity_multiple=1, preprocessing_kind=1, preprocessing_side=12,
        preprocessing_crop=0, precision=F32, compact=0, labels=0, members=0, capacity=1.5, moe=[1],
    )
    assert set(changes) <= set(config), "unknown field"
    config.update(changes)
    if config["experts"] == 0:
        config.update(experts_per_token=0, group_images=0, capacity_rule=0, capacity_multiple=0,
                      capacity=0.0, moe=[])
    return config


def tensor_list(config: Config) -> list[tuple[str, int, int, str]]:
    """Name, rows, columns and kind ("array", "matrix" or "gentle matrix") before any int8 scale and sum."""
    d, f = config["width"], config["mlp"]
    tokens = (config["image_size"] // config["patch_size"]) ** 2
    out: list[tuple[str, int, int, str]] = []

    def array(name: str, rows: int = 1, columns: int = d) -> None:
        out.append((name, rows, columns, "array"))

    def linear(name: str, rows: int, columns: int, kind: str = "matrix") -> None:
        out.append((name + ".weight", rows, columns, kind))
        array(name + ".bias", 1, columns)

    def norm(name: str) -> None:
        array(name + ".scale")
        array(name + ".bias")

    gentle = "gentle matrix"
    linear("embedding", config["patch_size"] * config["patch_size"] * 3, d, gentle)
    if config["classifier"] == 1:
        array("cls")
        tokens += 1
    array("position", tokens)
    for i in range(config["layers"]):
        norm(f"block.{i}.norm_0")
        linear(f"block.{i}.attention.qkv", d, 3 * d)
        linear(f"block.{i}.attention.out", d, d)
        norm(f"block.{i}.norm_1")
        if i in config["moe"]:
            array(f"block.{i}.router", d, config["experts"])
            for e in range(config["experts"]):
                linear(f"block.{i}.expert.{e}.fc1", d, f)
                linear(f"block.{i}.expert.{e}.fc2", f, d)
        else:
            linear(f"block.{i}.mlp.fc1", d, f)
            linear(f"block.{i}.mlp.fc2", f, d)
    norm("norm")
    if config["classifier"] == 3:
        array("map.probe")
        linear("map.query", d, d, gentle)
        linear("map.key_value", d, 2 * d, gentle)
        linear("map.out", d, d, gentle)
        norm("map.norm")
        linear("map.mlp.fc1", d, f, gentle)
        linear("map.mlp.fc2", f, d, gentle)
    features = d
    if config["pre_logits"]:
        features = config["pre_logits"]
        linear("pre_logits", d, features, gentle)
    linear("head", features, config["classes"], gentle)
    return out


def random_tensors(config: Config, seed: int = 1) -> Tensors:
    """Normal values; the compact files take multiples of 1/8, which zlib can shorten."""
    random = np.random.default_rng(seed)
    tensors = {}
    for name, rows, columns, _ in tensor_list(config):
        values = random.standard_normal((rows, columns), np.float32)
        if config["compact"]:
            values = np.round(8 * values) / np.float32(8)
        tensors[name] = values
    return tensors


def to_bf16(values: np.ndarray) -> np.ndarray:
    """The upper halves of finite numbers, rounded to nearest even, as uint16."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    odd = bits >> np.uint32(16) & np.uint32(1)
    return (bits + np.uint32(0x7FFF) + odd >> np.uint32(16)).astype(np.uint16)


def to_int8(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The int8 numbers and the scale of each column."""
    largest = np.abs(values).max(axis=0, keepdims=True)
    scale = np.where(largest > 0, largest / np.float32(127), np.float32(1)).astype(np.float32)
    return np.clip(np.rint(values / scale), -127, 127).astype(np.int8), scale


def pack(numbers: np.ndarray) -> bytes:
    """A matrix of uint32 or float32, uint16 or int8 in the packed layout."""
    rows, columns = numbers.shape
    g = 4 // numbers.itemsize
    b = 16 * g
    blocks, panels = -(-rows // b), -(-columns // 32)
    k = np.arange(rows)[:, None]
    n = np.arange(columns)[None, :]
    line = ((((n // 32) * blocks + k // b) * 2 + n % 32 // 16) * 16 + k % b // g) * 16 * g
    packed = np.zeros(panels * 32 * blocks * b, numbers.dtype.newbyteorder("<"))
    packed[line + n % 16 * g + k % g] = numbers
    return packed.tobytes()


def items(config: Config, tensors: Tensors) -> list[Item]:
    """The tensors in the order of the file, with their bytes before coding."""
    out = []
    for name, rows, columns, kind in tensor_list(config):
        values = np.ascontiguousarray(tensors[name], np.float32)
        assert values.shape == (rows, columns), name
        precision = config["precision"] if kind != "array" else F32
        if kind == "gentle matrix" and precision == INT8:
            precision = BF16
        if kind == "array":
            out.append(Item(name, F32, 0, rows, columns, values.astype("<f4").tobytes()))
        elif precision == F32:
            out.append(Item(name, F32, 1, rows, columns, pack(values)))
        elif precision == BF16:
            out.append(Item(name, BF16, 1, rows, columns, pack(to_bf16(values))))
        else:
            numbers, scale = to_int8(values)
            out.append(Item(name, INT8, 1, rows, columns, pack(numbers)))
            out.append(Item(name + "_scale", F32, 0, 1, columns, scale.astype("<f4").tobytes()))
            sums = numbers.astype(np.int32).sum(axis=0, dtype=np.int32)
            out.append(Item(name + "_sum", INT32, 0, 1, columns, sums.astype("<i4").tobytes()))
    return out


def expected(config: Config, tensors: Tensors) -> Tensors:
    """What a reader finds: the values after rounding, and the scales and sums of int8 matrices."""
    out = {}
    for item in items(config, tensors):
        values = tensors.get(item.name)
        if item.precision == BF16:
            values = (to_bf16(values).astype(np.uint32) << np.uint32(16)).view(np.float32)
        elif item.precision == INT8:
            numbers, scale = to_int8(values)
            values = numbers.astype(np.float32) * scale
        elif values is None:
            values = np.frombuffer(item.data, "<i4" if item.precision == INT32 else "<f4")
            values = values.reshape(item.rows, item.columns)
        out[item.name] = values
    return out


def planes(chunk: bytes, width: int) -> bytes:
    return b"".join(chunk[p::width] for p in range(width))


def raw_coder(chunk: bytes, width: int) -> tuple[int, bytes]:
    return 0, chunk


def zlib_coder(chunk: bytes, width: int) -> tuple[int, bytes]:
    stored = zlib.compress(planes(chunk, width), 6)
    return (1, stored) if len(stored) < len(chunk) else (0, chunk)


def config_block(config: Config) -> bytes:
    block = struct.pack("<23I", *(config[name] for name in FIELDS)) + bytes(4)
    block += struct.pack("<d", config["capacity"]) + bytes(24)
    moe = bytearray(32)
    for i in config["moe"]:
        moe[i // 8] |= 1 << i % 8
    return block + bytes(moe)


def _pad(data: bytes | bytearray, step: int) -> bytes:
    return bytes(-len(data) % step)


def assemble(config: Config, contents: list[Item], provenance: str = "",
             labels: list[str] | None = None, coder: Coder | None = None) -> bytearray:
    """The file, with a correct header around whatever it is given."""
    coder = coder or (zlib_coder if config["compact"] else raw_coder)
    strings = b"".join(text.encode() + b"\0" for text in [provenance, *(labels or [])])
    strings += _pad(strings, 8)
    coded = [
        [coder(item.data[at : at + CHUNK], item.width) for at in range(0, len(item.data), CHUNK)]
        for item in contents
    ]
    count = sum(map(len, coded))
    header_end = 64 + 160 + len(strings) + 96 * len(contents) + 16 * count
    body = bytearray(-header_end % 4096)
    directory, table, first = b"", b"", 0
    for item, chunks in zip(contents, coded):
        if first:
            body += bytes(-(header_end + len(body)) % 64)
        stored = sum(len(data) for _, data in chunks)
        directory += struct.pack(
            "<48s6I3Q", item.name.encode(), item.precision, item.packed, item.rows, item.columns,
            first, len(chunks), len(item.data), header_end + len(body), stored)
        for coding, data in chunks:
            table += struct.pack("<IIQ", len(data), coding, xxh3_64(data))
            body += data
        first += len(chunks)
    preamble = b"\x89\x56\x4d\x45\x0d\x0a\x1a\x0a" + struct.pack(
        "<HHIQIIII", 1, 0, 0, header_end + len(body), header_end, len(contents), count,
        len(strings))
    data = bytearray(preamble + bytes(24) + config_block(config) + strings + directory + table)
    data += body
    sign(data)
    return data


def build(config: Config, tensors: Tensors, provenance: str = "",
          labels: list[str] | None = None) -> bytearray:
    """The whole file; `labels` must be given exactly when the config says so."""
    assert (labels is not None) == bool(config["labels"])
    return assemble(config, items(config, tensors), provenance, labels)


def places(data: bytes | bytearray) -> Places:
    """Where things are in an unchanged file."""
    _, tensors, chunks, string_bytes = struct.unpack_from("<4I", data, 24)
    directory = 224 + string_bytes
    table = directory + 96 * tensors
    found, number = [], 0
    for i in range(tensors):
        _, count, _, at, _ = struct.unpack_from("<2I3Q", data, directory + 96 * i + 64)
        for _ in range(count):
            (stored,) = struct.unpack_from("<I", data, table + 16 * number)
            found.append((at, stored))
            at += stored
            number += 1
    return Places(64, 224, directory, table, table + 16 * chunks, found)


def sign(data: bytearray) -> None:
    """Puts the right checksum on the header as it is now."""
    (header_end,) = struct.unpack_from("<I", data, 24)
    data[48:64] = bytes(16)
    data[48:64] = xxh3_128(data[:header_end]).to_bytes(16, "little")


def sign_chunk(data: bytearray, number: int) -> None:
    """Puts the right checksum on a chunk, whose place must be unchanged, and on the header."""
    where = places(data)
    at, stored = where.chunks[number]
    struct.pack_into("<Q", data, where.table + 16 * number + 8, xxh3_64(data[at : at + stored]))
    sign(data)


FIXTURES: dict[str, Config] = {
    "dense-f32": make_config(experts=0),
    "moe-f32-labels": make_config(labels=1),
    "moe-bf16-map": make_config(precision=BF16, classifier=3, pre_logits=19),
    "moe-int8-gap": make_config(precision=INT8, classifier=2, output=2, gelu=2),
    "moe-int8-wide": make_config(precision=INT8, width=70, heads=7, mlp=101, classes=33, labels=1),
    "moe-f32-compact": make_config(compact=1, classifier=2),
    "moe-bf16-compact": make_config(precision=BF16, compact=1, labels=1),
    "dense-int8-compact": make_config(precision=INT8, compact=1, experts=0, classifier=3),
    "ensemble-f32": make_config(experts=6, members=3),
    "crop-f32": make_config(preprocessing_kind=2, preprocessing_side=16, preprocessing_crop=12),
}


def fixture(name: str) -> bytearray:
    """The file of one of the FIXTURES."""
    config = FIXTURES[name]
    labels = [f"class {i} \u00fc" for i in range(config["classes"])] if config["labels"] else None
    return build(config, random_tensors(config), f"fixture {name}", labels)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: vmoe_builder.py DIRECTORY", file=sys.stderr)
        return 2
    for name in FIXTURES:
        Path(arguments[0], name + ".vmoe").write_bytes(fixture(name))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
