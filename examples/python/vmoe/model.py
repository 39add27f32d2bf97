"""The model and its calls."""
from __future__ import annotations

import _thread
import ctypes
import os
import threading
import time
from typing import Any, Callable, Optional, Sequence, Union

import numpy as np

from . import _library as c
from . import images as given
from .images import Images, PictureLike
from .options import Cancel, Options, count
from .results import (Class, Cost, Info, Result, cost_of, info_of, raw_report, report_of)

# A call below this ends before anyone would interrupt it: some 10 ms with AVX-512, and a few times
# as long with little else or a dial turned up.  Starting a thread would take 0.1 ms.
_SHORT_MACS = 500_000_000

_DEFAULTS = Options()


class Model:
    """One loaded `.vmoe` file.  Any number of threads may call at the same time.

    It pickles as its path: where it is unpickled, the file is loaded again.
    """

    def __init__(self, path: Union[str, "os.PathLike[str]"], mmap: bool = False,
                 verify: bool = True, cancel: Optional[Cancel] = None):
        """See Model.load."""
        options, handle, error = c.sized(c.LoadOptions), c.Handle(), c.RawError()
        token = cancel if cancel is not None else Cancel()
        options.flags = (1 if mmap else 0) | (0 if verify else 2)
        options.cancel = ctypes.pointer(token.flag)
        name = os.fsencode(path)
        if b"\0" in name:
            raise c.refused("path", "a path contains no zero byte")
        c.check(_interruptible(lambda: c.library.vmoe_load_file(
            name, options, handle._as_parameter_, error), token), error)
        self._handle: Optional[c.Handle] = handle
        self._origin = (os.path.abspath(os.fsdecode(name)), mmap, verify)
        self._raw_info = c.sized(c.RawInfo)
        c.check(c.library.vmoe_get_info(handle, self._raw_info, error), error)
        self._info = info_of(self._raw_info)
        self._macs = self.cost().macs // self._group(_DEFAULTS)

    @classmethod
    def load(cls, path: Union[str, "os.PathLike[str]"], mmap: bool = False,
             verify: bool = True, cancel: Optional[Cancel] = None) -> "Model":
        """Loads a file.

        path: of a `.vmoe` file.
        mmap: share the weights of a raw file between processes; nobody may then rewrite it in place.
        verify: check every byte, not the header alone.
        cancel: a Cancel token that other threads may use to end the load.

        Raises FileError if it cannot be read, NoMemoryError, Cancelled, or Error with the status
        FORMAT, CHECKSUM, VERSION or LIMIT.
        """
        return cls(path, mmap, verify, cancel)

    def close(self) -> None:
        """Frees the model, as soon as calls that still run have ended; new calls are refused."""
        self._handle = None

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        self._opened()
        return type(self), self._origin

    def __repr__(self) -> str:
        return f"<vmoe.{type(self).__name__} {self._origin[0]!r}>"

    def _opened(self) -> c.Handle:
        """The handle; who has it keeps the model alive, even if somebody closes it meanwhile."""
        handle = self._handle
        if handle is None:
            raise c.refused("model", "the model is closed")
        return handle

    @property
    def info(self) -> Info:
        """What the model is."""
        return self._info

    @property
    def labels(self) -> list[str]:
        """The names of the classes; empty strings if the file has none."""
        handle = self._opened()
        return [c.library.vmoe_label(handle, i).decode() for i in range(self._info.classes)]

    def _group(self, options: Options) -> int:
        """Images of the smallest call that these options permit."""
        if self._info.experts == 0 or options.group == "all":
            return 1
        return options._raw().group_images or self._info.group_images

    def cost(self, images: Optional[int] = None, options: Options = _DEFAULTS) -> Cost:
        """Multiply-adds, bytes and workspace of a call that is not made yet.

        images: of the call; None: one group.  options: as for the call.  Raises ArgumentError.
        """
        raw, error = c.sized(c.RawCost), c.RawError()
        number = self._group(options) if images is None else count(images, "images", 2**63, 0)
        c.check(c.library.vmoe_get_cost(self._raw_info, options._raw(), number, raw, error), error)
        return cost_of(raw)

    def preprocess(self, picture: PictureLike) -> "np.ndarray[Any, np.dtype[Any]]":
        """What the model sees of a picture.

        picture: as for classify.  The answer is (side, side, 3), uint8 in 0..255, or float32 of the
        same range for models whose preprocessing averages.  Raises as classify does.
        """
        how = self._raw_info.preprocessing
        side, kind = (how.side, np.uint8) if how.kind == 1 else (how.crop, np.float32)
        seen: np.ndarray[Any, np.dtype[Any]] = np.empty((side, side, 3), kind)
        raw, error = given.listed([picture]), c.RawError()
        c.check(c.library.vmoe_preprocess(how, raw.pictures, seen.ctypes.data, seen.nbytes, error),
                error)
        return seen

    def classify(self, picture: PictureLike, options: Options = _DEFAULTS,
                 top: int = 5) -> list[Class]:
        """The most probable classes of one picture, best first.

        picture: the path or the bytes of a JPEG, RGB pixels as uint8 (height, width, 3), or an image
            of Pillow.  Arrays with dense rows are read where they are.
        options: the dial; group=1 for a file that says larger groups.
        top: how many classes; all, if there are fewer.

        Raises ArgumentError for a wrong shape, dtype or option, FileError if the file cannot be
        read, and Error with the status IMAGE for a JPEG that is damaged.
        """
        return self.classify_batch([picture], options, top)[0]

    def classify_batch(self, pictures: Sequence[PictureLike], options: Options = _DEFAULTS,
                       top: int = 5) -> list[list[Class]]:
        """The same for many pictures in one call: a list of classes for each.

        pictures: mixed kinds and sizes are fine.  options: the dial.  top: how many classes of each.
        One bad picture refuses them all.  Raises as classify does.
        """
        handle, best = self._opened(), min(count(top, "top", 2**32 - 1), self._info.classes)
        raw, output = given.listed(pictures), c.sized(c.Output)
        classes = (c.RawClass * (raw.images * best))()
        output.top, output.top_length, output.top_count = classes, len(classes), best
        self._run(handle, raw, options, output)
        found = [Class(k.index, k.probability, k.label.decode()) for k in classes]
        return [found[i:i + best] for i in range(0, len(found), best)]

    def logits(self, images: Images,
               options: Options = _DEFAULTS) -> "np.ndarray[Any, np.dtype[np.float32]]":
        """The logits, float32 (N, classes).

        images: as for run.  options: the dial.  Raises as run does.
        """
        return self._arrays(images, options, "logits")[0]

    def member_logits(self, images: Images,
                      options: Options = _DEFAULTS) -> "np.ndarray[Any, np.dtype[np.float32]]":
        """The logits of every member of an ensemble, float32 (N, members, classes).

        images: as for run.  options: the dial.  Raises as run does.
        """
        return self._arrays(images, options, "member_logits")[0]

    def features(self, images: Images,
                 options: Options = _DEFAULTS) -> "np.ndarray[Any, np.dtype[np.float32]]":
        """The vectors that enter the head, float32 (N, features).

        images: as for run.  options: the dial.  Raises as run does.
        """
        return self._arrays(images, options, "features")[0]

    def run(self, images: Images, options: Options = _DEFAULTS) -> Result:
        """Everything about a batch: logits, probabilities, features and a report.

        images: float32 (N, side, side, 3) in -1..1, uint8 of the same shape in 0..255, or a list of
            pictures as for classify.  C-contiguous arrays are read where they are, others are copied.
        options: the dial.

        Raises ArgumentError for a wrong shape, dtype or option, as classify does for pictures,
        NoMemoryError, and Cancelled.
        """
        raw, info = given.given(images, self._info.image_size), self._info
        picks = options.experts if options.experts is not None else info.experts_per_token
        own = info.experts // info.members
        if picks > own > 0:  # before arrays of that size are made
            raise c.refused("options.experts", f"{picks} are more than the {own} of the "
                                               f"{'model' if info.members == 1 else 'member'}")
        report = raw_report(info, raw.images, max(picks, 0))
        logits, probabilities, features = self._arrays(raw, options, "logits", "probabilities",
                                                       "features", report=report)
        return Result(logits, probabilities, features, report_of(report))

    def _arrays(self, images: Any, options: Options, *names: str,
                report: Any = None) -> "list[np.ndarray[Any, np.dtype[np.float32]]]":
        """A call that fills new arrays of these names in vmoe_output."""
        raw = images if isinstance(images, c.Input) else given.given(images, self._info.image_size)
        output = c.sized(c.Output)
        info = self._info
        widths = {"features": (info.features,), "member_logits": (info.members, info.classes)}
        arrays = [np.empty((raw.images, *widths.get(name, (info.classes,))), np.float32)
                  for name in names]
        output.keep = arrays
        for name, array in zip(names, arrays):
            setattr(output, name, array.ctypes.data)
            setattr(output, f"{name}_length", array.size)
        if report is not None:
            output.report = ctypes.pointer(report)
        self._run(self._opened(), raw, options, output)
        return arrays

    def _run(self, handle: c.Handle, raw: Any, options: Options, output: Any) -> None:
        """Calls the library; Ctrl-C in the main thread cancels the call."""
        chosen, error = options._raw(), c.RawError()
        token = options.cancel if options.cancel is not None else Cancel()
        chosen.cancel = ctypes.pointer(token.flag)

        def call() -> int:
            return int(c.library.vmoe_run(handle, raw, chosen, output, error))

        short = raw.images * self._macs < _SHORT_MACS
        c.check(call() if short else _interruptible(call, token), error)


def _interruptible(call: Callable[[], int], token: Cancel) -> int:
    """Runs `call`, and cancels if an exception such as KeyboardInterrupt arrives meanwhile.

    A signal is handled between bytecodes, so the main thread must not be in the call itself.
    `call` holds on to everything that it uses: a second interrupt, which ends the waiting for a call
    that is being cancelled, takes nothing from under it.  (What `threading` has may be left locked by
    an interrupt, a new thread with it; hence the plain lock and the plain thread.)
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    steps: list[str] = []
    status: list[int] = []
    done = _thread.allocate_lock()
    done.acquire()

    def work() -> None:
        steps.append("begun")
        try:
            status.append(call())
        finally:
            steps.append("ended")
            done.release()

    try:
        _thread.start_new_thread(work, ())
        # A signal may come just before the wait, or be given to another thread: it ends no wait.
        while not done.acquire(timeout=0.05):
            pass
    except BaseException:
        token.cancel()
        while steps == ["begun"]:
            time.sleep(0.001)
        raise
    return status[0]
