"""The batch job of the Python package, here and on two Dask workers.  Arguments: BUILD MODEL."""
import json
import os
import pathlib
import signal
import sys
import tempfile
import threading
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD, MODEL = sys.argv[1:3] if len(sys.argv) > 2 else ("build/release", "examples/demo/fashion-mnist.vmoe")
MODEL = str(pathlib.Path(MODEL).resolve())
if "VMOE_INSTALLED" not in os.environ:
    version = (ROOT / "VERSION").read_text().strip()
    os.environ["VMOE_LIBRARY"] = str(pathlib.Path(BUILD).resolve() / f"libvmoe.so.{version}")
    sys.path.insert(0, str(ROOT / "examples" / "python"))

import vmoe  # noqa: E402
import vmoe.batch  # noqa: E402

PICTURES = ROOT / "examples/demo/pictures"


class Batch(unittest.TestCase):
    def setUp(self):
        self.model = vmoe.Model.load(MODEL)
        self.addCleanup(self.model.close)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.output = self.folder / "out.jsonl"

    def test_a_folder(self):
        self.assertEqual(vmoe.batch.label(self.model, PICTURES, self.output, top=2, batch=3), 0)
        rows = [json.loads(line) for line in self.output.read_text().splitlines()]
        self.assertEqual([r["file"] for r in rows], vmoe.batch.find(PICTURES))
        for row in rows:
            found = self.model.classify(row["file"], vmoe.Options(group=1), top=2)
            self.assertEqual(row["classes"], [vars(k) for k in found])

    def test_bad_pictures_become_rows(self):
        bad = self.folder / "bad.jpg"
        bad.write_bytes(b"not a JPEG")
        files = [PICTURES / "bag.jpg", bad, self.folder / "nowhere.jpg", PICTURES / "coat.jpg"]
        self.assertEqual(vmoe.batch.label(self.model, files, self.output), 2)
        rows = [json.loads(line) for line in self.output.read_text().splitlines()]
        self.assertEqual(["error" in r for r in rows], [False, True, True, False])
        self.assertEqual(rows[1]["status"], 9)
        self.assertIn("nowhere", rows[2]["error"])

    def test_bad_use_writes_nothing(self):
        for named in ({"top": 0}, {"batch": 0}, {"options": vmoe.Options(group=2)},
                      {"options": vmoe.Options(experts=9)}):
            with self.assertRaises(ValueError):
                vmoe.batch.label(self.model, PICTURES, self.output, **named)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_an_interrupt_leaves_nothing(self):
        self.output.write_text("old")
        files = [PICTURES / "bag.jpg"] * 200_000
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with self.assertRaises(KeyboardInterrupt):
            vmoe.batch.label(self.model, files, self.output)
        self.assertEqual([p.name for p in self.folder.iterdir()], ["out.jsonl"])
        self.assertEqual(self.output.read_text(), "old")

    def test_parquet_has_a_column_of_paths(self):
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            self.skipTest("needs pyarrow")
        files = vmoe.batch.find(PICTURES)[:2]
        table = pyarrow.table({"path": files, "other": [1, 2]})
        pyarrow.parquet.write_table(table, self.folder / "list.parquet")
        vmoe.batch.label(self.model, self.folder / "list.parquet", self.output)
        self.assertEqual([json.loads(row)["file"] for row in self.output.read_text().splitlines()],
                         files)

    def test_dask_gives_the_same_bytes(self):
        try:
            from distributed import Client, LocalCluster
        except ImportError:
            self.skipTest("needs dask[distributed]")
        files = vmoe.batch.find(PICTURES) * 5
        vmoe.batch.label(self.model, files, self.output, top=3, batch=4)
        other = self.folder / "dask.jsonl"
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, \
                Client(cluster) as client:
            vmoe.batch.label(self.model, files, other, top=3, batch=4, client=client)
        self.assertEqual(other.read_bytes(), self.output.read_bytes())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
