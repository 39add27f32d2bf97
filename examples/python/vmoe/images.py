"""Images of a call: pictures of any kind, or arrays of the model's size, as the library reads them.

What is made here holds on to the memory that it points to.
"""
from __future__ import annotations

import os
from typing import Any, Protocol, Sequence, Union

import numpy as np

from . import _library as c


class _Pillow(Protocol):
    """PIL.Image.Image, which is not imported here."""

    def convert(self, mode: str) -> Any:
        ...


# A JPEG as its bytes or by its path, or RGB pixels: uint8 (height, width, 3), or an image of Pillow.
PictureLike = Union[bytes, bytearray, memoryview, str, "os.PathLike[str]",
                    "np.ndarray[Any, np.dtype[Any]]", _Pillow]

# N of them: float32 or uint8 (N, side, side, 3) of the model's size, or a list of pictures.
Images = Union["np.ndarray[Any, np.dtype[Any]]", Sequence[PictureLike]]


def given(images: Images, side: int) -> Any:
    """The c.Input of a call to a model whose images are `side` pixels wide and high."""
    return _array(images, side) if isinstance(images, np.ndarray) else listed(images)


def _array(images: "np.ndarray[Any, np.dtype[Any]]", side: int) -> Any:
    if images.ndim != 4 or images.shape[1:] != (side, side, 3):
        raise c.refused("images", f"the shape is {images.shape}, expected (N, {side}, {side}, 3)")
    if images.dtype not in (np.float32, np.uint8):
        raise c.refused("images", f"the dtype is {images.dtype}, expected float32 or uint8")
    data = np.require(images, requirements=["C", "A"])  # the same object if it is so already
    made = c.sized(c.Input)
    made.images, made.length, made.keep = len(data), data.size, data
    setattr(made, "tensor" if data.dtype == np.float32 else "pixels", data.ctypes.data)
    return made


def listed(pictures: Sequence[PictureLike]) -> Any:
    """The c.Input of pictures of any size."""
    if isinstance(pictures, (str, bytes, os.PathLike)):
        raise c.refused("images", "expected a list of pictures, not one")
    made = c.sized(c.Input)
    array = (c.Picture * max(len(pictures), 1))()
    made.images, made.pictures, made.keep = len(pictures), array, []
    for number, (raw, picture) in enumerate(zip(array, pictures)):
        if isinstance(picture, (str, os.PathLike)):
            picture = _read(picture)
        if isinstance(picture, (bytes, bytearray, memoryview)):
            data: np.ndarray[Any, np.dtype[np.uint8]] = np.frombuffer(picture, np.uint8)
            raw.kind, raw.bytes = 1, data.size
        else:
            data = _pixels(picture, f"input.pictures[{number}]")
            raw.kind = 2
            raw.height, raw.width = data.shape[:2]
            # NumPy may say anything of the way to a row that is not there.
            raw.stride = data.strides[0] if raw.height > 1 else 3 * raw.width
            raw.bytes = raw.stride * (raw.height - 1) + 3 * raw.width if data.size else 0
        raw.data = data.ctypes.data
        made.keep.append(data)
    return made


def _read(path: Union[str, "os.PathLike[str]"]) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:  # a path with a zero byte is the latter
        text = f"cannot be read: {getattr(error, 'strerror', error)}"
        raise c.FileError(c.Status.IO, os.fspath(path), text) from error


def _pixels(picture: Any, where: str) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """RGB pixels whose rows are dense; the rows may have gaps between them, as those of a crop."""
    if not isinstance(picture, np.ndarray) and hasattr(picture, "convert"):
        picture = picture.convert("RGB")
    data = np.asarray(picture)
    if data.ndim != 3 or data.shape[2] != 3 or data.dtype != np.uint8:
        raise c.refused(where, f"got {data.dtype} of shape {data.shape}, "
                               "expected uint8 (height, width, 3)")
    if max(data.shape) >= 2**32:
        raise c.refused(where, f"a picture of shape {data.shape} is too large")
    if data.strides[1:] != (3, 1) or data.strides[0] < 3 * data.shape[1]:
        data = np.ascontiguousarray(data)
    return data
