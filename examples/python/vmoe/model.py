"""Models, options and results."""
from __future__ import annotations

import ctypes
import os
import threading
import time
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional, Sequence, Union

import numpy as np

from . import _library as c

_PRIORITIES = {"default": 0, "vanilla": 1, "bpr-max": 2, "bpr-sum": 3}
_PRECISIONS = {"auto": 0, "f32": 1, "bf16": 2, "int8": 3}

# A call below this ends before anyone would interrupt it: some 10 ms with AVX-512, and a few times
# as long with little else or a dial turned up.  Starting a thread would take 0.1 ms.
_SHORT_MACS = 500_000_000

# A JPEG as bytes or by its path, or RGB pixels (height, width, 3) uint8 as an array or PIL image.
PictureLike = Union[bytes, str, "os.PathLike[str]", "np.ndarray[Any, Any]", Any]


@dataclass(frozen=True)
class Options:
    """The dial of a call.  None means the model's default.

    capacity: the ratio C.  experts: K, experts per token.  priority: vanilla, bpr-max or bpr-sum.
    group: images that compete for the same slots, or "all".  precision: auto, f32, bf16 or int8.
    """
    capacity: Optional[float] = None
    experts: Optional[int] = None
    priority: str = "default"
    group: Union[int, str, None] = None
    capacity_multiple: Optional[int] = None
    threads: Optional[int] = None
    precision: str = "auto"

    def _raw(self) -> Any:
        raw = c.sized(c.RawOptions)
        if self.capacity is not None:
            # The library reads zero as "the default"; who writes zero here means it.
            raw.capacity = self.capacity if self.capacity != 0 else -1.0
        for value, field, text in ((self.experts, "experts_per_token", "experts"),
                                   (self.capacity_multiple, "capacity_multiple", "multiple"),
                                   (self.threads, "threads", "threads")):
            if value is not None:
                if not 0 < value < 2**32:
                    raise c.ArgumentError(1, f"options.{text}", f"{value} is out of range")
                setattr(raw, field, value)
        raw.priority = _named(_PRIORITIES, self.priority, "options.priority")
        raw.precision = _named(_PRECISIONS, self.precision, "options.precision")
        if self.group == "all":
            raw.group_images = 2**32 - 1
        elif self.group is not None:
            if not isinstance(self.group, int) or not 0 < self.group < 2**32 - 1:
                raise c.ArgumentError(1, "options.group",
                                      f"{self.group!r} is neither a number of images nor 'all'")
            raw.group_images = self.group
        return raw


def _named(names: dict[str, int], name: str, where: str) -> int:
    if name not in names:
        raise c.ArgumentError(1, where, f"{name!r} is none of {', '.join(names)}")
    return names[name]


@dataclass(frozen=True)
class Class:
    """One class of a picture."""
    index: int
    probability: float
    label: str


class Report(NamedTuple):
    """What a call did.

    load: (moe_layers, E) pairs that each expert processed.  routes: (moe_layers, images, T, K), the
    expert of each choice, or -1 - expert if it found no slot.
    """
    capacity: int
    experts_per_token: int
    assigned: int
    processed: int
    dropped: int
    untouched: int
    macs: int
    seconds: float
    load: "np.ndarray[Any, np.dtype[np.uint64]]"
    routes: "np.ndarray[Any, np.dtype[np.int16]]"


class Result(NamedTuple):
    """logits and probabilities (images, classes), features (images, features), and the report."""
    logits: "np.ndarray[Any, np.dtype[np.float32]]"
    probabilities: "np.ndarray[Any, np.dtype[np.float32]]"
    features: "np.ndarray[Any, np.dtype[np.float32]]"
    report: Report


class Model:
    """One loaded `.vmoe` file."""

    def __init__(self, handle: ctypes.c_void_p, path: str, mmap: bool, verify: bool):
        self._handle: Optional[ctypes.c_void_p] = handle
        self._origin = (path, mmap, verify)
        self._users = 0
        self._lock = threading.Lock()
        self._info = c.sized(c.Info)
        error = c.RawError()
        c.check(c.library.vmoe_get_info(handle, self._info, error), error)
        self._macs = self.cost().macs

    @classmethod
    def load(cls, path: Union[str, "os.PathLike[str]"], mmap: bool = False,
             verify: bool = True) -> "Model":
        """Reads a file; `mmap` shares the weights of a raw one between processes."""
        options, handle, error = c.sized(c.LoadOptions), ctypes.c_void_p(), c.RawError()
        options.flags = (1 if mmap else 0) | (0 if verify else 2)
        name = os.fsencode(path)
        if b"\0" in name:
            raise c.ArgumentError(1, "path", "a path contains no zero byte")
        c.check(c.library.vmoe_load_file(name, options, handle, error), error)
        return cls(handle, os.fspath(path), mmap, verify)

    def close(self) -> None:
        """Frees the model; calls that still run make this an error."""
        with self._lock:
            if self._users:
                raise RuntimeError(f"{self._users} calls with this model are running")
            handle, self._handle = self._handle, None
        if handle is not None:
            c.library.vmoe_free(handle)

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()

    def __reduce__(self) -> Any:
        return Model.load, self._origin

    @property
    def info(self) -> c.Info:
        return self._info  # type: ignore[no-any-return]

    @property
    def labels(self) -> list[str]:
        """The names of the classes; empty strings if the file has none."""
        with _Use(self) as handle:
            return [c.library.vmoe_label(handle, i).decode() for i in range(self._info.classes)]

    def cost(self, images: int = 1, options: Options = Options()) -> c.Cost:
        """Multiply-adds, bytes and workspace of a call that is not made yet."""
        cost, error = c.sized(c.Cost), c.RawError()
        c.check(c.library.vmoe_get_cost(self._info, options._raw(), images, cost, error), error)
        return cost  # type: ignore[no-any-return]

    def preprocess(self, picture: PictureLike) -> "np.ndarray[Any, Any]":
        """What the model sees of a picture: (side, side, 3), uint8 or float32 in 0..255."""
        how = self._info.preprocessing
        side, kind = (how.side, np.uint8) if how.kind == 1 else (how.crop, np.float32)
        seen = np.empty((side, side, 3), kind)
        raw, keep = _pictures([picture])
        error = c.RawError()
        c.check(c.library.vmoe_preprocess(how, raw.pictures, seen.ctypes.data, seen.nbytes, error),
                error)
        del keep
        return seen

    def classify(self, picture: PictureLike, options: Options = Options(),
                 top: int = 5) -> list[Class]:
        """The most probable classes of one picture, best first."""
        return self.classify_batch([picture], options, top)[0]

    def classify_batch(self, pictures: Sequence[PictureLike], options: Options = Options(),
                       top: int = 5) -> list[list[Class]]:
        """The same for many pictures in one call."""
        count = min(top, self._info.classes)
        classes = (c.RawClass * (len(pictures) * max(count, 0)))()
        output = c.sized(c.Output)
        output.top, output.top_length, output.top_count = classes, len(classes), count
        raw, keep = _pictures(pictures)
        self._run(raw, options, output)
        del keep
        found = [Class(k.index, k.probability, k.label.decode()) for k in classes]
        return [found[i * count:(i + 1) * count] for i in range(len(pictures))]

    def run(self, images: Union["np.ndarray[Any, Any]", Sequence[PictureLike]],
            options: Options = Options()) -> Result:
        """Everything about a batch.

        images: float32 (N, side, side, 3) in -1..1, uint8 of the same shape, or a list of pictures
        of any size.  C-contiguous arrays are read in place.
        """
        keep: Any
        if isinstance(images, np.ndarray):
            raw, keep = self._array(images)
        else:
            raw, keep = _pictures(images)
        n, info = raw.images, self._info
        k = options.experts if options.experts is not None else info.experts_per_token
        if k > info.experts > 0:  # before arrays of that size are made
            raise c.ArgumentError(1, "options.experts", f"{k} are more than the {info.experts} of "
                                                        "the model")
        logits = np.empty((n, info.classes), np.float32)
        probabilities = np.empty_like(logits)
        features = np.empty((n, info.features), np.float32)
        load = np.zeros((info.moe_layers, info.experts), np.uint64)
        routes = np.zeros((info.moe_layers, n, info.tokens, max(k, 0)), np.int16)
        output, report = c.sized(c.Output), c.sized(c.RawReport)
        for name, array in (("logits", logits), ("probabilities", probabilities),
                            ("features", features)):
            setattr(output, name, array.ctypes.data)
            setattr(output, name + "_length", array.size)
        report.load, report.load_length = load.ctypes.data, load.size
        report.routes, report.routes_length = routes.ctypes.data, routes.size
        output.report = ctypes.pointer(report)
        self._run(raw, options, output)
        del keep
        return Result(logits, probabilities, features, Report(
            report.capacity, report.experts_per_token, report.assigned, report.processed,
            report.dropped, report.untouched, report.macs, report.total_seconds, load, routes))

    def _array(self, images: "np.ndarray[Any, Any]") -> tuple[Any, Any]:
        side = self._info.image_size
        if images.ndim != 4 or images.shape[1:] != (side, side, 3):
            raise c.ArgumentError(1, "images", f"the shape is {images.shape}, "
                                               f"expected (N, {side}, {side}, 3)")
        if images.dtype not in (np.float32, np.uint8):
            raise c.ArgumentError(1, "images", f"the dtype is {images.dtype}, "
                                               "expected float32 or uint8")
        keep = np.ascontiguousarray(images)
        raw = c.sized(c.Input)
        raw.images, raw.length = len(keep), keep.size
        setattr(raw, "tensor" if keep.dtype == np.float32 else "pixels", keep.ctypes.data)
        return raw, keep

    def _run(self, raw: Any, options: Options, output: Any) -> None:
        """Calls the library; Ctrl-C in the main thread cancels the call."""
        chosen, error, cancel = options._raw(), c.RawError(), ctypes.c_int32(0)
        chosen.cancel = ctypes.pointer(cancel)
        status: list[int] = []
        done = threading.Lock()
        done.acquire()
        with _Use(self) as handle:
            claim: dict[str, str] = {}

            def call() -> None:
                if claim.setdefault("by", "call") == "call":
                    status.append(c.library.vmoe_run(handle, raw, chosen, output, error))
                done.release()

            in_main_thread = threading.current_thread() is threading.main_thread()
            if not in_main_thread or raw.images * self._macs < _SHORT_MACS:
                call()
            else:
                # A signal is handled between bytecodes, so the main thread must not be in the call;
                # and it must not leave before the call has: the arrays are in use.  (After an
                # interrupt Thread.join and Event.wait may no longer work, hence the plain lock.)
                try:
                    threading.Thread(target=call).start()
                    done.acquire()
                except BaseException:
                    _abandon(claim, cancel, status)
                    raise
        c.check(status[0], error)


def _abandon(claim: dict[str, str], cancel: ctypes.c_int32, status: list[int]) -> None:
    """Ends a call that runs; one whose thread has not come so far will never begin."""
    while True:
        try:
            cancel.value = 1
            while claim.setdefault("by", "nobody") == "call" and not status:
                time.sleep(0.001)
            return
        except BaseException:  # the first interrupt is raised; more of them are not needed
            pass


class _Use:
    """Holds a model open for a call."""

    def __init__(self, model: Model):
        self.model = model

    def __enter__(self) -> ctypes.c_void_p:
        with self.model._lock:
            if self.model._handle is None:
                raise c.ArgumentError(1, "model", "the model is closed")
            self.model._users += 1
            return self.model._handle

    def __exit__(self, *_: object) -> None:
        with self.model._lock:
            self.model._users -= 1


def _pictures(pictures: Sequence[PictureLike]) -> tuple[Any, Any]:
    """The library's list of pictures, and what must live as long as it is used."""
    if isinstance(pictures, (str, bytes)):
        raise c.ArgumentError(1, "images", "expected a list of pictures, not one")
    keep: list[Any] = []
    array = (c.Picture * max(len(pictures), 1))()
    for raw, picture in zip(array, pictures):
        if isinstance(picture, (str, os.PathLike)):
            with open(picture, "rb") as file:
                picture = file.read()
        if isinstance(picture, (bytes, bytearray, memoryview)):
            data = np.frombuffer(picture, np.uint8)
            raw.kind = 1
        else:
            if not isinstance(picture, np.ndarray) and hasattr(picture, "convert"):
                picture = picture.convert("RGB")
            data = np.asarray(picture)
            if data.ndim != 3 or data.shape[2] != 3 or data.dtype != np.uint8:
                raise c.ArgumentError(1, "picture", f"got {data.dtype} of shape {data.shape}, "
                                                    "expected uint8 (height, width, 3)")
            data = np.ascontiguousarray(data)
            raw.kind, raw.height, raw.width = 2, data.shape[0], data.shape[1]
        raw.data, raw.bytes = data.ctypes.data, data.size
        keep.append(data)
    made = c.sized(c.Input)
    made.images, made.pictures = len(pictures), array
    keep.append(array)
    return made, keep
