"""Evaluation, batch labelling and, where matplotlib is, plots.  Arguments: BUILD MODEL."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD, MODEL = sys.argv[1:3] if len(sys.argv) > 2 else ("build/release", "examples/demo/fashion-mnist.vmoe")
VERSION = (ROOT / "VERSION").read_text().strip()
if "VMOE_INSTALLED" not in os.environ:
    os.environ["VMOE_LIBRARY"] = str(pathlib.Path(BUILD).resolve() / f"libvmoe.so.{VERSION}")
    sys.path.insert(0, str(ROOT / "examples" / "python"))

import vmoe  # noqa: E402
from vmoe import batch, evaluate  # noqa: E402

try:
    import matplotlib
    from vmoe import plots
    if tuple(map(int, matplotlib.__version__.split(".")[:2])) < (3, 7):  # legends outside of axes
        matplotlib = None
except ImportError:
    matplotlib = None
try:
    import distributed
except ImportError:
    distributed = None

PICTURES = sorted((ROOT / "examples/demo/pictures").glob("*.jpg"))
CLASSES = ["t-shirt-top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
           "ankle-boot"]
LABELS = [CLASSES.index(p.stem) for p in PICTURES]


class Evaluation(unittest.TestCase):
    def setUp(self):
        self.model = vmoe.Model.load(MODEL)

    def tearDown(self):
        self.model.close()

    def test_a_sweep_counts_what_classify_finds(self):
        points = evaluate.sweep(self.model, [str(p) for p in PICTURES], LABELS, [0.2, 1.05], [1, 2],
                                batch=4)
        self.assertEqual(len(points), 8)
        for point in points:
            found = self.model.classify_batch([str(p) for p in PICTURES], point.options, top=1)
            right = sum(k[0].index == label for k, label in zip(found, LABELS))
            self.assertEqual((point.images, point.correct), (10, right))
            self.assertGreater(point.seconds, 0)
        self.assertLess(points[0].macs, points[1].macs)

    def test_counts_of_experts_are_those_of_the_report(self):
        pictures = [str(p) for p in PICTURES]
        counts = evaluate.expert_counts(self.model, pictures, LABELS, batch=3)
        self.assertEqual(counts.shape, (3, 8, 10))
        load = self.model.run(pictures).report.load
        np.testing.assert_array_equal(counts.sum(2), load)

    def test_labels_must_fit(self):
        with self.assertRaisesRegex(vmoe.ArgumentError, "9 labels for 10 images"):
            evaluate.sweep(self.model, [str(p) for p in PICTURES], LABELS[:9])

    def test_more_experts_than_there_are_make_no_arrays(self):
        with self.assertRaisesRegex(vmoe.ArgumentError, "1000000 are more than the 8"):
            self.model.run([str(PICTURES[0])], vmoe.Options(experts=10**6))

    def test_preprocessing_is_that_of_the_command(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([f"{BUILD}/vmoe", "preprocess", MODEL, PICTURES[0], "-o",
                            f"{folder}/seen.npy"], check=True)
            np.testing.assert_array_equal(self.model.preprocess(str(PICTURES[0])),
                                          np.load(f"{folder}/seen.npy"))


class Batch(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name)
        (self.path / "photos/more").mkdir(parents=True)
        for picture in PICTURES[:5]:
            shutil.copy(picture, self.path / "photos/more")
        (self.path / "photos/broken.jpg").write_text("no picture")
        (self.path / "photos/notes.txt").write_text("no picture either")

    def tearDown(self):
        self.folder.cleanup()

    def label(self, **how):
        return batch.label(MODEL, self.path / "photos", chunk=2, progress=False, **how)

    def test_a_folder_becomes_lines(self):
        rows = self.label(output=self.path / "labels.jsonl", top=2)
        lines = [json.loads(line) for line in (self.path / "labels.jsonl").read_text().splitlines()]
        self.assertEqual(lines, rows)
        self.assertEqual([r["path"] for r in rows], batch.find(self.path / "photos"))
        self.assertEqual(sum("error" in r for r in rows), 1)
        self.assertIn("not a JPEG", next(r["error"] for r in rows if "error" in r))
        with vmoe.Model.load(MODEL) as model:
            for row in rows:
                if "top" in row:
                    self.assertEqual([k["probability"] for k in row["top"]],
                                     [k.probability for k in model.classify(row["path"], top=2)])

    def test_a_list_keeps_its_order(self):
        names = [str(PICTURES[i]) for i in (3, 1, 3)]
        with vmoe.Model.load(MODEL) as model:
            rows = batch.label(model, names, progress=False)
        self.assertEqual([r["path"] for r in rows], names)
        self.assertEqual(rows[0], rows[2])

    def test_missing_files_are_rows(self):
        rows = batch.label(MODEL, [str(PICTURES[0]), "/nowhere.jpg"], progress=False)
        self.assertIn("top", rows[0])
        self.assertIn("nowhere", rows[1]["error"])

    def test_an_interrupt_leaves_the_old_file(self):
        target = self.path / "labels.jsonl"
        target.write_text("old")
        calls = []

        def interrupt(*arguments):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return original(*arguments)

        original, batch.rows = batch.rows, interrupt
        try:
            with self.assertRaises(KeyboardInterrupt):
                self.label(output=target)
        finally:
            batch.rows = original
        self.assertEqual(target.read_text(), "old")
        self.assertEqual([p.name for p in self.path.iterdir() if "tmp" in p.name], [])

    def test_parquet_has_a_column_of_paths(self):
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            self.skipTest("no pyarrow")
        table = pyarrow.table({"path": [str(p) for p in PICTURES[:2]], "other": [1, 2]})
        pyarrow.parquet.write_table(table, self.path / "list.parquet")
        rows = batch.label(MODEL, self.path / "list.parquet", progress=False)
        self.assertEqual([r["path"] for r in rows], [str(p) for p in PICTURES[:2]])

    @unittest.skipIf(distributed is None, "no Dask")
    def test_two_workers_of_dask_say_the_same(self):
        here = self.label()
        with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
            with distributed.Client(cluster) as client:
                self.assertEqual(self.label(client=client), here)
                with vmoe.Model.load(MODEL) as model, self.assertRaises(vmoe.ArgumentError):
                    batch.label(model, self.path / "photos", progress=False, client=client)


@unittest.skipIf(matplotlib is None, "no matplotlib, or an old one")
class Plots(unittest.TestCase):
    def setUp(self):
        self.model = vmoe.Model.load(MODEL)
        self.folder = pathlib.Path(BUILD) / "plots"
        self.folder.mkdir(parents=True, exist_ok=True)

    def tearDown(self):
        self.model.close()

    def texts(self, figure):
        figure.draw_without_rendering()
        found = [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_visible()]
        return [t for t in found if t]

    def test_the_curve_has_a_line_for_each_series(self):
        points = evaluate.sweep(self.model, [str(p) for p in PICTURES], LABELS, [0.2, 0.5, 1.05])
        figure = plots.accuracy_curve(points, "demo")
        figure.savefig(self.folder / "curve.png")
        self.assertEqual([len(axes.lines) for axes in figure.axes], [2, 2])
        np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(),
                                   [100 * p.accuracy for p in points[:3]])
        self.assertIn("accuracy on 10 pictures, %", self.texts(figure))

    def test_the_routing_names_every_expert_and_drop(self):
        options = vmoe.Options(capacity=0.5, priority="bpr-max", capacity_multiple=1)
        figure = plots.routing(self.model, str(PICTURES[0]), options)
        figure.savefig(self.folder / "routing.png")
        routes = self.model.run([str(PICTURES[0])], options).report.routes[:, 0, 1:]
        words = self.texts(figure)
        self.assertEqual(words.count("×"), int((routes < 0).sum()))
        for expert in range(8):
            self.assertGreaterEqual(words.count(str(expert)), int((routes == expert).sum()))

    def test_the_map_has_a_panel_for_each_block(self):
        counts = evaluate.expert_counts(self.model, [str(p) for p in PICTURES], LABELS)
        figure = plots.expert_map(self.model, counts)
        figure.savefig(self.folder / "experts.png")
        shown = [axes.images[0].get_array() for axes in figure.axes[:3]]
        np.testing.assert_allclose(shown[0].sum(0), 100)
        with self.assertRaises(vmoe.ArgumentError):
            plots.expert_map(self.model, counts[:2])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
