#!/usr/bin/env python3
"""An independent reader of the `.vmoe` format, written from docs/format.md alone.

`read(path)` gives a `Model` or raises `Rejected` with one sentence.  As a program it lists a file:
lines of `# field TAB value`, then for each tensor its name, rows, columns, precision and the CRC-32
of its values as float32 (sums as int32), separated by tabs.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import sys
import zlib
from dataclasses import dataclass
from itertools import islice
from typing import Any, Iterator, NamedTuple, NoReturn

import numpy as np

from xxh3 import xxh3_64, xxh3_128

MAGIC = b"\x89VME\r\n\x1a\n"
PREAMBLE, CONFIG, ENTRY, CHUNK_ENTRY = 64, 160, 96, 16
MAX_HEADER = 16 << 20
MAX_TENSORS = 65536
MAX_TOKENS = 65536
CHUNK = 1 << 20
F32, BF16, INT8, INT32 = 1, 2, 3, 4
WIDTH = {F32: 4, BF16: 2, INT8: 1, INT32: 4}
PRECISION_NAME = {F32: "f32", BF16: "bf16", INT8: "int8", INT32: "int32"}
TOKEN, GAP, MAP = 1, 2, 3

# Field, least and greatest value; limits that depend on other fields are checked separately.
CONFIG_FIELDS = [
    ("image_size", 1, 4096),
    ("patch_size", 1, 4096),
    ("width", 1, 65536),
    ("heads", 1, 256),
    ("mlp", 1, 262144),
    ("layers", 1, 256),
    ("classes", 1, 1048576),
    ("pre_logits", 0, 65536),
    ("classifier", 1, 3),
    ("gelu", 1, 2),
    ("output", 1, 2),
    ("experts", 0, 4096),
    ("experts_per_token", 0, 16),
    ("group_images", 0, 1048576),
    ("capacity_rule", 0, 2),
    ("capacity_multiple", 0, 4096),
    ("preprocessing_kind", 1, 2),
    ("preprocessing_side", 1, 4096),
    ("preprocessing_crop", 0, 4096),
    ("precision", 1, 3),
    ("compact", 0, 1),
    ("labels", 0, 1),
    ("members", 0, 64),
]
ROUTING_FIELDS = ["experts_per_token", "group_images", "capacity_rule", "capacity_multiple"]
# The last field of an entry, the bytes in the file, follows from the chunks.
ENTRY_FIELDS = ["name", "precision", "packed flag", "rows", "columns", "first chunk",
                "number of chunks", "bytes", "offset"]
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class Rejected(Exception):
    """The file is not a valid `.vmoe` file, for the one reason given."""


@dataclass
class Model:
    """What a file holds; `tensors` are float32 in their logical shape, in the file's order.

    The sums of int8 matrices are int32.
    """

    config: dict[str, Any]
    provenance: str
    labels: list[str] | None
    id: str
    tensors: dict[str, np.ndarray]


class Tensor(NamedTuple):
    """A tensor as the config implies it."""

    name: str
    precision: int
    packed: bool
    rows: int
    columns: int

    @property
    def group(self) -> int:
        return 4 // WIDTH[self.precision]

    @property
    def padded_rows(self) -> int:
        return _round_up(self.rows, 16 * self.group)

    @property
    def padded_columns(self) -> int:
        return _round_up(self.columns, 32)

    @property
    def bytes(self) -> int:
        if not self.packed:
            return 4 * self.rows * self.columns
        return self.padded_rows * self.padded_columns * WIDTH[self.precision]


class Chunk(NamedTuple):
    """Where a chunk lies, how it is coded and what it must become."""

    offset: int
    stored: int
    coding: int
    hash: int
    bytes: int


class Header(NamedTuple):
    """Everything before the data, and where the data lies."""

    config: dict[str, Any]
    provenance: str
    labels: list[str] | None
    id: str
    tensors: list[Tensor]
    chunks: list[list[Chunk]]


def _reject(why: str) -> NoReturn:
    raise Rejected(why)


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def read(path: str | os.PathLike[str]) -> Model:
    """The model in the file at `path`."""
    return parse(_mapped(path))


def parse(data: Any) -> Model:
    """The model in a buffer that holds a whole file."""
    view = memoryview(data).cast("B")
    header = _header(view)
    tensors = {tensor.name: values for tensor, values in _values(view, header)}
    return Model(header.config, header.provenance, header.labels, header.id, tensors)


def _mapped(path: str | os.PathLike[str]) -> Any:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            _reject("It is not a regular file.")
        # An empty file cannot be mapped.
        return np.memmap(path, np.uint8, "r") if status.st_size else b""
    except (OSError, ValueError) as error:
        _reject(f"It cannot be opened: {getattr(error, 'strerror', None) or error}.")


def _header(view: memoryview) -> Header:
    if len(view) < PREAMBLE:
        _reject(f"It has {len(view)} bytes and the preamble alone has {PREAMBLE}.")
    (magic, major, minor, zero, file_bytes, header_bytes, tensor_count, chunk_count, string_bytes,
     zeros, signature) = struct.unpack_from("<8sHHIQIIII8s16s", view)
    if magic != MAGIC:
        _reject("It does not begin with the eight bytes of a .vmoe file.")
    if (major, minor) != (1, 0):
        _reject(f"It has format version {major}.{minor} and this reader knows 1.0 only.")
    if zero or any(zeros):
        _reject("A reserved field of the preamble is not zero.")
    if file_bytes != len(view):
        _reject(f"The preamble says {file_bytes} bytes and the file has {len(view)}.")
    if string_bytes % 8:
        _reject(f"The strings have {string_bytes} bytes, which is not a multiple of 8.")
    if tensor_count > MAX_TENSORS:
        _reject(f"The preamble says {tensor_count} tensors and at most {MAX_TENSORS} are allowed.")
    strings_at = PREAMBLE + CONFIG
    directory_at = strings_at + string_bytes
    table_at = directory_at + ENTRY * tensor_count
    end = table_at + CHUNK_ENTRY * chunk_count
    if header_bytes != end:
        _reject(f"The preamble says {header_bytes} header bytes and its parts make {end}.")
    if header_bytes > MAX_HEADER:
        _reject(f"The header has {header_bytes} bytes and at most {MAX_HEADER} are allowed.")
    if header_bytes > len(view):
        _reject(f"The header has {header_bytes} bytes and the file only {len(view)}.")
    signed = bytearray(view[:header_bytes])
    signed[48:64] = bytes(16)
    if xxh3_128(signed) != int.from_bytes(signature, "little"):
        _reject("The checksum of the header is wrong.")

    config = _config(bytes(view[PREAMBLE:strings_at]))
    provenance, labels = _strings(bytes(view[strings_at:directory_at]), config)
    # The config alone can imply millions of tensors; one more than declared settles the question.
    tensors = list(islice(_tensors(config), tensor_count + 1))
    if len(tensors) != tensor_count:
        implied = "more" if len(tensors) > tensor_count else str(len(tensors))
        _reject(f"The preamble says {tensor_count} tensors and the config makes {implied}.")
    needed = sum(-(-tensor.bytes // CHUNK) for tensor in tensors)
    if needed != chunk_count:
        _reject(f"The preamble says {chunk_count} chunks and the tensors make {needed}.")
    chunks = _layout(view, tensors, directory_at, table_at, end, bool(config["compact"]))
    return Header(config, provenance, labels, signature.hex(), tensors, chunks)


def _config(block: bytes) -> dict[str, Any]:
    numbers = struct.unpack_from("<23I", block)
    config: dict[str, Any] = {}
    for (name, low, high), value in zip(CONFIG_FIELDS, numbers):
        if not low <= value <= high:
            _reject(f"The config's {name} is {value} and must be in {low}..{high}.")
        config[name] = value
    if any(block[92:96]) or any(block[104:128]):
        _reject("A reserved field of the config is not zero.")
    (config["capacity"],) = struct.unpack_from("<d", block, 96)
    moe = int.from_bytes(block[128:160], "little")
    if moe >> config["layers"]:
        _reject(f"A moe bit at or above the {config['layers']} layers is set.")
    config["moe"] = [i for i in range(config["layers"]) if moe >> i & 1]

    size, patch = config["image_size"], config["patch_size"]
    if size % patch:
        _reject(f"The patch_size {patch} does not divide the image_size {size}.")
    if config["width"] % config["heads"]:
        _reject(f"The {config['heads']} heads do not divide the width {config['width']}.")
    if config["members"] == 1:
        _reject("There is one member, which is stored as zero.")
    members = config["members"] or 1
    if _token_count(config) * members > MAX_TOKENS:
        _reject(f"There are {_token_count(config) * members} tokens and at most {MAX_TOKENS} are "
                f"allowed.")
    if config["experts"]:
        _check_routing(config, members)
    elif (moe or members > 1 or any(config[name] for name in ROUTING_FIELDS)
          or any(block[96:104])):
        _reject("A dense model has a moe bit, or a routing field that is not zero.")

    side, crop = config["preprocessing_side"], config["preprocessing_crop"]
    if config["preprocessing_kind"] == 1:
        if crop:
            _reject(f"The preprocessing is resize and its crop is {crop} instead of zero.")
        made = side
    else:
        if crop > side:
            _reject(f"The preprocessing's crop {crop} is larger than its side {side}.")
        made = crop
    if made != size:
        _reject(f"The preprocessing makes images of {made} pixels and image_size is {size}.")
    return config


def _check_routing(config: dict[str, Any], members: int) -> None:
    if not config["moe"]:
        _reject("There are experts and no moe bit is set.")
    for name in ROUTING_FIELDS:
        if not config[name]:
            _reject(f"There are experts and {name} is zero.")
    if config["experts"] % members:
        _reject(f"The {members} members do not divide the {config['experts']} experts.")
    if config["experts_per_token"] > config["experts"] // members:
        _reject(f"There are {config['experts_per_token']} experts per token of "
                f"{config['experts'] // members} experts.")
    # A comparison with not-a-number is false, so this rejects it too.
    if not 0 < config["capacity"] <= 64:
        _reject(f"The capacity is {config['capacity']} and must be above 0 and at most 64.")


def _token_count(config: dict[str, Any]) -> int:
    return (config["image_size"] // config["patch_size"]) ** 2 + (config["classifier"] == TOKEN)


def _strings(block: bytes, config: dict[str, Any]) -> tuple[str, list[str] | None]:
    at = 0

    def text(what: str, least: int, limit: int) -> str:
        nonlocal at
        end = block.find(0, at)
        if end < 0:
            _reject(f"The strings end before {what} does.")
        if not least <= end - at <= limit:
            _reject(f"The text of {what} has {end - at} bytes, but {least}..{limit} are allowed.")
        try:
            value = block[at:end].decode("utf-8")
        except UnicodeDecodeError:
            _reject(f"The text of {what} is not UTF-8.")
        if CONTROL.search(value):
            _reject(f"The text of {what} holds a control character.")
        at = end + 1
        return value

    provenance = text("the provenance", 0, 4096)
    labels = None
    if config["labels"]:
        labels = [text(f"label {i}", 1, 1024) for i in range(config["classes"])]
    if len(block) != _round_up(at, 8):
        _reject(f"The strings have {len(block)} bytes and their texts make {_round_up(at, 8)}.")
    if any(block[at:]):
        _reject("The padding of the strings is not zero.")
    return provenance, labels


def _tensors(config: dict[str, Any]) -> Iterator[Tensor]:
    width, mlp, experts = config["width"], config["mlp"], config["experts"]
    usual = config["precision"]
    # The matrices at both ends of the model are never int8.
    gentle = BF16 if usual == INT8 else usual

    def linear(name: str, rows: int, columns: int, precision: int) -> Iterator[Tensor]:
        yield Tensor(name + ".weight", precision, True, rows, columns)
        if precision == INT8:
            yield array(name + ".weight_scale", 1, columns)
            yield Tensor(name + ".weight_sum", INT32, False, 1, columns)
        yield array(name + ".bias", 1, columns)

    def array(name: str, rows: int, columns: int) -> Tensor:
        return Tensor(name, F32, False, rows, columns)

    def norm(name: str) -> Iterator[Tensor]:
        yield array(name + ".scale", 1, width)
        yield array(name + ".bias", 1, width)

    yield from linear("embedding", config["patch_size"] ** 2 * 3, width, gentle)
    if config["classifier"] == TOKEN:
        yield array("cls", 1, width)
    yield array("position", _token_count(config), width)
    with_experts = set(config["moe"])
    for i in range(config["layers"]):
        block = f"block.{i}."
        yield from norm(block + "norm_0")
        yield from linear(block + "attention.qkv", width, 3 * width, usual)
        yield from linear(block + "attention.out", width, width, usual)
        yield from norm(block + "norm_1")
        if i in with_experts:
            yield array(block + "router", width, experts)
            for e in range(experts):
                yield from linear(f"{block}expert.{e}.fc1", width, mlp, usual)
                yield from linear(f"{block}expert.{e}.fc2", mlp, width, usual)
        else:
            yield from linear(block + "mlp.fc1", width, mlp, usual)
            yield from linear(block + "mlp.fc2", mlp, width, usual)
    yield from norm("norm")
    if config["classifier"] == MAP:
        yield array("map.probe", 1, width)
        yield from linear("map.query", width, width, gentle)
        yield from linear("map.key_value", width, 2 * width, gentle)
        yield from linear("map.out", width, width, gentle)
        yield from norm("map.norm")
        yield from linear("map.mlp.fc1", width, mlp, gentle)
        yield from linear("map.mlp.fc2", mlp, width, gentle)
    if config["pre_logits"]:
        yield from linear("pre_logits", width, config["pre_logits"], gentle)
    yield from linear("head", config["pre_logits"] or width, config["classes"], gentle)


def _layout(view: memoryview, tensors: list[Tensor], directory_at: int, table_at: int,
            header_end: int, compact: bool) -> list[list[Chunk]]:
    """The chunks of each tensor, once the directory is what the layout rules give."""
    table = struct.iter_unpack("<IIQ", view[table_at:header_end])
    entries = struct.iter_unpack("<48s6I3Q", view[directory_at:table_at])
    end, first = header_end, 0
    layout = []
    for tensor, entry in zip(tensors, entries):
        name = tensor.name
        offset = _round_up(end, 4096 if first == 0 else 64)
        count = -(-tensor.bytes // CHUNK)
        expected = (name.encode().ljust(48, b"\0"), tensor.precision, int(tensor.packed),
                    tensor.rows, tensor.columns, first, count, tensor.bytes, offset)
        for field, has, needs in zip(ENTRY_FIELDS, entry, expected):
            if has != needs:
                if field == "name":
                    has, needs = has.rstrip(b"\0"), needs.rstrip(b"\0")
                _reject(f"The directory entry of tensor {name} has {field} {has!r} "
                        f"instead of {needs!r}.")
        at, left, chunks = offset, tensor.bytes, []
        for number in range(first, first + count):
            stored, coding, checksum = next(table)
            plain = min(left, CHUNK)
            where = f"Chunk {number}, of tensor {name},"
            if coding > 1 or coding == 1 and not compact:
                _reject(f"{where} has coding {coding}, which this file cannot have.")
            if coding == 0 and stored != plain:
                _reject(f"{where} is raw and stored in {stored} bytes instead of {plain}.")
            if coding == 1 and not 1 <= stored < plain:
                _reject(f"{where} is compressed from {plain} to {stored} bytes.")
            chunks.append(Chunk(at, stored, coding, checksum, plain))
            at += stored
            left -= plain
        if entry[9] != at - offset:
            _reject(f"The directory entry of tensor {name} has {entry[9]} bytes in the file "
                    f"and its chunks make {at - offset}.")
        if at > len(view):
            _reject(f"Tensor {name} ends at byte {at} and the file has {len(view)} bytes.")
        if any(view[end:offset]):
            _reject(f"The padding before tensor {name} is not zero.")
        layout.append(chunks)
        end, first = at, first + count
    if end != len(view):
        _reject(f"The last tensor ends at byte {end} and the file has {len(view)} bytes.")
    return layout


def _values(view: memoryview, header: Header) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Each tensor with its values; scale and sums come after the matrix that they belong to."""
    unscaled: tuple[Tensor, np.ndarray] | None = None
    sums = np.empty(0)
    first = 0
    for tensor, chunks in zip(header.tensors, header.chunks):
        parts = [_decoded(view, tensor, chunk, first + i) for i, chunk in enumerate(chunks)]
        first += len(chunks)
        plain = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if tensor.precision == INT32:
            values = plain.view("<i4").reshape(1, -1).astype(np.int32)
            if (values != sums).any():
                _reject(f"The sums {tensor.name} are not those of the matrix.")
        elif not tensor.packed:
            values = plain.view("<f4").reshape(tensor.rows, tensor.columns).astype(np.float32)
        elif tensor.precision == INT8:
            unscaled = tensor, _unpacked(tensor, plain)
            # Float64 holds every partial sum exactly.
            sums = unscaled[1].sum(axis=0, dtype=np.float64)
            continue
        else:
            values = _unpacked(tensor, plain)
        if unscaled:
            # Nothing in the format keeps a scale finite.
            with np.errstate(all="ignore"):
                yield unscaled[0], unscaled[1] * values
            unscaled = None
        yield tensor, values


def _decoded(view: memoryview, tensor: Tensor, chunk: Chunk, number: int) -> np.ndarray:
    where = f"chunk {number}, of tensor {tensor.name},"
    stored = view[chunk.offset : chunk.offset + chunk.stored]
    if xxh3_64(stored) != chunk.hash:
        _reject(f"The checksum of {where} is wrong.")
    if chunk.coding == 0:
        return np.frombuffer(stored, np.uint8)
    stream = zlib.decompressobj()
    try:
        # One byte more than is wanted shows a stream that yields too much, and lets one that does
        # not run to its end.
        plain = stream.decompress(stored, chunk.bytes + 1)
    except zlib.error:
        _reject(f"The zlib stream of {where} is damaged.")
    if len(plain) != chunk.bytes:
        amount = "too many" if len(plain) > chunk.bytes else "too few"
        _reject(f"The zlib stream of {where} yields {amount} bytes.")
    if not stream.eof:
        _reject(f"The zlib stream of {where} does not end with the chunk.")
    if stream.unused_data:
        _reject(f"The zlib stream of {where} ends {len(stream.unused_data)} bytes before it.")
    planes = np.frombuffer(plain, np.uint8).reshape(WIDTH[tensor.precision], -1)
    return np.ascontiguousarray(planes.T).reshape(-1)


def _unpacked(tensor: Tensor, plain: np.ndarray) -> np.ndarray:
    """The matrix in its logical shape: int8 before scaling, everything else as it is meant."""
    width, group = WIDTH[tensor.precision], tensor.group
    # Unsigned numbers keep every bit, those of not-a-number and of negative zero included.
    numbers = plain.view({4: "<u4", 2: "<u2", 1: "u1"}[width])
    tiles = numbers.reshape(tensor.padded_columns // 32, tensor.padded_rows // (16 * group),
                            2, 16, 16, group)
    # (panel, block, tile, line, column, row in the group): rows first, then columns.
    padded = tiles.transpose(1, 3, 5, 0, 2, 4).reshape(tensor.padded_rows, tensor.padded_columns)
    if padded[tensor.rows :].any() or padded[:, tensor.columns :].any():
        _reject(f"The padding inside the matrix {tensor.name} is not zero.")
    bits = padded[: tensor.rows, : tensor.columns]
    if tensor.precision == F32:
        return bits.astype(np.uint32, "C").view(np.float32)
    if tensor.precision == BF16:
        return (bits.astype(np.uint32, "C") << np.uint32(16)).view(np.float32)
    return np.ascontiguousarray(bits).view(np.int8).astype(np.float32)


def _listing(path: str) -> Iterator[str]:
    view = memoryview(_mapped(path)).cast("B")
    header = _header(view)
    yield f"# id\t{header.id}"
    for name, value in header.config.items():
        yield f"# {name}\t{','.join(map(str, value)) if name == 'moe' else value}"
    yield f"# provenance\t{header.provenance}"
    for i, label in enumerate(header.labels or []):
        yield f"# label {i}\t{label}"
    for tensor, values in _values(view, header):
        checksum = zlib.crc32(values.astype(values.dtype.newbyteorder("<"), copy=False))
        yield (f"{tensor.name}\t{tensor.rows}\t{tensor.columns}\t"
               f"{PRECISION_NAME[tensor.precision]}\t{checksum:08x}")


def main(arguments: list[str]) -> int:
    paths = [argument for argument in arguments if argument != "--quiet"]
    if len(paths) != 1:
        print("usage: second_reader.py [--quiet] FILE", file=sys.stderr)
        return 2
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        # The last line can still be a rejection, and then there must be no other.
        lines = list(_listing(paths[0]))
    except Rejected as why:
        print(f"second_reader: {paths[0]}: {why}", file=sys.stderr)
        return 1
    if "--quiet" in arguments:
        lines = ["ok " + lines[0].split("\t")[1]]
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
