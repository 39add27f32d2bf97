"""Ctrl-C in calls of the Python package: some hundreds of SIGINT at random moments of a child.

The program is its own child, with the argument `child`, a folder and a number of rounds.
"""
import gc
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import Callable

import numpy as np

if __name__ == "__main__" and sys.argv[1:2] == ["child"]:
    FOLDER_OF_ROUNDS, ROUNDS, sys.argv[1:] = sys.argv[2], int(sys.argv[3]), sys.argv[4:]

from support import BUILD, MODEL, PICTURES, pixels, resident, spied_library, tensors

import vmoe
from vmoe import _library

STORM = int(os.environ.get("VMOE_STORM", "100"))


def held() -> dict[str, int]:
    """Models that were loaded and not freed, threads and open files of this process."""
    gc.collect()
    return {"models": sum(isinstance(found, _library.Handle) for found in gc.get_objects()),
            "threads": len(os.listdir("/proc/self/task")), "files": len(os.listdir("/proc/self/fd"))}


def loop(works: list[Callable[[], object]]) -> None:
    while True:
        for work in works:
            work()


def storm(rounds: range) -> bool:
    """Is interrupted in every round; whether the model answers as before at the end."""
    ended = pathlib.Path(FOLDER_OF_ROUNDS) / "ended"
    model = vmoe.Model.load(MODEL)
    image, jpeg = pixels(model, 1)[0], PICTURES[0].read_bytes()
    many = np.ascontiguousarray(np.broadcast_to(image, (500, *image.shape)))
    expected = model.logits(many[:2])
    works: list[list[Callable[[], object]]] = [
        [lambda: model.run(many)],
        [lambda: model.classify_batch([image] * 2000), lambda: model.logits(many)],
        [lambda: model.classify_batch([jpeg] * 300)],
        [lambda: vmoe.Model.load(MODEL), lambda: model.classify(PICTURES[0])],
    ]
    for number in rounds:
        try:
            print(f"round {number}", flush=True)
            loop(works[number % len(works)])
        except KeyboardInterrupt:
            pass
        while True:  # until the parent says that it sends no more signals
            try:
                while int(ended.read_text() or -1) < number:
                    time.sleep(0.0005)
                break
            except KeyboardInterrupt:
                pass
    same = np.array_equal(model.logits(many[:2]), expected)
    model.close()
    return same


def remaining(before: dict[str, int]) -> dict[str, int]:
    """What is held once the calls have ended that were left after a second interrupt."""
    for _ in range(1000):
        after = held()
        if after == before:
            break
        time.sleep(0.01)
    return after


def child() -> None:
    """Is interrupted ROUNDS times, and prints what it has and what it answers at the end.

    A model keeps the memory of as many calls as ever ran at once, which chance decides; so memory is
    compared when the models are closed.
    """
    before = held()
    same = storm(range(ROUNDS // 4))
    remaining(before)
    settled = resident()
    same &= storm(range(ROUNDS // 4, ROUNDS))
    after = remaining(before)
    print(json.dumps({"same": same, "grown": resident() - settled, "before": before,
                      "after": after}), flush=True)


class Interrupts(unittest.TestCase):
    def test_a_long_call_ends(self) -> None:
        model, token = vmoe.Model.load(MODEL), vmoe.Cancel()
        self.addCleanup(model.close)
        image = pixels(model, 1)[0]
        many = np.ascontiguousarray(np.broadcast_to(image, (50_000, *image.shape)))
        with spied_library() as spy, self.assertRaises(KeyboardInterrupt):
            def interrupt() -> None:
                spy.begun.wait()
                os.kill(os.getpid(), signal.SIGINT)

            threading.Thread(target=interrupt).start()
            model.logits(many, vmoe.Options(cancel=token))
        self.assertEqual(spy.statuses, [vmoe.Status.CANCELLED])
        self.assertTrue(token.cancelled)
        self.assertEqual(len(model.run(tensors(model, 1)).logits), 1)

    def test_a_long_load_ends(self) -> None:
        before, token = held(), vmoe.Cancel()
        with spied_library(slow_disk=True) as spy, self.assertRaises(KeyboardInterrupt):
            def interrupt() -> None:
                spy.begun.wait()
                os.kill(os.getpid(), signal.SIGINT)

            thread = threading.Thread(target=interrupt)
            thread.start()
            vmoe.Model.load(MODEL, cancel=token)
        thread.join()
        self.assertEqual(spy.statuses, [vmoe.Status.CANCELLED])
        self.assertTrue(token.cancelled)
        self.assertEqual(held()["models"], before["models"])

    def test_a_storm(self) -> None:
        seed = random.randrange(2**32)
        chance = random.Random(seed)
        # Large memory goes back to the system when it is freed, not to the arena of its thread.
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}
        with tempfile.TemporaryDirectory() as folder, self.subTest(seed=seed):
            ended = pathlib.Path(folder) / "ended"
            ended.write_text("-1")
            with subprocess.Popen([sys.executable, "-B", __file__, "child", folder, str(STORM),
                                   BUILD, MODEL], stdout=subprocess.PIPE, text=True,
                                  env=environment) as process:
                assert process.stdout is not None
                self.addCleanup(process.kill)
                for number in range(STORM):
                    self.assertEqual(process.stdout.readline(), f"round {number}\n")
                    time.sleep(chance.choice((0, 0.001, 0.02)) * chance.random())
                    process.send_signal(signal.SIGINT)
                    if chance.random() < 0.3:  # of one who is impatient
                        time.sleep(0.001 * chance.random())
                        process.send_signal(signal.SIGINT)
                    other = ended.with_suffix(".new")
                    other.write_text(str(number))
                    other.rename(ended)
                last = json.loads(process.stdout.readline())
            self.assertEqual(process.returncode, 0)
            self.assertTrue(last["same"])
            self.assertEqual(last["after"], last["before"])
            self.assertLess(last["grown"], 4 << 20)  # a leaked model would be 4.5 MB


if __name__ == "__main__":
    if "FOLDER_OF_ROUNDS" in globals():
        child()
    else:
        unittest.main(argv=sys.argv[:1], verbosity=2)
