"""Tests of second_reader.py, and through it of docs/format.md, with files from vmoe_builder.py."""

from __future__ import annotations

import itertools
import random
import struct
import subprocess
import sys
import tempfile
import tracemalloc
import unittest
import zlib
from pathlib import Path
from typing import Callable

import numpy as np

import second_reader
import vmoe_builder as vb
import xxh3
from second_reader import Rejected

HERE = Path(__file__).resolve().parent
Change = Callable[[bytearray], None]


def u32(at: int, value: int) -> Change:
    return lambda data: struct.pack_into("<I", data, at, value)


def add_u32(at: int, value: int) -> Change:
    return lambda data: u32(at, struct.unpack_from("<I", data, at)[0] + value)(data)


def u64(at: int, value: int) -> Change:
    return lambda data: struct.pack_into("<Q", data, at, value)


def add_u64(at: int, value: int) -> Change:
    return lambda data: u64(at, struct.unpack_from("<Q", data, at)[0] + value)(data)


def byte(at: int, value: int) -> Change:
    return lambda data: struct.pack_into("<B", data, at, value)


def f64(at: int, value: float) -> Change:
    return lambda data: struct.pack_into("<d", data, at, value)


class Case(unittest.TestCase):
    """What the tests below share."""

    def assert_rejected(self, data: bytes | bytearray | memoryview, why: str = "") -> None:
        with self.assertRaisesRegex(Rejected, why):
            second_reader.parse(data)

    def assert_lie(self, data: bytearray, change: Change, why: str) -> None:
        """A change must be rejected for its own sake, not for the checksum of the header."""
        changed = bytearray(data)
        change(changed)
        vb.sign(changed)
        self.assert_rejected(changed, why)

    def assert_same(self, found: vb.Tensors, expected: vb.Tensors) -> None:
        self.assertEqual(list(found), list(expected))
        for name, values in expected.items():
            kind = np.int32 if name.endswith("_sum") else np.float32
            self.assertEqual(found[name].dtype, kind, name)
            self.assertEqual(found[name].shape, values.shape, name)
            self.assertEqual(found[name].tobytes(), values.astype(kind).tobytes(), name)


class Hash(unittest.TestCase):
    def test_known_answers(self) -> None:
        self.assertEqual(xxh3.check_known_answers(), [])

    def test_any_buffer(self) -> None:
        data = xxh3.sample(3000)
        as_array = np.frombuffer(data, "<u4")
        self.assertEqual(xxh3.xxh3_64(memoryview(data)), xxh3.xxh3_64(data))
        self.assertEqual(xxh3.xxh3_128(as_array), xxh3.xxh3_128(data))


class RoundTrip(Case):
    def test_every_kind(self) -> None:
        kinds = itertools.product((vb.F32, vb.BF16, vb.INT8), (0, 1), (1, 2, 3), (0, 3))
        for seed, (precision, compact, classifier, experts) in enumerate(kinds):
            config = vb.make_config(precision=precision, compact=compact, classifier=classifier,
                                    experts=experts, labels=seed % 2, pre_logits=seed % 3 * 17)
            labels = ["\u00e9", "Ängström", "c", "\u2603", "x" * 1024] if seed % 2 else None
            with self.subTest(precision=precision, compact=compact, classifier=classifier,
                              experts=experts):
                tensors = vb.random_tensors(config, seed)
                data = vb.build(config, tensors, "p" * seed, labels)
                model = second_reader.parse(data)
                self.assertEqual(model.config, config)
                self.assertEqual(model.provenance, "p" * seed)
                self.assertEqual(model.labels, labels)
                self.assertEqual(model.id, data[48:64].hex())
                self.assert_same(model.tensors, vb.expected(config, tensors))
                codings = {c.coding for t in second_reader._header(memoryview(data)).chunks
                           for c in t}
                self.assertEqual(1 in codings, bool(compact))

    def test_fixtures(self) -> None:
        for name, config in vb.FIXTURES.items():
            with self.subTest(name):
                model = second_reader.parse(vb.fixture(name))
                self.assert_same(model.tensors, vb.expected(config, vb.random_tensors(config)))

    def test_several_chunks(self) -> None:
        for precision, compact in ((vb.F32, 0), (vb.BF16, 1), (vb.INT8, 1)):
            with self.subTest(precision=precision, compact=compact):
                config = vb.make_config(
                    precision=precision, compact=compact, image_size=20, patch_size=20, width=600,
                    mlp=10, layers=1, experts=0, preprocessing_side=20, classifier=2)
                tensors = vb.random_tensors(config)
                data = vb.build(config, tensors)
                header = second_reader._header(memoryview(data))
                counts = {t.name: len(c) for t, c in zip(header.tensors, header.chunks)}
                self.assertGreater(counts["embedding.weight"], 1)
                self.assertGreater(counts["block.0.attention.qkv.weight"], 1)
                self.assert_same(second_reader.parse(data).tensors, vb.expected(config, tensors))

    def test_largest_lists(self) -> None:
        config = vb.make_config(image_size=2, patch_size=2, preprocessing_side=2, width=1, heads=1,
                                mlp=1, layers=256, classes=1, moe=[0, 255], experts=30)
        tensors = vb.random_tensors(config)
        model = second_reader.parse(vb.build(config, tensors))
        self.assertEqual(model.config["moe"], [0, 255])
        self.assert_same(model.tensors, vb.expected(config, tensors))

    def test_odd_numbers_survive(self) -> None:
        config = vb.make_config(experts=0)
        tensors = vb.random_tensors(config)
        bits = np.array([0x7FC01234, 0xFFFFFFFF, 0x80000000, 0x7F800000, 1], np.uint32)
        for name in ("head.weight", "head.bias"):
            tensors[name][-1] = bits.view(np.float32)
        self.assert_same(second_reader.parse(vb.build(config, tensors)).tensors, tensors)

    def test_layout_by_hand(self) -> None:
        # W[69][37] of a matrix of 70 x 40: panel 1, tile 0, column 5 of it.  By rows,
        # 69 = 4 * 16 + 5 = 2 * 32 + 5 = 1 * 64 + 5, and 5 = 5 * 1 + 0 = 2 * 2 + 1 = 1 * 4 + 1.
        for precision, rows in ((vb.F32, 80), (vb.BF16, 96), (vb.INT8, 128)):
            g = {vb.F32: 1, vb.BF16: 2, vb.INT8: 4}[precision]
            tensor = second_reader.Tensor("m", precision, True, 70, 40)
            self.assertEqual(tensor.padded_rows, rows)
            self.assertEqual(tensor.bytes, 64 * rows * 4 // g)
            block, line, rest = {1: (4, 5, 0), 2: (2, 2, 1), 4: (1, 1, 1)}[g]
            place = 32 * rows + block * 512 * g + line * 16 * g + 5 * g + rest
            plain = np.zeros(tensor.bytes * g // 4, {1: "<u4", 2: "<u2", 4: "u1"}[g])
            plain[place] = {1: 0x3F800000, 2: 0x3F80, 4: 1}[g]
            values = second_reader._unpacked(tensor, plain.view(np.uint8))
            self.assertEqual(values[69, 37], 1)
            self.assertEqual(np.count_nonzero(values), 1)


class Damage(Case):
    @classmethod
    def setUpClass(cls) -> None:
        config = vb.make_config(width=6, heads=2, mlp=7, layers=1, moe=[0], experts=2, labels=1,
                                precision=vb.INT8, compact=1)
        cls.compact = vb.build(config, vb.random_tensors(config), "a", list("abcde"))
        config = vb.make_config(width=6, heads=2, mlp=7, layers=1, experts=0)
        cls.raw = vb.build(config, vb.random_tensors(config))

    def test_undamaged(self) -> None:
        second_reader.parse(self.compact)
        second_reader.parse(self.raw)

    def test_every_truncation(self) -> None:
        for data in (self.compact, self.raw):
            for size in range(len(data)):
                self.assert_rejected(memoryview(data)[:size])

    def test_truncation_with_the_size_made_right(self) -> None:
        header_end = vb.places(self.raw).header_end
        for size in [*range(header_end, len(self.raw), 97), len(self.raw) - 1]:
            data = self.raw[:size]
            u64(16, size)(data)
            vb.sign(data)
            self.assert_rejected(data, "ends at byte")

    def test_appended_bytes(self) -> None:
        self.assert_rejected(self.raw + b"\0", "The preamble says")
        self.assert_lie(self.raw + bytes(64), u64(16, len(self.raw) + 64), "The last tensor ends")

    def test_every_bit_of_the_header(self) -> None:
        for data in (self.compact, self.raw):
            data = bytearray(data)
            for bit in range(8 * vb.places(data).header_end):
                data[bit // 8] ^= 1 << bit % 8
                self.assert_rejected(data)
                data[bit // 8] ^= 1 << bit % 8

    def test_bits_of_the_rest(self) -> None:
        chosen = random.Random(5)
        for data in (self.compact, self.raw):
            data = bytearray(data)
            first = 8 * vb.places(data).header_end
            for _ in range(1000):
                bit = chosen.randrange(first, 8 * len(data))
                data[bit // 8] ^= 1 << bit % 8
                self.assert_rejected(data, "checksum|padding")
                data[bit // 8] ^= 1 << bit % 8

    def test_noise(self) -> None:
        chosen = random.Random(6)
        for size in [*range(70), 224, 300, 1000, 5000]:
            self.assert_rejected(chosen.randbytes(size))
            self.assert_rejected((bytes(self.raw[:8]) + chosen.randbytes(size))[:size])

    def test_signed_noise(self) -> None:
        """Random numbers in a header with a right checksum end in a model or in Rejected."""
        chosen = random.Random(7)
        rejected = 0
        for data in (self.compact, self.raw):
            header_end = vb.places(data).header_end
            for _ in range(700):
                changed = bytearray(data)
                for _ in range(chosen.choice((1, 1, 2, 5))):
                    at = 4 * chosen.randrange(2, header_end // 4)
                    if at != 24:
                        u32(at, chosen.choice((0, 1, 2, 7, 255, 4096, 65536, 1 << 20, (1 << 32) - 1,
                                               chosen.getrandbits(32))))(changed)
                vb.sign(changed)
                try:
                    second_reader.parse(changed)
                except Rejected:
                    rejected += 1
        self.assertGreater(rejected, 1200)

    def test_signed_noise_in_chunks(self) -> None:
        """The same for the coded bytes, where a zlib stream may still happen to be right."""
        chosen = random.Random(9)
        chunks = vb.places(self.compact).chunks
        rejected = 0
        for _ in range(300):
            changed = bytearray(self.compact)
            number = chosen.randrange(len(chunks))
            at, stored = chunks[number]
            changed[at + chosen.randrange(stored)] ^= 1 << chosen.randrange(8)
            vb.sign_chunk(changed, number)
            try:
                second_reader.parse(changed)
            except Rejected:
                rejected += 1
        self.assertGreater(rejected, 30)

    def test_lying_counts_cost_nothing(self) -> None:
        largest = {"image_size": 4096, "patch_size": 4096, "width": 65536, "mlp": 262144,
                   "layers": 256, "classes": 1 << 20, "experts": 4096, "pre_logits": 65536}
        chosen = random.Random(8)
        for _ in range(60):
            changed = bytearray(self.compact)
            for name, value in largest.items():
                if chosen.random() < 0.5:
                    u32(64 + 4 * vb.FIELDS.index(name), value)(changed)
                    if name == "image_size":
                        u32(64 + 68, value)(changed)
            for at, value in ((28, 65536), (32, 1 << 20), (36, 1 << 20)):
                if chosen.random() < 0.2:
                    u32(at, value)(changed)
            vb.sign(changed)
            tracemalloc.start()
            try:
                second_reader.parse(changed)
            except Rejected:
                pass
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            self.assertLess(peak, 10 * len(changed))


class Lies(Case):
    """Files that are consistent but for one thing, with right checksums."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.config = vb.make_config(width=6, heads=2, mlp=7)
        cls.tensors = vb.random_tensors(cls.config)
        cls.items = vb.items(cls.config, cls.tensors)
        cls.data = vb.build(cls.config, cls.tensors)
        cls.where = vb.places(cls.data)

    def test_preamble(self) -> None:
        lies = [
            (byte(0, 0x88), "does not begin with"),
            (byte(4, 0x0A), "does not begin with"),
            (byte(8, 2), "version 2.0"),
            (byte(10, 1), "version 1.1"),
            (byte(12, 1), "reserved field of the preamble"),
            (byte(47, 128), "reserved field of the preamble"),
            (add_u64(16, 1), "The preamble says .* bytes"),
            (u64(16, (1 << 64) - 1), "The preamble says .* bytes"),
            (add_u32(28, 1), "its parts make"),
            (add_u32(32, -1), "its parts make"),
            (add_u32(36, 8), "its parts make"),
            (add_u32(36, 1), "not a multiple of 8"),
            (u32(28, 65537), "at most 65536"),
        ]
        for change, why in lies:
            with self.subTest(why):
                changed = bytearray(self.data)
                change(changed)
                # These fields are looked at before the checksum.
                self.assert_rejected(changed, why)
        for at, count, size in ((28, 1, 96), (32, 1, 16), (28, -1, -96), (32, -1, -16)):
            changed = bytearray(self.data)
            add_u32(at, count)(changed)
            self.assert_lie(changed, add_u32(24, size), "The preamble says .* (tensors|chunks)")

    def test_large_header(self) -> None:
        size = (16 << 20) + 8
        changed = bytearray(self.data)
        u32(24, size)(changed)
        add_u32(36, size - self.where.header_end)(changed)
        self.assert_rejected(changed, "at most 16777216")
        short = self.data[: self.where.header_end - 8]
        u64(16, len(short))(short)
        self.assert_rejected(short, "and the file only")

    def test_config(self) -> None:
        def field(name: str, value: int) -> Change:
            return u32(64 + 4 * vb.FIELDS.index(name), value)

        def both(*changes: Change) -> Change:
            return lambda data: [change(data) for change in changes] and None

        limits = {
            "image_size": (0, 4097), "patch_size": (0, 4097), "width": (0, 65537),
            "heads": (0, 257), "mlp": (0, 262145), "layers": (0, 257), "classes": (0, 1048577),
            "pre_logits": (65537,), "classifier": (0, 4), "gelu": (0, 3), "output": (0, 3),
            "experts": (4097,), "experts_per_token": (17,), "group_images": (1048577,),
            "capacity_rule": (3,), "capacity_multiple": (4097,), "preprocessing_kind": (0, 3),
            "preprocessing_side": (0, 4097), "precision": (0, 4), "compact": (2,), "labels": (2,),
            "members": (65,),
        }
        for name, values in limits.items():
            for value in values:
                self.assert_lie(self.data, field(name, value), f"The config's {name} is {value} ")
        for name in second_reader.ROUTING_FIELDS:
            self.assert_lie(self.data, field(name, 0), f"There are experts and {name} is zero")
        for at in (92, 95, 104, 127):
            self.assert_lie(self.data, byte(64 + at, 1), "reserved field of the config")
        for at, value in ((128, 4), (159, 128)):
            self.assert_lie(self.data, byte(64 + at, value), "moe bit at or above")
        for value in (0.0, -1.0, 64.00001, float("nan"), float("inf")):
            self.assert_lie(self.data, f64(64 + 96, value), "The capacity is")
        lies = [
            (field("patch_size", 5), "does not divide"),
            (field("heads", 4), "do not divide"),
            (field("experts_per_token", 4), "4 experts per token of 3"),
            (field("members", 1), "stored as zero"),
            (field("members", 2), "do not divide the 3 experts"),
            (field("members", 3), "2 experts per token of 1"),
            (both(field("image_size", 255), field("patch_size", 1), field("members", 3)), "tokens"),
            (field("preprocessing_side", 13), "makes images of 13"),
            (field("preprocessing_crop", 12), "its crop is 12"),
            (both(field("preprocessing_kind", 2), field("preprocessing_crop", 13)), "larger than"),
            (both(field("preprocessing_kind", 2), field("preprocessing_crop", 11)), "images of 11"),
            (both(field("image_size", 257), field("patch_size", 1)), "There are 66050 tokens"),
            (byte(64 + 128, 0), "no moe bit"),
            (field("experts", 0), "A dense model has"),
            (byte(64 + 128, 1), "The directory entry of tensor block.0.router"),
            (field("classifier", 2), "config makes"),
            (field("classes", 6), "tensor head.weight has columns 5"),
            (field("precision", 2), "tensor embedding.weight has precision 1 instead of 2"),
            (field("layers", 3), "config makes more"),
            (field("layers", 256), "config makes more"),
        ]
        for change, why in lies:
            with self.subTest(why):
                self.assert_lie(self.data, change, why)
        dense = vb.make_config(experts=0)
        dense_data = vb.build(dense, vb.random_tensors(dense))
        for change in (byte(64 + 128, 1), f64(64 + 96, 1.0), f64(64 + 96, -0.0),
                       field("members", 2),
                       *(field(name, 1) for name in second_reader.ROUTING_FIELDS)):
            self.assert_lie(dense_data, change, "A dense model has")

    def test_strings(self) -> None:
        config = vb.make_config(width=6, heads=2, mlp=7, labels=1)
        items = vb.items(config, vb.random_tensors(config))

        def made(provenance: str, labels: list[str]) -> bytearray:
            return vb.assemble(config, items, provenance, labels)

        data = made("ab", list("vwxyz"))
        second_reader.parse(data)
        second_reader.parse(made("p" * 4096, ["l" * 1024] * 5))
        for value, why in ((0x80, "not UTF-8"), (0xFF, "not UTF-8"), (0x0A, "control"),
                           (0x7F, "control"), (0, "padding|their texts make")):
            self.assert_lie(data, byte(self.where.strings, value), why)
        self.assert_lie(data, byte(self.where.strings + 15, 1), "padding of the strings")
        self.assert_rejected(made("p" * 4097, list("abcde")), "0..4096")
        self.assert_rejected(made("", ["a", "b", "c", "d", "l" * 1025]), "label 4 .* 1..1024")
        self.assert_rejected(made("1234567", list("abcd")), "end before label 4")
        self.assert_rejected(made("", ["long label"] * 6), "their texts make")
        self.assert_rejected(made("\x85", list("abcde")), "control")
        # A surrogate and an overlong form are not UTF-8.
        for pair in (b"\xed\xa0", b"\xc0\x80"):
            def put(changed: bytearray, pair: bytes = pair) -> None:
                changed[self.where.strings : self.where.strings + 2] = pair
            self.assert_lie(data, put, "not UTF-8")

    def test_directory(self) -> None:
        fields = [(0, "name"), (47, "name"), (48, "precision"), (52, "packed flag"), (56, "rows"),
                  (60, "columns"), (64, "first chunk"), (68, "number of chunks"), (72, "bytes"),
                  (80, "offset"), (88, r"\d+ bytes in the file")]
        last = len(self.items) - 1
        for i, (at, field) in itertools.product((0, 1, last), fields):
            place = self.where.directory + 96 * i + at
            why = f"entry of tensor {self.items[i].name} has {field} "
            self.assert_lie(self.data, byte(place, self.data[place] ^ 1), why)
            if at >= 72:
                self.assert_lie(self.data, byte(place + 7, 128), why)

    def test_list_of_tensors(self) -> None:
        def changed(*order: int) -> bytearray:
            return vb.assemble(self.config, [self.items[i] for i in order])

        last = len(self.items) - 1
        every = range(last + 1)
        self.assertEqual(changed(*every), self.data)
        self.assert_rejected(changed(*every[:-1]), "tensors and the config makes")
        self.assert_rejected(changed(*every[1:]), "tensors and the config makes")
        self.assert_rejected(changed(*every, last), "tensors and the config makes")
        self.assert_rejected(changed(1, 0, *every[2:]), "embedding.weight has name")
        self.assert_rejected(changed(*every[:-1], last - 1), "head.bias has name")
        self.assert_rejected(changed(), "0 tensors and the config makes more")

    def test_padding(self) -> None:
        first = self.where.chunks[0][0]
        for at in (self.where.header_end, first - 1):
            self.assert_lie(self.data, byte(at, 1), "padding before tensor embedding.weight")
        for at, stored in self.where.chunks[:-1]:
            if (at + stored) % 64:
                self.assert_lie(self.data, byte(at + stored, 255), "padding before tensor")
        for precision in (vb.F32, vb.BF16, vb.INT8):
            config = vb.make_config(width=6, heads=2, mlp=7, precision=precision)
            data = vb.build(config, vb.random_tensors(config))
            number = next(i for i, item in enumerate(vb.items(config, vb.random_tensors(config)))
                          if item.name == "block.0.attention.out.weight")
            at, stored = vb.places(data).chunks[number]
            for place in (at + 63, at + stored - 1):
                changed = bytearray(data)
                # The sign bit alone, negative zero in a float, is not zero either.
                changed[place] = 0x80
                vb.sign_chunk(changed, number)
                self.assert_rejected(changed, "padding inside the matrix block.0.attention.out")

    def test_tensor_padding_may_not_move(self) -> None:
        """A gap of 64 more bytes, described truthfully."""
        at = self.where.chunks[1][0]
        changed = self.data[:at] + bytes(64) + self.data[at:]
        for i in range(1, len(self.items)):
            add_u64(self.where.directory + 96 * i + 80, 64)(changed)
        self.assert_lie(changed, u64(16, len(changed)), "embedding.bias has offset")

    def test_smallest_int8(self) -> None:
        config = vb.make_config(width=6, heads=2, mlp=7, precision=vb.INT8)
        items = vb.items(config, vb.random_tensors(config))
        number = next(i for i, item in enumerate(items) if item.precision == vb.INT8)
        first, rest = items[number].data[0], items[number].data[1:]
        items[number].data = b"\x80" + rest
        sums = np.frombuffer(items[number + 2].data, "<i4").copy()
        sums[0] -= 128 + struct.unpack("b", bytes([first]))[0]
        items[number + 2].data = sums.tobytes()
        model = second_reader.parse(vb.assemble(config, items))
        self.assertTrue(any((values < 0).any() for values in model.tensors.values()))

    def test_sums(self) -> None:
        config = vb.make_config(width=6, heads=2, mlp=7, precision=vb.INT8)
        for change in (1, -1, 256, 1 << 24):
            items = vb.items(config, vb.random_tensors(config))
            item = next(item for item in items if item.name == "block.1.expert.2.fc2.weight_sum")
            sums = np.frombuffer(item.data, "<i4").copy()
            sums[-1] += change
            item.data = sums.tobytes()
            self.assert_rejected(vb.assemble(config, items), "sums block.1.expert.2.fc2.weight_sum")

    def test_chunk_table(self) -> None:
        table = self.where.table
        self.assert_lie(self.data, add_u32(table, 1), "is raw and stored in")
        self.assert_lie(self.data, add_u32(table, -1), "is raw and stored in")
        self.assert_lie(self.data, u32(table, 0), "is raw and stored in")
        self.assert_lie(self.data, u32(table + 4, 1), "has coding 1")
        self.assert_lie(self.data, u32(table + 4, 2), "has coding 2")
        self.assert_lie(self.data, add_u64(table + 8, 1), "checksum of chunk 0")

    def test_compact_chunks(self) -> None:
        config = vb.make_config(width=6, heads=2, mlp=7, compact=1)
        items = vb.items(config, vb.random_tensors(config))

        def wrong(stored: Callable[[bytes], bytes], why: str, coding: int = 1) -> None:
            def coder(chunk: bytes, width: int) -> tuple[int, bytes]:
                if len(chunk) == len(items[0].data):
                    return coding, stored(vb.planes(chunk, width))
                return 0, chunk

            with self.subTest(why):
                self.assert_rejected(vb.assemble(config, items, coder=coder), why)

        def raw_deflate(plain: bytes, **options: object) -> bytes:
            stream = zlib.compressobj(6, zlib.DEFLATED, **options)
            return stream.compress(plain) + stream.flush()

        second_reader.parse(vb.assemble(config, items, coder=vb.raw_coder))
        wrong(lambda p: zlib.compress(p) + b"\0", "ends 1 bytes before it")
        wrong(lambda p: zlib.compress(p) + zlib.compress(b""), "bytes before it")
        wrong(lambda p: zlib.compress(p)[:-1], "does not end with the chunk")
        wrong(lambda p: zlib.compress(p)[:20], "too few")
        wrong(lambda p: zlib.compress(p)[:-4] + b"abcd", "damaged")
        wrong(lambda p: zlib.compress(p + b"\0"), "too many")
        wrong(lambda p: zlib.compress(p + bytes(1 << 22)), "too many")
        wrong(lambda p: zlib.compress(p[:-1]), "too few")
        wrong(lambda p: zlib.compress(p, 0), "is compressed from")
        wrong(lambda p: b"", "is compressed from")
        wrong(lambda p: p, "is compressed from")
        wrong(lambda p: p[1:], "damaged")
        wrong(lambda p: raw_deflate(p, wbits=-15), "damaged")
        wrong(lambda p: raw_deflate(p, wbits=31), "damaged")
        wrong(lambda p: raw_deflate(p, wbits=15, zdict=b"dictionary"), "damaged")
        wrong(zlib.compress, "coding 2", 2)
        wrong(zlib.compress, "is raw and stored in", 0)


class CommandLine(Case):
    def run_reader(self, *arguments: str) -> tuple[int, str, str]:
        done = subprocess.run([sys.executable, str(HERE / "second_reader.py"), *arguments],
                              capture_output=True, encoding="utf-8")
        return done.returncode, done.stdout, done.stderr

    def test_it(self) -> None:
        data = vb.fixture("moe-bf16-compact")
        with tempfile.TemporaryDirectory() as directory:
            path = str(Path(directory, "a.vmoe"))
            Path(path).write_bytes(data)
            model = second_reader.read(path)
            self.assertEqual(self.run_reader("--quiet", path), (0, f"ok {model.id}\n", ""))
            status, out, _ = self.run_reader(path)
            self.assertEqual(status, 0)
            lines = [line for line in out.splitlines() if not line.startswith("#")]
            self.assertEqual(len(lines), len(model.tensors))
            values = model.tensors["embedding.weight"]
            checksum = zlib.crc32(values.astype("<f4").tobytes())
            self.assertEqual(lines[0], f"embedding.weight\t48\t21\tbf16\t{checksum:08x}")
            del model, values

            data[-1] ^= 1
            Path(path).write_bytes(data)
            status, out, errors = self.run_reader(path)
            self.assertEqual((status, out), (1, ""))
            self.assertRegex(errors, r"^second_reader: .*a\.vmoe: The checksum of chunk .*\.\n$")
            for bad in (directory, path + "x"):
                with self.assertRaises(Rejected):
                    second_reader.read(bad)
            Path(path).write_bytes(b"")
            with self.assertRaisesRegex(Rejected, "0 bytes"):
                second_reader.read(path)


if __name__ == "__main__":
    unittest.main()
