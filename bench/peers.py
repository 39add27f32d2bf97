"""Times libvmoe and other runtimes on ViTs and V-MoEs, call by call in turn.

All contenders are in one process, hold the same weights and see the same pictures; a round is one
call of each.  So each finds the caches full of the others' weights, and all of them share the good
and the bad minutes of the machine.  See bench/README.md.

    peers.py [--cases b16,moe-b16x16] [--threads 1,2] [--contenders NAMES] [--rounds N] ...
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy only probes the machine, with one thread

import argparse
import datetime
import gc
import pathlib
import statistics
import tempfile
import time

import numpy as np

import contenders
import peers_report

CASES = "s32,s32-384,b16,b16-384,moe-s32,moe-b16,b16x16,moe-b16x16"
LOAD = pathlib.Path("/proc/loadavg")
LEAST_ROUNDS = 3
TOLERANCE = 1e-4  # of the largest logit; float32 runtimes differ by about 2e-6

# ---- The answers ---------------------------------------------------------------------------------


def enter(case, names):
    entered = []
    for name in names:
        try:
            entered.append(contenders.CONTENDERS[name](case))
        except (ImportError, contenders.Unfit) as error:
            print(f"{case.name}: without {name}: {error}", flush=True)
    return entered


def reference_of(case, entered):
    """libvmoe in strict float32, which is made for this if it does not take part."""
    for contender in entered:
        if contender.name == "libvmoe-f32":
            return contender
    return contenders.Libvmoe(case)


def compare_answers(case, entered, count):
    """
    Of each contender: the largest and the mean difference from libvmoe's float32 logits, in parts
    of the largest, and in how many of at least `count` pictures the same class comes first.
    """
    reference, results = reference_of(case, entered), [[] for _ in entered]
    pictures = 0
    for seed in range(1, 1 + -(-count // case.batch)):
        image = case.pictures(seed)
        truth = np.array(reference.answer(image))
        largest = float(np.abs(truth).max())
        pictures += case.batch
        for contender, result in zip(entered, results):
            logits = np.array(contender.answer(image))
            difference = np.abs(logits - truth) / largest
            agree = (logits.argmax(1) == truth.argmax(1)).sum()
            result.append((float(difference.max()), float(difference.mean()), int(agree)))
    answers = []
    for contender, result in zip(entered, results):
        most, mean, agree = zip(*result)
        if contender.strict and not max(most) <= TOLERANCE:
            raise SystemExit(f"{contender.name} computes another function: {max(most):.1e}")
        answers.append({"difference_max": max(most), "difference_mean": statistics.mean(mean),
                        "top1_agree": sum(agree), "pictures": pictures})
    return answers


# ---- Measuring -----------------------------------------------------------------------------------


class Probe:
    """How fast the machine is just now: products in cache, and reading from memory."""

    def __init__(self):
        self.matrix = np.ones((1024, 1024), np.float32)
        self.vector = np.ones(64 << 20, np.float32)

    def run(self):
        product = min(seconds(lambda: self.matrix @ self.matrix)[0] for _ in range(8))
        read = min(seconds(self.sweep)[0] for _ in range(4))
        return 2 * 1024**3 / product * 1e-9, self.vector.nbytes / read * 1e-9

    def sweep(self):
        """Reads 256 MB."""
        return self.vector @ self.vector


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


def measure(entered, words, probe):
    """
    (seconds, CPU seconds) of every call, a list for each contender with an entry for each round,
    and the share of calls that began while the machine was busy.
    """
    times, busy, start = [[] for _ in entered], 0, time.perf_counter()
    for i in range(-1, words.rounds):  # the first round warms up, as the answers have done
        if i >= LEAST_ROUNDS and time.perf_counter() - start > words.seconds:
            break
        for contender, list_of_times in zip(entered, times):
            settled = settle(words.patience)
            if words.sweep:
                probe.sweep()
            sample = seconds(contender.run)
            if i >= 0:
                list_of_times.append(sample)
                busy += not settled
    return times, busy / (len(times[0]) * len(entered))


def compare(case, names, words, probe):
    """The rows of a case.  Times are in ms an image."""
    entered = enter(case, names)
    if not entered:
        return []
    answers = compare_answers(case, entered, words.pictures)
    before = probe.run()
    times, busy = measure(entered, words, probe)
    after = probe.run()
    scale = 1e3 / case.batch
    clocks = {contender.name: [scale * clock for clock, _ in samples]
              for contender, samples in zip(entered, times)}
    rows = []
    for contender, answer, samples in zip(entered, answers, times):
        clock = clocks[contender.name]
        rows.append({
            "date": datetime.date.today().isoformat(), "machine": machine(),
            "case": case.name, "batch": case.batch, "threads": case.threads,
            "contender": contender.name, "version": contender.version, "ran": contender.ran,
            "best_ms": min(clock), "median_ms": statistics.median(clock),
            "cpu_best_ms": scale * min(cpu for _, cpu in samples),
            "against": contender.rival if contender.rival in clocks else "", **answer,
            "rounds": len(clock), "busy": busy,
            "probe_gflops_before": before[0], "probe_gbs_before": before[1],
            "probe_gflops_after": after[0], "probe_gbs_after": after[1], "samples_ms": clock,
        })
    return rows


# ---- The report ----------------------------------------------------------------------------------


def machine():
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    names = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    best = [word for word in ("amx_bf16", "avx512_bf16", "avx512_vnni", "avx512f", "avx2")
            if word in flags]
    return (f"{names[0] if names else 'unknown CPU'}, {len(os.sched_getaffinity(0))} CPUs, "
            f"{best[0] if best else os.uname().machine}")


def print_rows(rows):
    row, by_name = rows[0], {row["contender"]: row for row in rows}
    print(f"\n{row['case']}, batch {row['batch']}, "
          f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}, "
          f"{row['rounds']} rounds ({100 * row['busy']:.0f} % of calls begun on a busy machine); "
          f"probe {row['probe_gflops_before']:.0f} and {row['probe_gflops_after']:.0f} GFLOP/s, "
          f"{row['probe_gbs_before']:.1f} and {row['probe_gbs_after']:.1f} GB/s")
    print(f"{'ms an image':27}{'ran':20}{'best':>9}{'median':>9}{'CPU':>9}{'difference %':>15}"
          f"{'first class':>13}  ratios of bests, of rounds")
    for row in rows:
        against = ""
        if row["against"]:
            best, median = peers_report.ratios(row, by_name[row["against"]])
            against = f"{best:5.2f} {median:5.2f} over {row['against']}"
        print(f"{row['contender'] + ' ' + row['version']:27}{row['ran']:20}{row['best_ms']:9.2f}"
              f"{row['median_ms']:9.2f}{row['cpu_best_ms']:9.2f}"
              f"{100 * row['difference_max']:8.2g}{100 * row['difference_mean']:7.1g}"
              f"{row['top1_agree']:8} of {row['pictures']:<2}  {against}".rstrip(), flush=True)


def parse_cases(words):
    """(name, batch, threads) of each case; batches are for the largest number of threads only."""
    threads = [int(word) for word in words.threads.split(",")]
    for word in words.cases.split(","):
        name, _, batch = word.partition("x")
        if name not in contenders.CASES:
            raise SystemExit(f"no case {name}; there are {', '.join(contenders.CASES)}")
        batch = int(batch or 1)
        for number in threads if batch == 1 else [max(threads)]:
            yield name, batch, number


def parse_contenders(words):
    names = words.contenders.split(",") if words.contenders else list(contenders.CONTENDERS)
    for name in names:
        if name not in contenders.CONTENDERS:
            raise SystemExit(f"no contender {name}; there are {', '.join(contenders.CONTENDERS)}")
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default="build/release")
    parser.add_argument("--cases", default=CASES,
                        help=f"of {', '.join(contenders.CASES)}; with xN for a batch of N")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--contenders", help=f"of {', '.join(contenders.CONTENDERS)}")
    parser.add_argument("--isa", default="", help="what libvmoe is restricted to")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=300.0,
                        help=f"after which a case ends, with {LEAST_ROUNDS} rounds at least")
    parser.add_argument("--patience", type=float, default=2.0,
                        help="seconds that a call waits for a quiet machine")
    parser.add_argument("--sweep", action="store_true",
                        help="read 256 MB before each call, for runs of few small contenders")
    parser.add_argument("--pictures", type=int, default=8, help="whose logits are compared")
    parser.add_argument("--folder", type=pathlib.Path, default=tempfile.gettempdir(),
                        help="where the models are kept")
    parser.add_argument("--tsv", type=pathlib.Path, help="default: BUILD/peers.tsv")
    words = parser.parse_args()
    rows, probe, path = [], Probe(), words.tsv or words.build / "peers.tsv"
    names = parse_contenders(words)
    print(machine())
    for name, batch, threads in list(parse_cases(words)):
        new = compare(contenders.Case(name, batch, threads, words.build, words.folder, words.isa),
                      names, words, probe)
        gc.collect()
        if new:
            print_rows(new)
            rows += new
            peers_report.write_tsv(path, rows)
    if rows:
        peers_report.print_verdicts(rows)
        peers_report.write_svg(path.with_suffix(".svg"), rows)


if __name__ == "__main__":
    main()
