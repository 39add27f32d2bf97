"""XXH3-64 and XXH3-128 with seed 0, written from the public xxHash specification.

`xxh3_64(data)` and `xxh3_128(data)` take any contiguous bytes and return an integer; the low half
of the second one is its lower 64 bits.  Run as a program, the module checks itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
_MASK = (1 << 64) - 1

_P32_1, _P32_2, _P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
_P64_1, _P64_2, _P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P64_4, _P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_MX1, _MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25

# The secret is read at odd offsets too, so there is a word for every byte that can begin one.
_KEY = [int.from_bytes(_SECRET[i : i + 8], "little") for i in range(len(_SECRET) - 7)]

_STRIPE = 64
_BLOCK_STRIPES = 16
_BLOCK = _STRIPE * _BLOCK_STRIPES
_SLAB_BLOCKS = 256


def _key_rows(offsets: list[int]) -> np.ndarray:
    return np.array([[_KEY[o + 8 * lane] for lane in range(8)] for o in offsets], np.uint64)


_BLOCK_KEYS = _key_rows([8 * n for n in range(_BLOCK_STRIPES)])
_LAST_KEYS = _key_rows([121])
_SCRAMBLE_KEYS = _key_rows([128])[0]
_SWAP = np.array([1, 0, 3, 2, 5, 4, 7, 6])
_LOW32 = np.uint64(0xFFFFFFFF)
_S32, _S47 = np.uint64(32), np.uint64(47)
_SCRAMBLE_FACTOR = np.uint64(_P32_1)
_START = np.array([_P32_3, _P64_1, _P64_2, _P64_3, _P64_4, _P32_2, _P64_5, _P32_1], np.uint64)


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _u64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _swap(value: int, size: int) -> int:
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def _rotate(value: int, by: int, bits: int) -> int:
    return (value << by | value >> (bits - by)) & ((1 << bits) - 1)


def _fold(a: int, b: int) -> int:
    product = a * b
    return product & _MASK ^ product >> 64


def _finish(x: int) -> int:
    x ^= x >> 37
    x = x * _MX1 & _MASK
    return x ^ x >> 32


def _finish_short(x: int) -> int:
    x ^= x >> 33
    x = x * _P64_2 & _MASK
    x ^= x >> 29
    x = x * _P64_3 & _MASK
    return x ^ x >> 32


def _gathered(data: bytes) -> int:
    """The one 32-bit number that 1 to 3 bytes and their count make."""
    n = len(data)
    return data[-1] | n << 8 | data[0] << 16 | data[n >> 1] << 24


def _mix(data: bytes, at: int, key: int) -> int:
    return _fold(_u64(data, at) ^ _KEY[key], _u64(data, at + 8) ^ _KEY[key + 8])


def _short_64(data: bytes) -> int:
    n = len(data)
    if n == 0:
        return _finish_short(_KEY[56] ^ _KEY[64])
    if n <= 3:
        return _finish_short(_u32(_SECRET, 0) ^ _u32(_SECRET, 4) ^ _gathered(data))
    if n <= 8:
        x = _KEY[8] ^ _KEY[16] ^ (_u32(data, n - 4) | _u32(data, 0) << 32)
        x ^= _rotate(x, 49, 64) ^ _rotate(x, 24, 64)
        x = x * _MX2 & _MASK
        x ^= (x >> 35) + n
        x = x * _MX2 & _MASK
        return x ^ x >> 28
    low = _KEY[24] ^ _KEY[32] ^ _u64(data, 0)
    high = _KEY[40] ^ _KEY[48] ^ _u64(data, n - 8)
    return _finish((n + _swap(low, 8) + high + _fold(low, high)) & _MASK)


def _short_128(data: bytes) -> tuple[int, int]:
    n = len(data)
    if n == 0:
        return _finish_short(_KEY[64] ^ _KEY[72]), _finish_short(_KEY[80] ^ _KEY[88])
    if n <= 3:
        x = _gathered(data)
        turned = _rotate(_swap(x, 4), 13, 32)
        return (
            _finish_short(_u32(_SECRET, 0) ^ _u32(_SECRET, 4) ^ x),
            _finish_short(_u32(_SECRET, 8) ^ _u32(_SECRET, 12) ^ turned),
        )
    if n <= 8:
        x = _KEY[16] ^ _KEY[24] ^ (_u32(data, 0) | _u32(data, n - 4) << 32)
        product = x * (_P64_1 + 4 * n)
        low = product & _MASK
        high = (product >> 64) + 2 * low & _MASK
        low ^= high >> 3
        low ^= low >> 35
        low = low * _MX2 & _MASK
        return low ^ low >> 28, _finish(high)
    first, last = _u64(data, 0), _u64(data, n - 8)
    product = (_KEY[32] ^ _KEY[40] ^ first ^ last) * _P64_1
    other = _KEY[48] ^ _KEY[56] ^ last
    low = (product & _MASK) + (n - 1 << 54) & _MASK
    high = (product >> 64) + other + (other & 0xFFFFFFFF) * (_P32_2 - 1) & _MASK
    wide = (low ^ _swap(high, 8)) * _P64_2
    return _finish(wide & _MASK), _finish((wide >> 64) + high * _P64_2 & _MASK)


def _medium_64(data: bytes) -> int:
    n = len(data)
    total = n * _P64_1
    if n <= 128:
        for i in range((n + 31) // 32):
            total += _mix(data, 16 * i, 32 * i)
            total += _mix(data, n - 16 * (i + 1), 32 * i + 16)
        return _finish(total & _MASK)
    total += sum(_mix(data, 16 * i, 16 * i) for i in range(8))
    total = _finish(total & _MASK)
    total += sum(_mix(data, 16 * i, 16 * (i - 8) + 3) for i in range(8, n // 16))
    total += _mix(data, n - 16, 119)
    return _finish(total & _MASK)


def _medium_128(data: bytes) -> tuple[int, int]:
    n = len(data)
    a, b = n * _P64_1 & _MASK, 0

    def plain(at: int) -> int:
        return _u64(data, at) + _u64(data, at + 8) & _MASK

    def take(one: int, two: int, key: int) -> None:
        nonlocal a, b
        a = (a + _mix(data, one, key) & _MASK) ^ plain(two)
        b = (b + _mix(data, two, key + 16) & _MASK) ^ plain(one)

    if n <= 128:
        for i in reversed(range((n + 31) // 32)):
            take(16 * i, n - 16 * (i + 1), 32 * i)
    else:
        for i in range(4):
            take(32 * i, 32 * i + 16, 32 * i)
        a, b = _finish(a), _finish(b)
        for i in range(4, n // 32):
            take(32 * i, 32 * i + 16, 32 * (i - 4) + 3)
        take(n - 16, n - 32, 103)
    high = a * _P64_1 + b * _P64_4 + n * _P64_2 & _MASK
    return _finish(a + b & _MASK), -_finish(high) & _MASK


def _stripe_sums(stripes: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """What a run of stripes (..., stripe, lane) adds to the eight lanes.

    Between two scrambles the stripes only add, so their order does not matter.
    """
    value = stripes ^ keys
    product = (value & _LOW32) * (value >> _S32)
    return product.sum(axis=-2) + stripes.sum(axis=-2)[..., _SWAP]


def _lanes(view: memoryview) -> list[int]:
    n = len(view)
    blocks = (n - 1) // _BLOCK
    lanes = _START.copy()
    for first in range(0, blocks, _SLAB_BLOCKS):
        count = min(_SLAB_BLOCKS, blocks - first)
        words = np.frombuffer(view, "<u8", count * _BLOCK // 8, first * _BLOCK)
        for row in _stripe_sums(words.reshape(count, _BLOCK_STRIPES, 8), _BLOCK_KEYS):
            lanes += row
            lanes ^= lanes >> _S47
            lanes ^= _SCRAMBLE_KEYS
            lanes *= _SCRAMBLE_FACTOR
    stripes = (n - blocks * _BLOCK - 1) // _STRIPE
    words = np.frombuffer(view, "<u8", stripes * 8, blocks * _BLOCK) if stripes else lanes[:0]
    lanes += _stripe_sums(words.reshape(stripes, 8), _BLOCK_KEYS[:stripes])
    last = np.frombuffer(view, "<u8", 8, n - _STRIPE)
    lanes += _stripe_sums(last.reshape(1, 8), _LAST_KEYS)
    return lanes.tolist()


def _merge(lanes: list[int], start: int, key: int) -> int:
    total = start
    for i in range(0, 8, 2):
        total += _fold(lanes[i] ^ _KEY[key + 8 * i], lanes[i + 1] ^ _KEY[key + 8 * i + 8])
    return _finish(total & _MASK)


def xxh3_64(data: Any) -> int:
    """XXH3-64 (seed 0) of a contiguous buffer."""
    view = memoryview(data).cast("B")
    n = len(view)
    if n <= 16:
        return _short_64(bytes(view))
    if n <= 240:
        return _medium_64(bytes(view))
    return _merge(_lanes(view), n * _P64_1 & _MASK, 11)


def xxh3_128(data: Any) -> int:
    """XXH3-128 (seed 0) of a contiguous buffer."""
    view = memoryview(data).cast("B")
    n = len(view)
    if n <= 16:
        low, high = _short_128(bytes(view))
    elif n <= 240:
        low, high = _medium_128(bytes(view))
    else:
        lanes = _lanes(view)
        low = _merge(lanes, n * _P64_1 & _MASK, 11)
        high = _merge(lanes, ~(n * _P64_2) & _MASK, 117)
    return high << 64 | low


def sample(size: int) -> bytes:
    """What the known answers are about: byte i is bits 24 to 31 of (i * i + i) * 0x9e3779b1."""
    i = np.arange(size, dtype=np.uint64)
    return ((i * i + i) * np.uint64(_P32_1) >> np.uint64(24)).astype(np.uint8).tobytes()


_KNOWN = [
    (0, "2d06800538d394c2", "99aa06d3014798d86001c324468d497f"),
    (1, "c44bdff4074eecdb", "a6cd5e9392000f6ac44bdff4074eecdb"),
    (2, "ab021bde2b1db2b2", "32a901a2d36651d2ab021bde2b1db2b2"),
    (3, "8051a5569926cde9", "5eceb9422e68bb258051a5569926cde9"),
    (4, "a21fb07b94826cad", "460d4e6bf8134b4b8376240cbcd55d7d"),
    (5, "b0650b919c8553e7", "8cc3cd0fbe820ee489ce75af29d0ed7d"),
    (8, "b19b6313be406ab1", "ae0bfd2a28000187ae2307ff97053625"),
    (9, "6ee7cf59b61deff3", "6205fecf2c41ebfc94b8e81577d88cf2"),
    (12, "ad89314dedfe47fc", "62d914d3a0727a8910e91d29f3aabec7"),
    (16, "ff2c72b02c23c488", "846ff4285f22a81dcf2dfcb5fecb4e0d"),
    (17, "a786e4f28644d39e", "ab9d70359c5acbe14bdedec932b34b47"),
    (32, "5a3ef9b459655c59", "0da277c03176eada0d97a1fc1d9fa957"),
    (64, "72a1b93b5062c71b", "5186c9988366a5d266674fa3c2586003"),
    (127, "fbf3562ae0832348", "6c46a7548c09d00a8af7c96a417b1b37"),
    (128, "3ef598270352ee65", "7379a396d0a169e9a2104b744378ed39"),
    (129, "bb623a0bb017f58a", "85b1fe728a09f834aef84a1b9b9f85c2"),
    (160, "6b28b6a0db9c9cf8", "84027c88b659ff35a3d94f2faa126718"),
    (239, "d4bed1907af13311", "3705d1902e699bb523bd032d86e74344"),
    (240, "44a259b763332331", "476200b40b97d76af4e00d055bf3424c"),
    (241, "969f0b1f2e320960", "2b73085ca5e58ff0969f0b1f2e320960"),
    (512, "8e8e92dc645faeb3", "48a58be513f27a768e8e92dc645faeb3"),
    (1024, "195c068a5922a168", "fc2bff27b6cd6635195c068a5922a168"),
    (1025, "42d1ed2c63889fb2", "fb3e97d07625592342d1ed2c63889fb2"),
    (1088, "6c6de0b71c6c5b62", "d47613413935bea26c6de0b71c6c5b62"),
    (2048, "a2ac0974891c9f86", "aa8044cf2882ff3ca2ac0974891c9f86"),
    (100003, "2f1248dbc06a0f03", "02ee41e8e89ac5462f1248dbc06a0f03"),
    (1048576, "bb58af6e141b2a5e", "02f9dc4d7e562772bb58af6e141b2a5e"),
]


def check_known_answers() -> list[int]:
    """The lengths of the samples whose hash is wrong."""
    data = sample(max(size for size, _, _ in _KNOWN))
    return [
        size
        for size, low, wide in _KNOWN
        if f"{xxh3_64(data[:size]):016x}" != low or f"{xxh3_128(data[:size]):032x}" != wide
    ]


if __name__ == "__main__":
    wrong = check_known_answers()
    print(f"xxh3: wrong at lengths {wrong}" if wrong else f"ok {len(_KNOWN)} lengths")
    raise SystemExit(1 if wrong else 0)
