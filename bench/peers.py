"""Times libvmoe and other runtimes on dense ViTs in float32, call by call in turn.

All contenders are in one process, hold the same weights and see the same image; a round is one
call of each.  So each finds the caches full of the others' weights, and all of them share the good
and the bad minutes of the machine.  See bench/README.md.

    peers.py [--build FOLDER] [--cases b16,s32] [--threads 1,2] [--batch N] [--rounds N] ...
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy only probes the machine, with one thread

import argparse
import ctypes
import datetime
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np

import make_onnx

CASES = {
    "b16": make_onnx.Geometry(),
    "s32": make_onnx.Geometry(patch=32, width=512, heads=8, mlp=2048, layers=8),
    "b16-384": make_onnx.Geometry(image=384),
    "l16": make_onnx.Geometry(width=1024, heads=16, mlp=4096, layers=24),
}
LOAD = pathlib.Path("/proc/loadavg")
WARM_UP = 2
TOLERANCE = 1e-4  # of the largest logit; float32 runtimes differ by about 2e-6

# ---- Contenders ----------------------------------------------------------------------------------
#
# A contender is made from a case, loads its model, and answers `run()` with the logits (batch,
# classes) of the image that it was given.  `name` and `version` appear in the table.  One whose
# package is missing raises ImportError and is left out.


class Case:
    """What all contenders of a comparison have in common."""

    def __init__(self, name, batch, threads, build, folder):
        self.name, self.geometry = name, CASES[name]
        self.batch, self.threads, self.build, self.folder = batch, threads, build, folder
        side = self.geometry.image
        self.image = np.random.default_rng(1).random((batch, side, side, 3), np.float32) * 2 - 1

    def file(self, name):
        return self.folder / f"vmoe-bench-{self.name}{name}"


def is_older(path, writer):
    """Whether a model has to be written, because it is missing or older than what writes it."""
    return not path.exists() or path.stat().st_mtime < os.stat(writer).st_mtime


class Error(ctypes.Structure):
    """vmoe_error"""

    _fields_ = [("status", ctypes.c_int), ("where", ctypes.c_char * 96),
                ("text", ctypes.c_char * 320)]


class Options(ctypes.Structure):
    """vmoe_options"""

    _fields_ = [("size", ctypes.c_uint32), ("experts_per_token", ctypes.c_uint32),
                ("capacity", ctypes.c_double), ("priority", ctypes.c_uint32),
                ("group_images", ctypes.c_uint32), ("capacity_rule", ctypes.c_uint32),
                ("capacity_multiple", ctypes.c_uint32), ("threads", ctypes.c_uint32),
                ("precision", ctypes.c_uint32), ("isa", ctypes.c_uint32),
                ("reserved", ctypes.c_uint32), ("cancel", ctypes.c_void_p),
                ("progress", ctypes.c_void_p), ("progress_context", ctypes.c_void_p),
                ("routes", ctypes.c_void_p), ("routes_length", ctypes.c_size_t)]


class Libvmoe:
    name = "libvmoe"

    def __init__(self, case):
        self.library = ctypes.CDLL(str(case.build.resolve() / "libvmoe.so"))
        self.model, self.error = ctypes.c_void_p(), Error()
        number = self.library.vmoe_version()
        self.version = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
        path, writer = case.file(".vmoe"), case.build / "bench_geometry"
        if is_older(path, writer):
            subprocess.run([writer, "--keep", path, *case.geometry.words()], check=True)
        self.call("vmoe_load_file", bytes(path), None, ctypes.byref(self.model))
        self.options = Options(size=ctypes.sizeof(Options), threads=case.threads)
        self.image = case.image
        self.logits = np.empty((case.batch, case.geometry.classes), np.float32)

    def call(self, function, *arguments):
        if getattr(self.library, function)(*arguments, ctypes.byref(self.error)) != 0:
            raise RuntimeError(f"{self.error.where.decode()}: {self.error.text.decode()}")

    def run(self):
        self.call("vmoe_logits_f32", self.model, self.image.ctypes.data_as(ctypes.c_void_p),
                  ctypes.c_size_t(len(self.image)), ctypes.byref(self.options),
                  self.logits.ctypes.data_as(ctypes.c_void_p))
        return self.logits

    def __del__(self):
        self.library.vmoe_free(self.model)


class OnnxRuntime:
    name, fused = "onnxruntime", False

    def __init__(self, case):
        import onnxruntime

        path = case.file(f"-{case.batch}{'-fused' if self.fused else ''}.onnx")
        if is_older(path, make_onnx.__file__):
            make_onnx.write(case.geometry, case.batch, self.fused, False, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = case.threads
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Workers spin while a call lasts, which is the default, but not into the others' calls.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self.version = onnxruntime.__version__
        self.session = onnxruntime.InferenceSession(path, options,
                                                    providers=["CPUExecutionProvider"])
        self.inputs = {"image": np.ascontiguousarray(case.image.transpose(0, 3, 1, 2))}

    def run(self):
        return self.session.run(None, self.inputs)[0]


class OnnxRuntimeFused(OnnxRuntime):
    """With ONNX Runtime's own attention operator."""

    name, fused = "onnxruntime-fused", True


CONTENDERS = [Libvmoe, OnnxRuntime, OnnxRuntimeFused]


def enter(case):
    contenders = []
    for contender in CONTENDERS:
        try:
            contenders.append(contender(case))
        except ImportError as error:
            print(f"without {contender.name}: {error}")
    return contenders


# ---- Measuring -----------------------------------------------------------------------------------


class Probe:
    """How fast the machine is just now: products in cache, and reading from memory."""

    def __init__(self):
        self.matrix = np.ones((1024, 1024), np.float32)
        self.vector = np.ones(64 << 20, np.float32)

    def run(self):
        product = min(seconds(lambda: self.matrix @ self.matrix)[0] for _ in range(8))
        read = min(seconds(lambda: self.vector @ self.vector)[0] for _ in range(4))
        return 2 * 1024**3 / product * 1e-9, self.vector.nbytes / read * 1e-9


def seconds(work):
    """Seconds that the clock went on, and seconds that all threads computed."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    cpu = time.process_time() - cpu
    return time.perf_counter() - clock, cpu


def settle(patience):
    """Waits until nothing but this thread wants a CPU, not even a spinning worker; True if so."""
    limit, quiet = time.perf_counter() + patience, 0
    while quiet < 3 and time.perf_counter() < limit:
        time.sleep(0.002)
        runnable = int(LOAD.read_text(encoding="ascii").split()[3].split("/")[0])
        quiet = quiet + 1 if runnable <= 1 else 0
    return quiet == 3


def compare_answers(contenders):
    """The largest difference of each contender's logits from the first one's."""
    answers = [np.array(contender.run()) for contender in contenders]
    differences = [float(np.abs(answer - answers[0]).max()) for answer in answers]
    if max(differences) > TOLERANCE * float(np.abs(answers[0]).max()):
        raise SystemExit(f"the contenders compute different functions: {differences}")
    return differences


def measure(contenders, rounds, patience):
    """
    (seconds, CPU seconds) of every call, a list for each contender with an entry for each round,
    and the share of calls that began while the machine was busy.
    """
    times, busy = [[] for _ in contenders], 0
    for i in range(-WARM_UP, rounds):
        for contender, list_of_times in zip(contenders, times):
            settled = settle(patience)
            sample = seconds(contender.run)
            if i >= 0:
                list_of_times.append(sample)
                busy += not settled
    return times, busy / (rounds * len(contenders))


def compare(case, rounds, patience, probe):
    """The rows of a case, the first contender's row first.  Times are in ms an image."""
    contenders = enter(case)
    differences = compare_answers(contenders)
    before = probe.run()
    times, busy = measure(contenders, rounds, patience)
    after = probe.run()
    scale = 1e3 / case.batch
    first = [clock for clock, _ in times[0]]
    rows = []
    for contender, difference, samples in zip(contenders, differences, times):
        clock = [sample[0] for sample in samples]
        rows.append({
            "case": case.name, "batch": case.batch, "threads": case.threads,
            "contender": contender.name, "version": contender.version,
            "best_ms": scale * min(clock), "median_ms": scale * statistics.median(clock),
            "cpu_best_ms": scale * min(cpu for _, cpu in samples),
            "ratio_best": min(clock) / min(first),
            "ratio_median": statistics.median(a / b for a, b in zip(clock, first)),
            "difference": difference, "rounds": rounds, "busy": busy,
            "probe_gflops_before": before[0], "probe_gbs_before": before[1],
            "probe_gflops_after": after[0], "probe_gbs_after": after[1],
        })
    return rows


# ---- The report ----------------------------------------------------------------------------------


def machine():
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    names = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
    return f"{names[0] if names else 'unknown CPU'}, {len(os.sched_getaffinity(0))} CPUs"


def print_rows(rows):
    row = rows[0]
    print(f"\n{row['case']}, batch {row['batch']}, {row['threads']} threads, "
          f"{row['rounds']} rounds ({100 * row['busy']:.0f} % of calls begun on a busy machine); "
          f"probe {row['probe_gflops_before']:.0f} and {row['probe_gflops_after']:.0f} GFLOP/s, "
          f"{row['probe_gbs_before']:.1f} and {row['probe_gbs_after']:.1f} GB/s")
    print(f"{'ms an image':26}{'best':>9}{'median':>9}{'CPU':>9}{'ratio':>13}{'difference':>14}")
    for row in rows:
        print(f"{row['contender'] + ' ' + row['version']:26}{row['best_ms']:9.2f}"
              f"{row['median_ms']:9.2f}{row['cpu_best_ms']:9.2f}"
              f"{row['ratio_best']:7.2f}{row['ratio_median']:6.2f}{row['difference']:14.1e}",
              flush=True)


def write_tsv(path, rows):
    head = {"date": datetime.date.today().isoformat(), "machine": machine()}
    with open(path, "w", encoding="utf-8") as file:
        print(*head, *rows[0], sep="\t", file=file)
        for row in rows:
            values = (f"{v:.6g}" if isinstance(v, float) else v for v in row.values())
            print(*head.values(), *values, sep="\t", file=file)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default="build/release")
    parser.add_argument("--cases", default="b16,s32", help=f"of {', '.join(CASES)}")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--patience", type=float, default=2.0,
                        help="seconds that a call waits for a quiet machine")
    parser.add_argument("--folder", type=pathlib.Path, default=tempfile.gettempdir(),
                        help="where the models are kept")
    parser.add_argument("--tsv", type=pathlib.Path, help="default: BUILD/peers.tsv")
    words = parser.parse_args()
    rows, probe = [], Probe()
    print(machine())
    for name in words.cases.split(","):
        for threads in words.threads.split(","):
            case = Case(name, words.batch, int(threads), words.build, words.folder)
            new = compare(case, words.rounds, words.patience, probe)
            print_rows(new)
            rows += new
    write_tsv(words.tsv or words.build / "peers.tsv", rows)


if __name__ == "__main__":
    main()
