"""Answers of the Python package beside vmoe.h and the vmoe command, bit for bit."""
import ctypes
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
from typing import Any

import numpy as np

from support import (GAP, LABELS, MODEL, PICTURES, ROOT, command, ensemble, pixels, resident,
                     tensors)

import vmoe
from vmoe import _library, options

STRUCTS: dict[str, Any] = {
    "vmoe_error": _library.RawError, "vmoe_load_options": _library.LoadOptions,
    "vmoe_preprocessing": _library.Preprocessing, "vmoe_info": _library.RawInfo,
    "vmoe_class": _library.RawClass, "vmoe_options": _library.RawOptions,
    "vmoe_picture": _library.Picture, "vmoe_input": _library.Input,
    "vmoe_layer_report": _library.LayerReport, "vmoe_report": _library.RawReport,
    "vmoe_output": _library.Output, "vmoe_cost": _library.RawCost,
}


class Header(unittest.TestCase):
    def test_structs_are_those_of_the_header(self) -> None:
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

    def test_words_are_the_numbers_of_the_header(self) -> None:
        header = (ROOT / "include/vmoe.h").read_text()
        statuses = re.findall(r"VMOE_ERR_(\w+) = (\d+)", header)
        self.assertEqual([(status.name, str(status.value)) for status in vmoe.Status], statuses)
        for words, prefix in ((options.PRIORITIES, "PRIORITY"), (options.PRECISIONS, "PRECISION"),
                              (options.ISAS, "ISA")):
            for word, value in words.items():
                name = f"VMOE_{prefix}_{word.upper().replace('-', '_')}"
                self.assertRegex(header, rf"\b{name} = {value}\b")


class Answers(unittest.TestCase):
    def setUp(self) -> None:
        self.model = vmoe.Model.load(MODEL)
        self.addCleanup(self.model.close)

    def test_classes_are_those_of_the_command(self) -> None:
        lines = command("classify", "--json", "--top", 3, "-C", 0.5, "--priority", "bpr-max", MODEL,
                        *PICTURES).splitlines()
        dial = vmoe.Options(capacity=0.5, priority="bpr-max")
        batch = self.model.classify_batch(PICTURES, dial, top=3)
        for path, line, found in zip(PICTURES, lines, batch):
            self.assertEqual(len(json.loads(line)["top"]), len(found))
            for said, c in zip(json.loads(line)["top"], found):
                self.assertEqual((said["index"], said["label"]), (c.index, c.label))
                self.assertEqual(np.float32(said["probability"]), np.float32(c.probability))
            self.assertEqual(found, self.model.classify(path, dial, top=3))
            self.assertEqual(found, self.model.classify(path.read_bytes(), dial, top=3))

    def test_logits_are_those_of_the_command(self) -> None:
        images = tensors(self.model, 4)
        for dial, said in ((vmoe.Options(experts=1), ["-K", 1]),
                           (vmoe.Options(capacity=0.4, priority="bpr-sum", group=4),
                            ["-C", 0.4, "--priority", "bpr-sum", "--group", 4]),
                           (vmoe.Options(capacity=0.26, capacity_rule="round", capacity_multiple=1),
                            ["-C", 0.26, "--capacity-rule", "round", "--capacity-multiple", 1]),
                           (vmoe.Options(isa="ref", precision="f32"),
                            ["--isa", "ref", "--precision", "f32"])):
            with tempfile.TemporaryDirectory() as folder:
                np.save(f"{folder}/in.npy", images)
                command("run", MODEL, f"{folder}/in.npy", f"{folder}/out.npy", *said)
                expected = np.load(f"{folder}/out.npy")
            result = self.model.run(images, dial)
            np.testing.assert_array_equal(result.logits, expected)
            np.testing.assert_array_equal(self.model.logits(images, dial), expected)
            np.testing.assert_array_equal(self.model.features(images, dial), result.features)
            self.assertEqual(result.features.shape, (4, self.model.info.features))

    def test_probabilities_are_the_softmax_of_the_logits(self) -> None:
        result = self.model.run([str(p) for p in PICTURES])
        powers = np.exp(result.logits - result.logits.max(1, keepdims=True))
        np.testing.assert_allclose(result.probabilities, powers / powers.sum(1, keepdims=True),
                                   rtol=1e-5)
        self.assertEqual(result.logits.argmax(1).tolist(), LABELS)

    def test_report_adds_up(self) -> None:
        result = self.model.run(tensors(self.model, 3), vmoe.Options(capacity=0.3, threads=1))
        report, info = result.report, self.model.info
        self.assertEqual(int(report.load.sum()), report.processed)
        self.assertEqual(report.processed + report.dropped, report.assigned)
        self.assertEqual(report.assigned, info.moe_layers * 3 * info.tokens * 2)
        self.assertEqual(int((report.routes < 0).sum()), report.dropped)
        self.assertEqual(int((report.routes < 0).all(-1).sum()), report.untouched)
        self.assertEqual(tuple(report.layers["layer"]), info.moe_blocks)
        for name in ("assigned", "processed", "dropped", "untouched"):
            self.assertEqual(int(report.layers[name].sum()), getattr(report, name))
        for layer in range(info.moe_layers):
            routes = report.routes[layer]
            counts = np.bincount(routes[routes >= 0], minlength=info.experts)
            np.testing.assert_array_equal(counts, report.load[layer])
        self.assertEqual((report.groups, report.group_images, report.threads), (3, 1, 1))
        self.assertIn(report.isa, options.ISAS)
        self.assertIn(report.precision, options.PRECISIONS)
        self.assertLessEqual(sum(report.stages.values()), report.seconds * 1.01)

    def test_info_is_that_of_the_command(self) -> None:
        said, info = json.loads(command("info", "--json", MODEL)), self.model.info
        self.assertEqual(list(info.moe_blocks), said.pop("moe_layers"))
        self.assertEqual(f"{info.preprocessing.kind}-{info.preprocessing.side}",
                         said.pop("preprocessing"))
        self.assertEqual(info.capacity, said.pop("capacity_ratio"))
        del said["file"], said["provenance"]
        for name, value in said.items():
            self.assertEqual(getattr(info, name), value, name)

    def test_no_images(self) -> None:
        self.assertEqual(self.model.run(tensors(self.model, 0)).logits.shape, (0, 10))
        self.assertEqual(self.model.run([]).report.routes.shape, (3, 0, self.model.info.tokens, 2))
        self.assertEqual(self.model.classify_batch([]), [])

    def test_cost_is_known_before(self) -> None:
        half, full = self.model.cost(8, vmoe.Options(capacity=0.5)), self.model.cost(8)
        self.assertLess(half.macs, full.macs)
        report = self.model.run(tensors(self.model, 8), vmoe.Options(capacity=0.5)).report
        self.assertEqual(report.capacity, half.capacity)
        self.assertLessEqual(report.macs, half.macs)
        self.assertGreater(report.macs, half.macs // 2)

    def test_a_file_with_groups_of_eight(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for group in (1, 8):
                command("import", GAP, "-o", f"{folder}/{group}.vmoe", "--group-images", group)
            with vmoe.Model.load(f"{folder}/8.vmoe") as model, \
                    vmoe.Model.load(f"{folder}/1.vmoe") as other:
                self.assertEqual(model.info.group_images, 8)
                self.assertEqual(model.cost(), model.cost(8))
                self.assertEqual(model.cost(options=vmoe.Options(group=2)),
                                 model.cost(2, vmoe.Options(group=2)))
                alone = vmoe.Options(group=1)
                self.assertEqual(model.cost(options=alone), other.cost())
                self.assertEqual(model.classify(PICTURES[0], alone), other.classify(PICTURES[0]))
                images = tensors(model, 8)
                np.testing.assert_array_equal(model.logits(images),
                                              other.logits(images, vmoe.Options(group=8)))
                with self.assertRaisesRegex(vmoe.ArgumentError, "groups of 8 images"):
                    model.classify(PICTURES[0])

    def test_an_ensemble_answers_with_the_mean_of_its_members(self) -> None:
        with tempfile.TemporaryDirectory() as folder, vmoe.Model.load(ensemble(folder)) as model:
            images = pixels(model, 3)
            result, members = model.run(images), model.member_logits(images)
            self.assertEqual((model.info.members, model.info.experts), (2, 8))
            self.assertEqual(members.shape, (3, 2, 10))
            each = np.exp(members) / np.exp(members).sum(2, keepdims=True)
            np.testing.assert_allclose(result.probabilities, each.mean(1), atol=1e-6)
            np.testing.assert_allclose(result.logits, np.log(each.mean(1)), atol=1e-5)
            self.assertEqual(result.features.shape, (3, model.info.features))
            routes = result.report.routes
            self.assertEqual(routes.shape, (3, 3, 50, 2, 2))
            experts = np.where(routes < 0, -1 - routes, routes)
            self.assertTrue((experts // 4 == np.arange(2)[:, None]).all())
            with self.assertRaisesRegex(vmoe.ArgumentError, "5 are more than the 4 of the member"):
                model.run(images, vmoe.Options(experts=5))
        self.assertEqual(self.model.info.members, 1)
        np.testing.assert_array_equal(self.model.member_logits(images)[:, 0],
                                      self.model.logits(images))

    def test_labels(self) -> None:
        self.assertIn("Bag", self.model.labels)
        self.assertEqual(len(self.model.labels), self.model.info.classes)

    def test_preprocessing_is_that_of_the_command(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            command("preprocess", MODEL, PICTURES[0], "-o", f"{folder}/seen.npy")
            seen = self.model.preprocess(PICTURES[0])
            np.testing.assert_array_equal(seen[None], np.load(f"{folder}/seen.npy"))
        np.testing.assert_array_equal(self.model.logits(seen[None]), self.model.logits([PICTURES[0]]))

    def test_nothing_grows(self) -> None:
        def work() -> None:
            with vmoe.Model.load(MODEL) as model:
                model.run(pixels(model, 2))
                with self.assertRaises(ValueError):
                    model.run(pixels(model, 2), vmoe.Options(capacity=-1))

        for _ in range(10):
            work()
        before = resident()
        for _ in range(60):
            work()
        self.assertLess(resident() - before, 4 << 20)  # a leaked model would be 60 * 4.5 MB


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
