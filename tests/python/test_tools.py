"""Evaluation and, where matplotlib is, plots."""
import itertools
import pathlib
import sys
import unittest

import numpy as np

from support import BUILD, LABELS, MODEL, PICTURES, ensemble

import vmoe
from vmoe import evaluate

try:
    import matplotlib
    from vmoe import plots
    if tuple(map(int, matplotlib.__version__.split(".")[:2])) < (3, 7):  # legends outside of axes
        matplotlib = None
except ImportError:
    matplotlib = None


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
        cost = self.model.cost(options=points[-1].options)
        self.assertLessEqual(points[-1].macs, cost.macs - cost.macs_saved)

    def test_counts_of_experts_are_those_of_the_report(self):
        pictures = [str(p) for p in PICTURES]
        all_slots = vmoe.Options(capacity=4)
        counts = evaluate.expert_counts(self.model, pictures, LABELS, all_slots, batch=3)
        self.assertEqual(counts.shape, (3, 8, 10))
        load = self.model.run(pictures, all_slots).report.load
        np.testing.assert_array_equal(counts.sum(2), load)

    def test_counts_of_experts_have_dropped_choices_too(self):
        pictures, few = [str(p) for p in PICTURES], vmoe.Options(capacity=0.2)
        counts = evaluate.expert_counts(self.model, pictures, LABELS, few)
        self.assertTrue((counts.sum(1) == 100).all())  # 50 tokens of a picture, K = 2
        self.assertTrue((counts.sum(2) > self.model.run(pictures, few).report.load).any())

    def test_labels_must_fit(self):
        with self.assertRaisesRegex(vmoe.ArgumentError, "9 labels for 10 images"):
            evaluate.sweep(self.model, [str(p) for p in PICTURES], LABELS[:9])
        column = np.array(LABELS)[:, None]  # compared with a row of answers it would be a square
        for labels, words in ((column, r"shape \(10, 1\)"), (np.array(LABELS) / 2, "float64"),
                              ([10] * 10, "10 to 10.* 10 classes"), ([-1] * 10, "-1 to -1")):
            for function in (evaluate.sweep, evaluate.expert_counts):
                with self.assertRaisesRegex(vmoe.ArgumentError, words):
                    function(self.model, [str(p) for p in PICTURES], labels)

    def test_a_batch_has_images(self):
        for function, size in itertools.product((evaluate.sweep, evaluate.expert_counts), (0, -1)):
            with self.assertRaisesRegex(vmoe.ArgumentError, f"batch: {size} is out of range"):
                function(self.model, [str(p) for p in PICTURES], LABELS, batch=size)


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

    def test_the_routing_of_an_ensemble_has_a_panel_for_each_member(self):
        with vmoe.Model.load(ensemble(self.folder)) as model:
            figure = plots.routing(model, str(PICTURES[0]), vmoe.Options(capacity=0.5))
            routes = model.run([str(PICTURES[0])], vmoe.Options(capacity=0.5)).report.routes
            counts = evaluate.expert_counts(model, [str(p) for p in PICTURES], LABELS)
        words = self.texts(figure)
        self.assertEqual(sum("member 1, choice 2" in word for word in words), 3)
        self.assertEqual(words.count("×"), int((routes[:, 0, 1:] < 0).sum()))
        self.assertTrue((counts.sum(1) == 200).all())  # 50 tokens, 2 members, K = 2

    def test_the_map_has_a_panel_for_each_block(self):
        counts = evaluate.expert_counts(self.model, [str(p) for p in PICTURES], LABELS)
        figure = plots.expert_map(self.model, counts)
        figure.savefig(self.folder / "experts.png")
        shown = [axes.images[0].get_array() for axes in figure.axes[:3]]
        np.testing.assert_allclose(shown[0].sum(0), 100)
        with self.assertRaises(vmoe.ArgumentError):
            plots.expert_map(self.model, counts[:2])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
