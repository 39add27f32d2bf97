"""The Python package in many threads and processes: calls overlap, models pickle by their path."""
import concurrent.futures
import copy
import gc
import multiprocessing
import os
import pathlib
import pickle
import sys
import tempfile
import threading
import unittest
import weakref
from typing import Any

import numpy as np

from support import MODEL, PICTURES, pixels, spied_library, tensors

import vmoe

inherited: Any = None  # a model that a forked child finds


def logits_of(model: vmoe.Model, images: Any) -> Any:
    return model.logits(images)


def logits_of_inherited(images: Any) -> Any:
    return inherited.logits(images)


def begin(model: vmoe.Model) -> None:
    """Initializes a worker process."""
    global inherited
    inherited = model


class Threads(unittest.TestCase):
    def setUp(self) -> None:
        self.model = vmoe.Model.load(MODEL)
        self.addCleanup(self.model.close)
        # More than any machine labels while another thread makes one call.
        self.endless = [pixels(self.model, 1)[0]] * 300_000

    def begin_endless(self, options: vmoe.Options) -> tuple[threading.Thread, list[Any]]:
        """Begins an endless call in a thread, whose exception will be in the list.

        This thread must be in the call when the function returns: it gives up the interpreter nowhere
        before, because the interval after which it could be made to is longer than the test.
        """
        outcome: list[Any] = []
        begun = threading.Event()

        def work() -> None:
            begun.set()
            try:
                outcome.append(self.model.classify_batch(self.endless, options, top=1))
            except Exception as error:
                outcome.append(error)

        interval = sys.getswitchinterval()
        self.addCleanup(sys.setswitchinterval, interval)
        thread = threading.Thread(target=work)
        sys.setswitchinterval(1000)
        thread.start()
        begun.wait()
        return thread, outcome

    def test_calls_of_two_threads_overlap(self) -> None:
        expected = self.model.classify(PICTURES[0])
        token = vmoe.Cancel()
        thread, outcome = self.begin_endless(vmoe.Options(cancel=token, threads=1))
        self.assertEqual(self.model.classify(PICTURES[0]), expected)
        self.assertEqual(outcome, [])  # a whole call began and ended while the other one runs
        token.cancel()
        thread.join()
        self.assertIsInstance(outcome[0], vmoe.Cancelled)
        self.assertEqual(outcome[0].status, vmoe.Status.CANCELLED)

    def test_a_token_stays_cancelled(self) -> None:
        token = vmoe.Cancel()
        self.assertFalse(token.cancelled)
        self.model.classify(PICTURES[0], vmoe.Options(cancel=token))
        token.cancel()
        self.assertTrue(token.cancelled)
        with self.assertRaises(vmoe.Cancelled):
            self.model.classify(PICTURES[0], vmoe.Options(cancel=token))
        with self.assertRaisesRegex(TypeError, "one process"):
            pickle.dumps(vmoe.Options(cancel=token))

    def test_a_token_ends_a_load(self) -> None:
        token = vmoe.Cancel()
        outcome: list[Any] = []

        def work() -> None:
            try:
                outcome.append(vmoe.Model.load(MODEL, cancel=token))
            except vmoe.Error as error:
                outcome.append(error)

        with spied_library(slow_disk=True) as spy:
            thread = threading.Thread(target=work)
            thread.start()
            spy.begun.wait()
            token.cancel()
            thread.join()
        self.assertIsInstance(outcome[0], vmoe.Cancelled)
        with self.assertRaisesRegex(vmoe.Cancelled, "the loading was cancelled"):
            vmoe.Model.load(MODEL, cancel=token)
        with vmoe.Model.load(MODEL, cancel=vmoe.Cancel()) as model:
            pickle.dumps(model)

    def test_a_model_that_is_closed_in_a_call_lives_until_its_end(self) -> None:
        token, model = vmoe.Cancel(), self.model
        thread, outcome = self.begin_endless(vmoe.Options(cancel=token))
        handle = weakref.ref(model._opened())
        model.close()
        with self.assertRaisesRegex(ValueError, "closed"):
            model.classify(PICTURES[0])
        self.assertIsNotNone(handle())
        token.cancel()
        thread.join()
        self.assertIsInstance(outcome.pop(), vmoe.Cancelled)
        gc.collect()
        self.assertIsNone(handle())

    def test_many_threads(self) -> None:
        images, wrong = tensors(self.model, 2), []
        expected = self.model.run(images).logits

        def work() -> None:
            for _ in range(20):
                if not np.array_equal(self.model.run(images).logits, expected):
                    wrong.append(1)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_a_pool_of_threads(self) -> None:
        expected = [self.model.classify(picture) for picture in PICTURES]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            self.assertEqual(list(pool.map(self.model.classify, PICTURES)), expected)


class Processes(unittest.TestCase):
    def setUp(self) -> None:
        self.model = vmoe.Model.load(MODEL)
        self.addCleanup(self.model.close)
        self.images = tensors(self.model, 2)
        self.expected = self.model.logits(self.images)

    def test_pickles_by_path(self) -> None:
        self.assertLess(len(pickle.dumps(self.model)), 1000)
        with pickle.loads(pickle.dumps(self.model)) as other:
            np.testing.assert_array_equal(other.logits(self.images), self.expected)
        with copy.copy(self.model) as other:
            self.assertIsNot(other._handle, self.model._handle)
            self.model.close()
            np.testing.assert_array_equal(other.logits(self.images), self.expected)

    def test_a_relative_path_pickles_wherever_it_is_unpickled(self) -> None:
        with vmoe.Model.load(os.path.relpath(MODEL)) as model:
            data = pickle.dumps(model)
        before = os.getcwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                with pickle.loads(data) as other:
                    np.testing.assert_array_equal(other.logits(self.images), self.expected)
            finally:
                os.chdir(before)

    def test_a_file_that_is_gone_does_not_unpickle(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "model.vmoe"
            path.write_bytes(pathlib.Path(MODEL).read_bytes())
            data = pickle.dumps(vmoe.Model.load(path))
        with self.assertRaisesRegex(vmoe.FileError, "model.vmoe"):
            pickle.loads(data)

    def test_results_pickle(self) -> None:
        result = self.model.run(self.images)
        again = pickle.loads(pickle.dumps(result))
        np.testing.assert_array_equal(again.report.routes, result.report.routes)
        self.assertEqual(again.report.stages, result.report.stages)
        for value in (self.model.info, self.model.cost(), vmoe.Options(experts=1)):
            self.assertEqual(pickle.loads(pickle.dumps(value)), value)

    def test_processes_load_the_model_that_they_are_given(self) -> None:
        for method in ("spawn", "fork", "forkserver"):
            context = multiprocessing.get_context(method)
            with context.Pool(2) as pool:
                for found in pool.starmap(logits_of, [(self.model, self.images)] * 4):
                    np.testing.assert_array_equal(found, self.expected)

    def test_futures_of_processes(self) -> None:
        for method in ("spawn", "fork"):
            context = multiprocessing.get_context(method)
            with concurrent.futures.ProcessPoolExecutor(2, context, begin, (self.model,)) as pool:
                for found in pool.map(logits_of_inherited, [self.images] * 4):
                    np.testing.assert_array_equal(found, self.expected)

    def test_a_forked_child_uses_the_model_of_its_parent(self) -> None:
        begin(self.model)
        self.addCleanup(begin, None)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for found in pool.map(logits_of_inherited, [self.images] * 4):
                np.testing.assert_array_equal(found, self.expected)

    def test_errors_come_back_from_processes(self) -> None:
        with multiprocessing.get_context("fork").Pool(1) as pool:
            with self.assertRaisesRegex(vmoe.ArgumentError, "the shape is") as caught:
                pool.apply(logits_of, (self.model, self.images[0]))
        self.assertEqual(caught.exception.status, vmoe.Status.ARGUMENT)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
