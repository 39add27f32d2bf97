"""What a long job shows of itself: a line on a terminal that comes and goes, and nothing elsewhere.

    test_terminal.py VMOE MODEL
"""
import os
import pathlib
import pty
import re
import subprocess
import sys
import tempfile
import unittest

import numpy as np

VMOE, MODEL, sys.argv[1:] = *(str(pathlib.Path(path).resolve()) for path in sys.argv[1:3]), []
PICTURE = pathlib.Path("examples/demo/pictures/bag.jpg").resolve()
LINE = r"\r(\d+) of (\d+) {}, [\d.]+ a second, \d+:\d\d left\x1b\[K"
SLOW = "--isa", "ref", "--threads", "1"  # some seconds: the line appears after the first


def shown(*words: str) -> str:
    """What a command writes to stderr if that is a terminal."""
    try:
        ours, theirs = pty.openpty()
    except OSError as error:  # as in a chroot without /dev/pts
        raise unittest.SkipTest(f"no terminal can be had: {error}") from error
    with subprocess.Popen([VMOE, *words], stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        text = b""
        while True:
            try:
                text += os.read(ours, 4096)
            except OSError:  # nobody has the other side open any more
                break
        os.close(ours)
    assert process.returncode == 0, text
    return text.decode()


class Progress(unittest.TestCase):
    def setUp(self) -> None:
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.folder = pathlib.Path(place.name)

    def check(self, unit: str, *words: str) -> None:
        text, line = shown(*words), LINE.format(unit)
        lines = [(int(now), int(total)) for now, total in re.findall(line, text)]
        self.assertTrue(lines, text)
        self.assertEqual(lines, sorted(lines))
        self.assertTrue(all(0 < now <= total for now, total in lines), lines)
        self.assertTrue(text.endswith("\r\x1b[K"), text)
        self.assertEqual(re.sub(line, "", text).replace("\r\x1b[K", ""), "")

    def pictures(self, count: int) -> str:
        for name in ("Bag", "Coat"):
            (self.folder / "data" / name).mkdir(parents=True)
            for i in range(count // 2):
                (self.folder / "data" / name / f"{i}.jpg").symlink_to(PICTURE)
        return str(self.folder / "data")

    def test_run(self) -> None:
        np.save(self.folder / "images.npy", np.zeros((700, 28, 28, 3), np.uint8))
        words = ["run", MODEL, str(self.folder / "images.npy"), str(self.folder / "logits.npy"), *SLOW]
        for batch in ("700", "100"):
            self.check("images", *words, "--batch", batch)
        quiet = subprocess.run([VMOE, *words], capture_output=True, check=True)
        self.assertEqual(quiet.stdout + quiet.stderr, b"")

    def test_sweep(self) -> None:
        self.check("runs", "sweep", MODEL, "--data", self.pictures(300), "-C", "0.5,1", "-o",
                   str(self.folder / "sweep"), *SLOW)

    def test_experts(self) -> None:
        self.check("pictures", "experts", MODEL, "--data", self.pictures(700), "-o",
                   str(self.folder / "experts.svg"), *SLOW)


if __name__ == "__main__":
    unittest.main(verbosity=2)
