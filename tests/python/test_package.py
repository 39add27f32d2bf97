"""The Python package beside vmoe.h and the vmoe command.  Arguments: BUILD MODEL."""
import ctypes
import json
import os
import pathlib
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD, MODEL = sys.argv[1:3] if len(sys.argv) > 2 else ("build/release", "examples/demo/fashion-mnist.vmoe")
VERSION = (ROOT / "VERSION").read_text().strip()
if "VMOE_INSTALLED" not in os.environ:  # else the package that pip installed is tested
    os.environ["VMOE_LIBRARY"] = str(pathlib.Path(BUILD).resolve() / f"libvmoe.so.{VERSION}")
    sys.path.insert(0, str(ROOT / "examples" / "python"))

import vmoe  # noqa: E402
from vmoe import _library  # noqa: E402

PICTURES = sorted((ROOT / "examples/demo/pictures").glob("*.jpg"))
STRUCTS = {
    "vmoe_error": _library.RawError, "vmoe_load_options": _library.LoadOptions,
    "vmoe_preprocessing": _library.Preprocessing, "vmoe_info": _library.Info,
    "vmoe_class": _library.RawClass, "vmoe_options": _library.RawOptions,
    "vmoe_picture": _library.Picture, "vmoe_input": _library.Input,
    "vmoe_layer_report": _library.LayerReport, "vmoe_report": _library.RawReport,
    "vmoe_output": _library.Output, "vmoe_cost": _library.Cost,
}


def command(*arguments):
    return subprocess.run([f"{BUILD}/vmoe", *map(str, arguments)], check=True, capture_output=True,
                          text=True).stdout


def tensors(model, count, seed=1):
    side = model.info.image_size
    return np.random.default_rng(seed).uniform(-1, 1, (count, side, side, 3)).astype(np.float32)


class Layout(unittest.TestCase):
    def test_structs_are_those_of_the_header(self):
        lines = []
        for name, kind in STRUCTS.items():
            lines.append(f'printf("%zu\\n", sizeof({name}));')
            lines += [f'printf("%zu\\n", offsetof({name}, {field[0]}));' for field in kind._fields_]
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "layout.c"
            source.write_text("#include <stddef.h>\n#include <stdio.h>\n#include <vmoe.h>\n"
                              "int main(void) {" + "\n".join(lines) + "return 0; }")
            subprocess.run(["gcc", f"-I{ROOT}/include", source, "-o", f"{folder}/layout"], check=True)
            out = subprocess.run([f"{folder}/layout"], check=True, capture_output=True, text=True)
        said = iter(map(int, out.stdout.split()))
        for name, kind in STRUCTS.items():
            self.assertEqual(ctypes.sizeof(kind), next(said), name)
            for field in kind._fields_:
                self.assertEqual(getattr(kind, field[0]).offset, next(said), f"{name}.{field[0]}")


class Answers(unittest.TestCase):
    def setUp(self):
        self.model = vmoe.Model.load(MODEL)
        self.addCleanup(self.model.close)

    def test_classes_are_those_of_the_command(self):
        lines = command("classify", "--json", "--top", 3, "-C", 0.5, "--priority", "bpr-max", MODEL,
                        *PICTURES).splitlines()
        options = vmoe.Options(capacity=0.5, priority="bpr-max")
        batch = self.model.classify_batch(PICTURES, options, top=3)
        for path, line, found in zip(PICTURES, lines, batch):
            self.assertEqual(len(json.loads(line)["top"]), len(found))
            for said, c in zip(json.loads(line)["top"], found):
                self.assertEqual((said["index"], said["label"]), (c.index, c.label))
                self.assertEqual(np.float32(said["probability"]), np.float32(c.probability))
            self.assertEqual(found, self.model.classify(path, options, top=3))
            self.assertEqual(found, self.model.classify(path.read_bytes(), options, top=3))

    def test_logits_are_those_of_the_command(self):
        images = tensors(self.model, 4)
        with tempfile.TemporaryDirectory() as folder:
            np.save(f"{folder}/in.npy", images)
            command("run", MODEL, f"{folder}/in.npy", f"{folder}/out.npy", "-K", 1)
            expected = np.load(f"{folder}/out.npy")
        result = self.model.run(images, vmoe.Options(experts=1))
        np.testing.assert_array_equal(result.logits, expected)
        self.assertEqual(result.features.shape, (4, self.model.info.features))

    def test_report_adds_up(self):
        result = self.model.run(tensors(self.model, 3), vmoe.Options(capacity=0.3))
        report, info = result.report, self.model.info
        self.assertEqual(int(report.load.sum()), report.processed)
        self.assertEqual(report.processed + report.dropped, report.assigned)
        self.assertEqual(report.assigned, info.moe_layers * 3 * info.tokens * 2)
        self.assertEqual(int((report.routes < 0).sum()), report.dropped)
        for layer in range(info.moe_layers):
            routes = report.routes[layer]
            counts = np.bincount(routes[routes >= 0], minlength=info.experts)
            np.testing.assert_array_equal(counts, report.load[layer])

    def test_pixels_and_strides(self):
        side = self.model.info.image_size
        pixels = np.random.default_rng(2).integers(0, 256, (2, side, side, 3)).astype(np.uint8)
        as_floats = pixels.astype(np.float32) / np.float32(255) * np.float32(2) - np.float32(1)
        expected = self.model.run(as_floats).logits
        np.testing.assert_array_equal(self.model.run(pixels).logits, expected)
        spread = np.zeros((4, side, side, 6), np.uint8)[::2, :, :, ::2]
        spread[...] = pixels
        np.testing.assert_array_equal(self.model.run(spread).logits, expected)
        np.testing.assert_array_equal(self.model.run(list(pixels)).logits, expected)
        one = self.model.classify(pixels[0], top=10)
        self.assertEqual(len(one), 10)

    def test_no_images(self):
        self.assertEqual(self.model.run(tensors(self.model, 0)).logits.shape, (0, 10))
        self.assertEqual(self.model.classify_batch([]), [])

    def test_cost_and_labels(self):
        half, full = self.model.cost(8, vmoe.Options(capacity=0.5)), self.model.cost(8)
        self.assertLess(half.macs, full.macs)
        self.assertIn("Bag", self.model.labels)

    def test_many_threads(self):
        images, wrong = tensors(self.model, 2), []
        expected = self.model.run(images).logits

        def work():
            for _ in range(20):
                if not np.array_equal(self.model.run(images).logits, expected):
                    wrong.append(1)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_pickles_by_path(self):
        with pickle.loads(pickle.dumps(self.model)) as other:
            images = tensors(self.model, 1)
            np.testing.assert_array_equal(other.run(images).logits, self.model.run(images).logits)

    def test_interrupts_end_a_long_call(self):
        images = np.broadcast_to(tensors(self.model, 1), (20000, *tensors(self.model, 1).shape[1:]))
        images = np.ascontiguousarray(images)
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with self.assertRaises(KeyboardInterrupt):
            self.model.run(images)
            time.sleep(5)  # in case the call was faster than the signal
            self.fail("no interrupt arrived")
        self.assertEqual(len(self.model.run(images[:1]).logits), 1)


class Refusals(unittest.TestCase):
    def setUp(self):
        self.model = vmoe.Model.load(MODEL, mmap=True, verify=False)
        self.addCleanup(self.model.close)

    def refuse(self, kind, pattern, function, *arguments, **named):
        with self.assertRaises(kind) as caught:
            function(*arguments, **named)
        self.assertRegex(str(caught.exception), pattern)
        return caught.exception

    def test_files(self):
        error = self.refuse(OSError, "nowhere", vmoe.Model.load, "/nowhere.vmoe")
        self.assertIsInstance(error, vmoe.Error)
        self.assertEqual(error.status, 4)
        self.assertEqual(pickle.loads(pickle.dumps(error)).text, error.text)
        self.refuse(vmoe.Error, "magic|\\.vmoe", vmoe.Model.load, __file__)
        self.refuse(ValueError, "zero byte", vmoe.Model.load, "a\0b")

    def test_arrays(self):
        good = tensors(self.model, 1)
        self.refuse(ValueError, "shape", self.model.run, good[0])
        self.refuse(ValueError, "shape", self.model.run, good[:, 1:])
        self.refuse(ValueError, "float64", self.model.run, good.astype(np.float64))
        self.refuse(ValueError, "expected uint8", self.model.classify, good)
        self.refuse(ValueError, "list", self.model.run, "picture.jpg")
        self.refuse(vmoe.Error, "JPEG", self.model.classify, b"not a JPEG")
        self.refuse(vmoe.Error, "bytes|empty", self.model.classify, b"")

    def test_options(self):
        good = tensors(self.model, 2)
        for options, pattern in [(vmoe.Options(capacity=0.0), "capacity"),
                                 (vmoe.Options(capacity=float("nan")), "capacity"),
                                 (vmoe.Options(experts=0), "experts"),
                                 (vmoe.Options(experts=9), "experts"),
                                 (vmoe.Options(experts=10**6), "experts"),
                                 (vmoe.Options(experts=2**32 - 1), "experts"),
                                 (vmoe.Options(threads=2**40), "threads"),
                                 (vmoe.Options(group="some"), "group"),
                                 (vmoe.Options(priority="random"), "priority"),
                                 (vmoe.Options(precision="f16"), "precision")]:
            self.refuse(ValueError, pattern, self.model.run, good, options)
        self.refuse(ValueError, "top", self.model.classify, PICTURES[0], top=0)

    def test_closed(self):
        model = vmoe.Model.load(MODEL)
        model.close()
        model.close()
        self.refuse(ValueError, "closed", model.run, tensors(self.model, 1))
        self.refuse(ValueError, "closed", lambda: model.labels)


class Memory(unittest.TestCase):
    def test_nothing_grows(self):
        def resident():
            status = pathlib.Path("/proc/self/status").read_text()
            return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

        def work():
            with vmoe.Model.load(MODEL) as model:
                model.run(tensors(model, 2))
                with self.assertRaises(ValueError):
                    model.run(tensors(model, 2), vmoe.Options(capacity=-1))

        for _ in range(10):
            work()
        before = resident()
        for _ in range(60):
            work()
        self.assertLess(resident() - before, 4096)  # a leaked model would be 60 * 4.5 MB


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
