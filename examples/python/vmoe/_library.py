"""The shared library: where it is, the structs of vmoe.h, and errors as exceptions."""
from __future__ import annotations

import ctypes
import enum
import os
import pathlib
import weakref
from ctypes import (CFUNCTYPE, POINTER, Structure, c_char, c_char_p, c_double, c_float, c_int,
                    c_int32, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p)
from typing import Any

PROGRESS = CFUNCTYPE(None, c_void_p, c_uint64, c_uint64)


class RawError(Structure):
    _fields_ = [("status", c_int), ("where", c_char * 96), ("text", c_char * 320)]


class LoadOptions(Structure):
    _fields_ = [("size", c_uint32), ("flags", c_uint32), ("max_bytes", c_uint64),
                ("allocator", c_void_p), ("cancel", POINTER(c_int32))]


class Preprocessing(Structure):
    _fields_ = [("kind", c_uint32), ("side", c_uint32), ("crop", c_uint32)]


def _numbers(kind: Any, *names: str) -> Any:
    return [(name, kind) for name in names]


class RawInfo(Structure):
    _fields_ = _numbers(
        c_uint32, "size", "image_size", "patch_size", "tokens", "width", "heads", "mlp", "layers",
        "classes", "pre_logits", "features", "classifier", "gelu", "output", "experts",
        "moe_layers") + [
        ("moe", c_uint8 * 256), ("experts_per_token", c_uint32), ("group_images", c_uint32),
        ("capacity", c_double), ("capacity_rule", c_uint32), ("capacity_multiple", c_uint32),
        ("preprocessing", Preprocessing), ("precision", c_uint32), ("compact", c_uint32),
        ("labels", c_uint32), ("parameters", c_uint64), ("weight_bytes", c_uint64),
        ("file_bytes", c_uint64), ("id", c_uint8 * 16), ("members", c_uint32),
        ("reserved", c_uint32)]


class RawClass(Structure):
    _fields_ = [("index", c_uint32), ("probability", c_float), ("label", c_char_p)]


class RawOptions(Structure):
    _fields_ = [("size", c_uint32), ("experts_per_token", c_uint32), ("capacity", c_double),
                ("priority", c_uint32), ("group_images", c_uint32), ("capacity_rule", c_uint32),
                ("capacity_multiple", c_uint32), ("threads", c_uint32), ("precision", c_uint32),
                ("isa", c_uint32), ("reserved", c_uint32), ("cancel", POINTER(c_int32)),
                ("progress", PROGRESS), ("progress_context", c_void_p), ("routes", c_void_p),
                ("routes_length", c_size_t)]


class Picture(Structure):
    _fields_ = [("kind", c_uint32), ("width", c_uint32), ("height", c_uint32), ("data", c_void_p),
                ("bytes", c_size_t), ("stride", c_size_t)]


class Input(Structure):
    _fields_ = [("size", c_uint32), ("reserved", c_uint32), ("images", c_size_t),
                ("pictures", POINTER(Picture)), ("pixels", c_void_p), ("tensor", c_void_p),
                ("length", c_size_t)]


class LayerReport(Structure):
    _fields_ = [("layer", c_uint32), ("reserved", c_uint32), ("assigned", c_uint64),
                ("processed", c_uint64), ("dropped", c_uint64), ("untouched", c_uint64)]


class RawReport(Structure):
    _fields_ = [("size", c_uint32), ("isa", c_uint32), ("precision", c_uint32),
                ("threads", c_uint32), ("experts_per_token", c_uint32), ("group_images", c_uint32),
                ("groups", c_uint64), ("capacity", c_uint64), ("assigned", c_uint64),
                ("processed", c_uint64), ("dropped", c_uint64), ("untouched", c_uint64),
                ("macs", c_uint64), ("weight_bytes", c_uint64), ("seconds", c_double * 7),
                ("total_seconds", c_double), ("layers", POINTER(LayerReport)),
                ("layers_length", c_size_t), ("load", c_void_p), ("load_length", c_size_t),
                ("routes", c_void_p), ("routes_length", c_size_t), ("macs_saved", c_uint64)]


class Output(Structure):
    _fields_ = [("size", c_uint32), ("reserved", c_uint32), ("logits", c_void_p),
                ("logits_length", c_size_t), ("probabilities", c_void_p),
                ("probabilities_length", c_size_t), ("features", c_void_p),
                ("features_length", c_size_t), ("top", POINTER(RawClass)),
                ("top_length", c_size_t), ("top_count", c_size_t), ("report", POINTER(RawReport)),
                ("member_logits", c_void_p), ("member_logits_length", c_size_t)]


class RawCost(Structure):
    _fields_ = _numbers(c_uint32, "size", "reserved") + _numbers(
        c_uint64, "capacity", "macs", "macs_padded", "macs_dense", "weight_bytes",
        "workspace_bytes", "macs_saved")


def sized(kind: Any) -> Any:
    """A zeroed struct that knows its size, as the VMOE_..._INIT macros make it."""
    made = kind()
    made.size = ctypes.sizeof(kind)
    return made


class Status(enum.IntEnum):
    """The values of `Error.status`, as vmoe.h defines them."""
    ARGUMENT = 1
    UNSUPPORTED = 2
    MEMORY = 3
    IO = 4
    FORMAT = 5
    CHECKSUM = 6
    VERSION = 7
    LIMIT = 8
    IMAGE = 9
    CANCELLED = 10
    THREAD = 11


class Error(Exception):
    """What was refused: `status` is one of Status, `where` the place, `text` a sentence about it."""

    def __init__(self, status: int, where: str, text: str):
        super().__init__(f"{where}: {text}" if where else text)
        self.status, self.where, self.text = int(status), where, text

    def __reduce__(self) -> Any:
        return type(self), (self.status, self.where, self.text)


class ArgumentError(Error, ValueError):
    """The call is wrong: an option out of range, a wrong shape or dtype, a closed model."""


class FileError(Error, OSError):
    """The operating system refused to open, read or write a file."""


class NoMemoryError(Error, MemoryError):
    """An allocation of the library failed."""


class Cancelled(Error):
    """A Cancel token ended the call or the load; what was done of it is lost."""


_KINDS: dict[int, type[Error]] = {
    Status.ARGUMENT: ArgumentError, Status.MEMORY: NoMemoryError, Status.IO: FileError,
    Status.CANCELLED: Cancelled}


def refused(where: str, text: str) -> ArgumentError:
    """The exception for a call that this package itself finds wrong."""
    return ArgumentError(Status.ARGUMENT, where, text)


def check(status: int, error: RawError) -> None:
    if status != 0:
        raise _KINDS.get(status, Error)(status, error.where.decode("utf-8", "replace"),
                                        error.text.decode("utf-8", "replace"))


def _open() -> ctypes.CDLL:
    """VMOE_LIBRARY, the library of the wheel, or that of the system, in this order."""
    carried = pathlib.Path(__file__).with_name("libvmoe.so")
    path = os.environ.get("VMOE_LIBRARY") or (str(carried) if carried.exists() else "libvmoe.so.0")
    library = ctypes.CDLL(path)
    library.vmoe_free.argtypes = [c_void_p]
    library.vmoe_free.restype = None
    library.vmoe_label.argtypes = [c_void_p, c_uint32]
    library.vmoe_label.restype = c_char_p
    library.vmoe_load_file.argtypes = [c_char_p, POINTER(LoadOptions), POINTER(c_void_p),
                                       POINTER(RawError)]
    library.vmoe_get_info.argtypes = [c_void_p, POINTER(RawInfo), POINTER(RawError)]
    library.vmoe_run.argtypes = [c_void_p, POINTER(Input), POINTER(RawOptions), POINTER(Output),
                                 POINTER(RawError)]
    library.vmoe_get_cost.argtypes = [POINTER(RawInfo), POINTER(RawOptions), c_size_t, POINTER(RawCost),
                                      POINTER(RawError)]
    library.vmoe_preprocess.argtypes = [POINTER(Preprocessing), POINTER(Picture), c_void_p, c_size_t,
                                        POINTER(RawError)]
    library.vmoe_isa_name.argtypes = [c_uint32]
    library.vmoe_isa_name.restype = c_char_p
    return library


library = _open()


class Handle:
    """A vmoe_model, freed with the last reference to this, be that of Model or of a call."""

    def __init__(self) -> None:
        self._as_parameter_ = c_void_p()  # for vmoe_load_file to fill
        for ref in [ref for ref in tuple(_refs) if ref() is None]:
            _refs.discard(ref)
        _refs.add(_Free(self))


class _Free(weakref.ref[Handle]):
    """Calls vmoe_free(model) when its handle dies.

    ctypes does so without running Python code: if a signal arrives, __del__ may end before it has
    begun, and the KeyboardInterrupt would be lost.
    """
    _as_parameter_: c_void_p

    def __new__(cls, handle: Handle) -> "_Free":
        made = super().__new__(cls, handle, library.vmoe_free)
        made._as_parameter_ = handle._as_parameter_
        return made

    def __init__(self, handle: Handle) -> None:
        super().__init__(handle, library.vmoe_free)  # type: ignore[call-arg]


_refs: set[_Free] = set()
