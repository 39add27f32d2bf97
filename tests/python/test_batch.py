"""The batch job of the Python package: its rows, its formats, its interruptions, its Dask workers."""
import csv
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import Any
from unittest import mock

from support import FOLDER, MODEL, PICTURES, ROOT

import vmoe
import vmoe.batch
from vmoe.batch import label

try:
    import pyarrow
    import pyarrow.parquet
except ImportError:
    pyarrow = None

JOB = """
import sys, vmoe, vmoe.batch
vmoe.batch.label(vmoe.Model(sys.argv[1]), sys.argv[3:], sys.argv[2], top=2, batch=1)
"""


def rows_of(path: pathlib.Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Batch(unittest.TestCase):
    def setUp(self) -> None:
        self.model = vmoe.Model.load(MODEL)
        self.addCleanup(self.model.close)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.output = self.folder / "out.jsonl"
        self.part = self.folder / "out.jsonl.part"

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def with_bad_pictures(self) -> list[pathlib.Path]:
        bad = self.folder / "bad.jpg"
        bad.write_bytes(b"not a JPEG")
        return [PICTURES[0], bad, self.folder / "nowhere, \u00e9.jpg", PICTURES[1]]

    def test_a_folder(self) -> None:
        self.assertEqual(label(self.model, FOLDER, self.output, top=2, batch=3), 0)
        rows = rows_of(self.output)
        self.assertEqual([row["file"] for row in rows], list(map(str, PICTURES)))
        for row in rows:
            found = self.model.classify(row["file"], vmoe.Options(group=1), top=2)
            self.assertEqual(row["classes"], [vars(k) for k in found])
        self.assertEqual(self.names(), ["out.jsonl"])

    def test_bad_pictures_become_rows(self) -> None:
        self.assertEqual(label(self.model, self.with_bad_pictures(), self.output), 2)
        rows = rows_of(self.output)
        self.assertEqual(["error" in row for row in rows], [False, True, True, False])
        self.assertEqual([row.get("status") for row in rows],
                         [None, vmoe.Status.IMAGE, vmoe.Status.IO, None])
        self.assertIn("nowhere", rows[2]["error"])

    def test_what_is_not_a_pictures_fault_ends_the_job(self) -> None:
        self.output.write_text("old")
        with mock.patch.object(vmoe.Model, "classify_batch",
                               side_effect=[[], vmoe.NoMemoryError(vmoe.Status.MEMORY, "", "none")]):
            with self.assertRaises(MemoryError):
                label(self.model, FOLDER, self.output)
        self.assertEqual(self.output.read_text(), "old")

    def test_bad_use_writes_nothing(self) -> None:
        wrong: list[Any] = [
            {"top": 0}, {"batch": 0}, {"options": vmoe.Options(group=2)},
            {"options": vmoe.Options(experts=9)}, {"output": self.folder / "out.txt"},
            {"options": vmoe.Options(cancel=vmoe.Cancel()), "client": object()}]
        for named in wrong:
            with self.assertRaises(ValueError):
                label(self.model, FOLDER, **{"output": self.output, **named})
        for files in (self.folder / "missing", self.folder / "missing.parquet"):
            with self.assertRaises((OSError, ImportError)):
                label(self.model, files, self.output)
        with self.assertRaises(OSError):
            label(self.model, FOLDER, self.folder / "missing" / "out.jsonl")
        self.assertEqual(self.names(), [])

    def test_csv_reads_back(self) -> None:
        files = self.with_bad_pictures()
        label(self.model, files, self.output, top=2)
        label(self.model, files, self.folder / "out.csv", top=2)
        with open(self.folder / "out.csv", newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
        self.check_table(table, lambda text, kind: None if text == "" else kind(text))

    def test_csv_reads_back_names_with_any_characters(self) -> None:
        names = [str(self.folder / f"{name}.jpg") for name in ("a\rb", "c\nd", 'e"f', "g,h", "i\r")]
        for name in names:
            shutil.copy(PICTURES[0], name)
        label(self.model, names, self.folder / "out.csv")
        with open(self.folder / "out.csv", newline="", encoding="utf-8") as file:
            self.assertEqual([row["file"] for row in csv.DictReader(file)], names)

    @unittest.skipIf(pyarrow is None, "needs pyarrow")
    def test_parquet_reads_back(self) -> None:
        files = self.with_bad_pictures()
        label(self.model, files, self.output, top=2)
        label(self.model, files, self.folder / "out.parquet", top=2)
        table = pyarrow.parquet.read_table(self.folder / "out.parquet").to_pylist()
        self.check_table(table, lambda value, kind: value)

    def check_table(self, table: list[Any], value: Any) -> None:
        """The table says what the lines of JSON in self.output say."""
        rows = rows_of(self.output)
        self.assertEqual(len(table), len(rows))
        for flat, row in zip(table, rows):
            self.assertEqual(flat["file"], row["file"])
            self.assertEqual(value(flat["status"], int), row.get("status"))
            self.assertEqual(value(flat["error"], str), row.get("error"))
            for rank in (1, 2):
                found = row.get("classes", [{}, {}])[rank - 1]
                self.assertEqual(value(flat[f"index_{rank}"], int), found.get("index"))
                self.assertEqual(value(flat[f"label_{rank}"], str), found.get("label"))
                self.assertEqual(value(flat[f"probability_{rank}"], float), found.get("probability"))

    @unittest.skipIf(pyarrow is None, "needs pyarrow")
    def test_parquet_has_a_column_of_paths(self) -> None:
        table = pyarrow.table({"path": list(map(str, PICTURES[:2])), "other": [1, 2]})
        pyarrow.parquet.write_table(table, self.folder / "list.parquet")
        label(self.model, self.folder / "list.parquet", self.output)
        self.assertEqual([row["file"] for row in rows_of(self.output)], list(map(str, PICTURES[:2])))

    @unittest.skipIf(pyarrow is None, "needs pyarrow")
    def test_a_list_that_cannot_be_read_is_a_file_error(self) -> None:
        pyarrow.parquet.write_table(pyarrow.table({"file": ["a.jpg"]}), self.folder / "other.parquet")
        (self.folder / "text.parquet").write_text("a.jpg\n")
        for name, words in (("none", "No such file"), ("other", "No match for .*path"),
                            ("text", "Parquet file size is 6 bytes")):
            with self.assertRaisesRegex(vmoe.FileError, f"{name}.parquet: cannot be read: .*{words}"):
                label(self.model, self.folder / f"{name}.parquet", self.output)
        self.assertFalse(self.part.exists())

    def test_an_interrupt_leaves_the_old_output(self) -> None:
        self.output.write_text("old")
        begun = threading.Event()

        def interrupt() -> None:
            begun.wait()
            os.kill(os.getpid(), signal.SIGINT)

        def progress(rows: Any, done: int, total: int) -> Any:
            for some in rows:
                yield some
                begun.set()

        threading.Thread(target=interrupt).start()
        with mock.patch.object(vmoe.batch, "_with_bar", progress):
            with self.assertRaises(KeyboardInterrupt):
                label(self.model, [PICTURES[0]] * 200_000, self.output, progress=True)
        self.assertEqual(self.names(), ["out.jsonl", "out.jsonl.part"])
        self.assertEqual(self.output.read_text(), "old")

    def test_a_killed_job_goes_on(self) -> None:
        files = list(map(str, PICTURES)) * 20
        whole = self.folder / "whole.jsonl"
        label(self.model, files, whole, top=2)
        path = os.pathsep.join([str(ROOT / "examples/python")] if "VMOE_LIBRARY" in os.environ else [])
        for lines in (0, 3, 40):
            with subprocess.Popen([sys.executable, "-B", "-c", JOB, MODEL, str(self.output), *files],
                                  env={**os.environ, "PYTHONPATH": path}) as process:
                while process.poll() is None and (not self.part.exists() or
                                                  self.part.read_bytes().count(b"\n") <= lines):
                    time.sleep(0.001)
                process.kill()
        if not self.output.exists():  # else the machine was too fast for us
            with open(self.part, "ab") as part:
                part.write(b'{"file": "half a r')
            kept = self.part.read_bytes().count(b"\n") - 1
            looked: list[str] = []
            work = vmoe.batch.label_chunk

            def watched(model: Any, chunk: Any, *rest: Any) -> Any:
                looked.extend(chunk)
                return work(model, chunk, *rest)

            with mock.patch.object(vmoe.batch, "label_chunk", watched):
                label(self.model, files, self.output, top=2)
            self.assertEqual(looked, files[kept:])
        self.assertEqual(self.output.read_bytes(), whole.read_bytes())
        self.assertFalse(self.part.exists())

    def test_only_the_same_job_goes_on(self) -> None:
        files = list(map(str, PICTURES))
        expected = self.folder / "expected.jsonl"
        label(self.model, files, expected)
        row = json.dumps({"file": files[0], "classes": "of another job"})
        head = json.dumps({"model": self.model.info.id, "top": 1,
                           "options": repr(vmoe.Options(group=1))})
        for first, resume in ((head.replace('"top": 1', '"top": 2'), True), (head, False),
                              (head.replace("group=1", "group=1, experts=1"), True), ("", True)):
            self.part.write_text(f"{first}\n{row}\n")
            label(self.model, files, self.output, resume=resume)
            self.assertEqual(self.output.read_bytes(), expected.read_bytes())
        self.part.write_text(f"{head}\n{row}\n")
        label(self.model, files, self.output)  # the row is believed, as it is that of this job
        self.assertEqual(rows_of(self.output)[0]["classes"], "of another job")

    def test_two_jobs_do_not_share_an_output(self) -> None:
        def again(model: Any, chunk: Any, options: Any, top: int) -> Any:
            with self.assertRaisesRegex(OSError, "another job"):
                label(self.model, FOLDER, self.output)
            return [{"file": file, "classes": []} for file in chunk]

        with mock.patch.object(vmoe.batch, "label_chunk", again):
            label(self.model, FOLDER, self.output)
        self.assertEqual(len(rows_of(self.output)), len(PICTURES))

    def test_dask_gives_the_same_bytes(self) -> None:
        try:
            from distributed import Client, LocalCluster
        except ImportError:
            self.skipTest("needs dask[distributed]")
        files = list(map(str, PICTURES)) * 5 + [str(self.folder / "nowhere.jpg")]
        label(self.model, files, self.output, top=3, batch=4)
        other = self.folder / "dask.jsonl"
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, \
                Client(cluster) as client:
            self.assertEqual(label(self.model, files, other, top=3, batch=4, client=client), 1)
        self.assertEqual(other.read_bytes(), self.output.read_bytes())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
