"""What the tests of the Python package share: where it is, the shipped model, inputs.

A test is a program with the arguments BUILD MODEL, or is run by pytest.
"""
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Iterator
from unittest import mock

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
_arguments = sys.argv[1:3] if pathlib.Path(sys.argv[0]).parent.name == "python" else []
BUILD, MODEL = map(str, (pathlib.Path(path).resolve() for path in _arguments or (
    ROOT / "build/release", ROOT / "examples/demo/fashion-mnist.vmoe")))
if "VMOE_INSTALLED" not in os.environ:  # else the package that pip installed is tested
    version = (ROOT / "VERSION").read_text().strip()
    os.environ["VMOE_LIBRARY"] = f"{BUILD}/libvmoe.so.{version}"
    sys.path.insert(0, str(ROOT / "examples" / "python"))

import vmoe  # noqa: E402
from vmoe import _library  # noqa: E402

# Who runs the tests in the background of a shell has made this and all children ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

GAP = ROOT / "tests/data/golden/models/gap/model"  # a checkpoint
FOLDER = ROOT / "examples/demo/pictures"
PICTURES = sorted(FOLDER.glob("*.jpg"))
CLASSES = ["t-shirt-top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
           "ankle-boot"]
LABELS = [CLASSES.index(p.stem) for p in PICTURES]


def command(*arguments: Any) -> str:
    """What the vmoe command prints."""
    return subprocess.run([f"{BUILD}/vmoe", *map(str, arguments)], check=True, capture_output=True,
                          text=True).stdout


def ensemble(folder: "str | pathlib.Path") -> str:
    """The shipped model, its 8 experts shared out among two members."""
    sys.path.insert(0, str(ROOT / "tests"))
    import vmoe_builder  # pylint: disable=import-outside-toplevel
    data = bytearray(pathlib.Path(MODEL).read_bytes())
    data[64 + 88] = 2
    vmoe_builder.sign(data)
    path = pathlib.Path(folder) / "ensemble.vmoe"
    path.write_bytes(data)
    return str(path)


def tensors(model: vmoe.Model, count: int, seed: int = 1) -> "np.ndarray[Any, np.dtype[np.float32]]":
    side = model.info.image_size
    return np.random.default_rng(seed).uniform(-1, 1, (count, side, side, 3)).astype(np.float32)


def pixels(model: vmoe.Model, count: int, seed: int = 2) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    side = model.info.image_size
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


class Spy:
    """The library, with the inputs, outputs and statuses of its calls."""

    def __init__(self) -> None:
        self.library: Any = _library.library
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.statuses: list[int] = []
        self.begun = threading.Event()
        self.slow_disk = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.library, name)

    def vmoe_run(self, handle: Any, given: Any, chosen: Any, output: Any, error: Any) -> int:
        self.inputs.append(given)
        self.outputs.append(output)
        self.begun.set()
        self.statuses.append(self.library.vmoe_run(handle, given, chosen, output, error))
        return self.statuses[-1]

    def vmoe_load_file(self, name: Any, options: Any, model: Any, error: Any) -> int:
        """With a slow disk it reads the file after it was cancelled, or after ten seconds."""
        self.begun.set()
        for _ in range(1000 if self.slow_disk else 0):
            if options.cancel.contents.value:
                break
            time.sleep(0.01)
        self.statuses.append(self.library.vmoe_load_file(name, options, model, error))
        return self.statuses[-1]


@contextlib.contextmanager
def spied_library(slow_disk: bool = False) -> Iterator[Spy]:
    with mock.patch.object(_library, "library", Spy()) as spy:
        spy.slow_disk = slow_disk
        yield spy
