"""Bad use of the Python package: the exception that fits, with its status and a sentence."""
import pathlib
import pickle
import sys
import tempfile
import unittest
from typing import Any, Callable

import numpy as np

from support import MODEL, PICTURES, pixels, tensors

import vmoe
from vmoe import Options, Status


class Refusals(unittest.TestCase):
    def setUp(self) -> None:
        self.model = vmoe.Model.load(MODEL, mmap=True, verify=False)
        self.addCleanup(self.model.close)

    def refuse(self, kind: type[Exception], pattern: str, function: Callable[..., Any],
               *arguments: Any, **named: Any) -> Any:
        with self.assertRaises(kind) as caught:
            function(*arguments, **named)
        self.assertRegex(str(caught.exception), pattern)
        return caught.exception

    def test_files(self) -> None:
        error = self.refuse(OSError, "nowhere", vmoe.Model.load, "/nowhere.vmoe")
        self.assertIsInstance(error, vmoe.FileError)
        self.assertEqual(error.status, Status.IO)
        self.assertTrue(error.where and error.text)
        again = pickle.loads(pickle.dumps(error))
        self.assertEqual((type(again), again.status, again.where, again.text),
                         (type(error), error.status, error.where, error.text))
        error = self.refuse(vmoe.Error, "magic|\\.vmoe", vmoe.Model.load, __file__)
        self.assertEqual(error.status, Status.FORMAT)
        self.refuse(ValueError, "zero byte", vmoe.Model.load, "a\0b")
        self.refuse(TypeError, ".", vmoe.Model.load, 3.5)
        damaged = bytearray(pathlib.Path(MODEL).read_bytes())
        damaged[-1] ^= 1
        with tempfile.NamedTemporaryFile() as file:
            file.write(damaged)
            file.flush()
            error = self.refuse(vmoe.Error, ".", vmoe.Model.load, file.name)
            self.assertEqual(error.status, Status.CHECKSUM)

    def test_arrays(self) -> None:
        good, side = tensors(self.model, 1), self.model.info.image_size
        refused: list[tuple[Any, str]] = [
            (good[0], "the shape is .* expected \\(N, 28, 28, 3\\)"), (good[None], "shape"),
            (good[:, 1:], "shape"), (good[..., :2], "shape"), (good.transpose(0, 3, 1, 2), "shape"),
            (np.zeros(()), "shape"), (np.zeros((0,), np.float32), "shape"),
            (np.zeros((2, 0, side, 3), np.float32), "shape"), ("picture.jpg", "a list of pictures"),
            (PICTURES[0], "a list of pictures"), (PICTURES[0].read_bytes(), "a list of pictures")]
        for kind in ("f8", "f2", ">f4", "i1", "u2", "i4", "i8", "?", "c8", "O", "S4", "M8[s]"):
            refused.append((np.zeros(good.shape, kind), "the dtype is .* expected float32 or uint8"))
        for images, pattern in refused:
            for function in (self.model.run, self.model.logits, self.model.features):
                error = self.refuse(vmoe.ArgumentError, pattern, function, images)
                self.assertIsInstance(error, ValueError)
                self.assertEqual((error.status, error.where), (Status.ARGUMENT, "images"))

    def test_pictures(self) -> None:
        good = pixels(self.model, 1)[0]
        for picture in (good.astype(np.float32), good[None], good[..., :2], good[..., 0],
                        good.astype(np.int8), 3, None, object(), [[1, 2], [3, 4]]):
            error = self.refuse(ValueError, "expected uint8 \\(height, width, 3\\)",
                                self.model.classify, picture)
            self.assertEqual(error.where, "input.pictures[0]")
        for shape in ((0, 5, 3), (5, 0, 3), (0, 0, 3), (2**40, 0, 3)):
            error = self.refuse(vmoe.Error, ".", self.model.classify, np.zeros(shape, np.uint8))
            self.assertIn(error.status, (Status.ARGUMENT, Status.LIMIT))
        error = self.refuse(vmoe.Error, "JPEG", self.model.classify, b"not a JPEG")
        self.assertEqual(error.status, Status.IMAGE)
        self.refuse(vmoe.Error, "bytes|empty", self.model.classify, b"")
        half = PICTURES[0].read_bytes()[:400]
        self.assertEqual(self.refuse(vmoe.Error, ".", self.model.classify, half).status, Status.IMAGE)
        for path in ("/nowhere.jpg", "/", "a\0b", pathlib.Path("/nowhere.jpg")):
            error = self.refuse(OSError, "cannot be read", self.model.classify, path)
            self.assertEqual((error.status, error.where), (Status.IO, str(path)))
        error = self.refuse(vmoe.Error, ".", self.model.classify_batch, [PICTURES[0], good, b"bad"])
        self.assertEqual(error.where, "input.pictures[2]")

    def test_huge_sizes(self) -> None:
        tall = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (2**33, 1, 3))
        self.refuse(ValueError, "too large", self.model.classify, tall)
        self.refuse(MemoryError, ".", self.model.classify,
                    np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (2**23, 2**23, 3)))
        one = tensors(self.model, 1)
        self.refuse(MemoryError, ".", self.model.run, np.broadcast_to(one, (2**31, *one.shape[1:])))
        for images in (-1, 2**63 + 1, 2**64 + 1):
            self.refuse(ValueError, "images: .* out of range", self.model.cost, images)
        error = self.refuse(vmoe.Error, ".", self.model.cost, 2**63)
        self.assertIn(error.status, (Status.ARGUMENT, Status.LIMIT))

    def test_options(self) -> None:
        good = tensors(self.model, 2)
        for options, pattern in [(Options(capacity=0.0), "capacity"),
                                 (Options(capacity=-1.0), "capacity"),
                                 (Options(capacity=1e9), "capacity"),
                                 (Options(capacity=float("inf")), "capacity"),
                                 (Options(capacity=float("nan")), "capacity"),
                                 (Options(experts=0), "experts"),
                                 (Options(experts=-1), "experts"),
                                 (Options(experts=9), "experts"),
                                 (Options(experts=10**6), "experts"),
                                 (Options(experts=2**32 - 1), "experts"),
                                 (Options(experts=2**32 + 2), "experts"),
                                 (Options(capacity_multiple=0), "multiple"),
                                 (Options(threads=0), "threads"),
                                 (Options(threads=2**40), "threads"),
                                 (Options(group="some"), "group"),
                                 (Options(group=0), "group"),
                                 (Options(group=2**32 - 1), "group"),
                                 (Options(group=3), "group"),
                                 (Options(priority="random"), "priority"),
                                 (Options(capacity_rule="floor"), "capacity_rule"),
                                 (Options(precision="f16"), "precision"),
                                 (Options(isa="mmx"), "isa")]:
            for function in (self.model.run, self.model.logits):
                self.refuse(vmoe.ArgumentError, pattern, function, good, options)
        for options in (Options(threads=257), Options(capacity_multiple=4097)):
            error = self.refuse(vmoe.Error, "257|4097", self.model.run, good, options)
            self.assertEqual(error.status, Status.LIMIT)
        for wrong in (Options(capacity="1"), Options(experts=1.5),  # type: ignore[arg-type]
                      Options(threads="2"), Options(group=2.0)):  # type: ignore[arg-type]
            self.refuse(TypeError, ".", self.model.run, good, wrong)
        for top in (0, -1, 2**40):
            self.refuse(ValueError, "top", self.model.classify, PICTURES[0], top=top)
        self.assertEqual(len(self.model.classify(PICTURES[0], top=1000)), 10)

    def test_integers_of_numpy_are_integers(self) -> None:
        good = tensors(self.model, 2)
        result = self.model.run(good, Options(experts=np.int64(1),  # type: ignore[arg-type]
                                              group=np.uint8(2), capacity=np.float32(0.5)))
        self.assertEqual(result.report.experts_per_token, 1)
        self.assertEqual(result.report.groups, 1)

    def test_closed(self) -> None:
        model = vmoe.Model.load(MODEL)
        with model:
            pass
        model.close()
        good = tensors(self.model, 1)
        for call in (lambda: model.run(good), lambda: model.logits(good),
                     lambda: model.features(good), lambda: model.classify(PICTURES[0]),
                     lambda: model.classify_batch([]), lambda: model.labels,
                     lambda: pickle.dumps(model)):
            error = self.refuse(ValueError, "closed", call)
            self.assertEqual((error.status, error.where), (Status.ARGUMENT, "model"))

    def test_a_refusal_changes_nothing(self) -> None:
        good = tensors(self.model, 2)
        before = self.model.logits(good)
        self.refuse(vmoe.Error, "JPEG", self.model.classify, b"not a JPEG")
        np.testing.assert_array_equal(self.model.logits(good), before)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
