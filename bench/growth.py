#!/usr/bin/env python3
"""How time and memory grow with batch, tokens, experts, K and C.

    growth.py [--build FOLDER] [--rounds N] [--repeat N] [--threads N] [--axis NAME] ...

Runs bench_geometry for every value of every axis, round after round, so that a slow minute meets
all of them.  Prints a table with fitted exponents and writes it, as growth.md, and growth.svg to
the build folder.  An exponent e means that doubling the axis multiplies by 2^e; that of the
multiply-adds says what has to grow, so time should not have a larger one.
"""
import argparse
import math
import os
import re
import subprocess
import sys

# DeiT-S's widths, so that 128 experts fit in memory.
BASE = {
    "--patch": 32, "--image": 224, "--width": 384, "--heads": 6, "--mlp": 1536, "--layers": 12,
    "--experts": 8, "--moe": "every2", "--dtype": "bf16", "-K": 2, "-C": 1.05, "--batch": 8,
}


class Axis:
    def __init__(self, name, values, options, note=None):
        self.name = name
        self.values = values    # what the exponent is fitted over
        self.options = options  # of a value, over BASE
        self.note = note        # which of them the table does not show


def tokens_of(size):
    image, patch = size
    return (image // patch) ** 2 + 1


SIZES = {tokens_of(size): size for size in [(224, 32), (384, 32), (224, 16), (288, 16), (384, 16)]}

AXES = [
    Axis("batch", [1, 2, 4, 8, 16, 32, 64], lambda n: {"--batch": n}),
    Axis("tokens", sorted(SIZES), lambda n: {"--image": SIZES[n][0], "--patch": SIZES[n][1]},
         "Images of 224 and 384 in patches of 32, then of 224, 288 and 384 in patches of 16:"),
    Axis("experts", [8, 32, 128], lambda n: {"--experts": n, "--moe": "last2"}, "With `--moe last2`:"),
    # Of 197 tokens, because upstream's slots come in fours.
    Axis("K", [1, 2, 4, 8], lambda n: {"-K": n, "--patch": 16}, "With `--patch 16`:"),
    Axis("C", [0.1, 0.25, 0.5, 0.75, 1.0, 1.5], lambda c: {"-C": c, "--patch": 16}, "With `--patch 16`:"),
]
DIAL = ["K", "C"]

STAGES = ["embed", "attention", "mlp", "routing", "experts", "head"]


class Point:
    """What is known of one value: the best and the medians of all rounds, per call."""

    def __init__(self):
        self.best = math.inf
        self.medians = []
        self.numbers = {}
        self.stages = {}

    def add(self, text, batch):
        def number(pattern):
            found = re.search(pattern, text, re.MULTILINE)
            return float(found.group(1)) if found else 0.0

        best = number(r"^best +([\d.]+) ms") * batch
        self.medians.append(number(r"^median +([\d.]+) ms") * batch)
        self.numbers = {
            "GMAC": number(r"^products +([\d.]+) GMAC"),
            "weights": number(r"^weights +([\d.]+) MB"),
            "workspace": number(r"^workspace +([\d.]+) MB"),
        }
        if best < self.best:
            self.best = best
            self.stages = {s: number(rf"^  {s} +([\d.]+) ms") * batch for s in STAGES}

    @property
    def median(self):
        return sorted(self.medians)[len(self.medians) // 2]


def run(program, axis, value, arguments):
    options = {**BASE, **axis.options(value), "--repeat": arguments.repeat}
    if arguments.threads:
        options["--threads"] = arguments.threads
    words = [str(word) for pair in options.items() for word in pair]
    done = subprocess.run([program, *words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{program} {' '.join(words)}\n{done.stderr}")
    return done.stdout, options["--batch"]


def line_through(xs, ys):
    """Offset and slope of the least squares."""
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((a - x) * (b - y) for a, b in zip(xs, ys)) / sum((a - x) ** 2 for a in xs)
    return y - slope * x, slope


def exponent(xs, ys):
    """The slope in logarithms, or None where something is zero."""
    if min(ys) <= 0:
        return None
    return line_through([math.log(x) for x in xs], [math.log(y) for y in ys])[1]


def shown(value):
    return "-" if value is None else f"{value:.2f}"


def table(axis, points):
    columns = ["best ms", "median ms", "GMAC", "weights MB", "workspace MB"]
    rows = [
        [p.best, p.median, p.numbers["GMAC"], p.numbers["weights"], p.numbers["workspace"]]
        for p in points
    ]
    lines = [axis.note, ""] if axis.note else []
    lines += [f"| {axis.name} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for value, row in zip(axis.values, rows):
        lines.append(f"| {value} | " + " | ".join(f"{x:.2f}" for x in row) + " |")
    fits = [exponent(axis.values, [row[i] for row in rows]) for i in range(len(columns))]
    lines.append("| exponent | " + " | ".join(shown(fit) for fit in fits) + " |")
    stages = [
        f"{s} {shown(exponent(axis.values, [p.stages[s] for p in points]))}" for s in STAGES
    ]
    lines.append("")
    lines.append("Exponents of the stages' times: " + ", ".join(stages) + ".")
    macs, times = [row[2] for row in rows], [row[0] for row in rows]
    if axis.name in DIAL and max(macs) > min(macs):
        offset, slope = line_through(macs, times)
        worst = max(abs(t / (offset + slope * m) - 1) for m, t in zip(macs, times))
        lines.append(f"Time is {offset:.2f} ms and {slope:.3f} ms a GMAC; the point farthest from "
                     f"this line is {100 * worst:.0f} % off.")
    return "\n".join(lines) + "\n"


# ---- The drawing ---------------------------------------------------------------------------------

SIDE, GAP, TICK = 190, 60, 24
# The ink of each quantity and its dashes, for those who see no difference between colours.
CURVES = {"best ms": ("#0072b2", "none"), "GMAC": ("#777777", "6 4"), "workspace MB": ("#d55e00", "2 3")}
NOTE = "each divided by its first value; both scales are logarithmic"


def scale(values, low, high):
    """A logarithmic scale from the range of values, at least a factor of two, to low..high."""
    first, last = math.log(min(values)), math.log(max(values))
    middle, half = (first + last) / 2, max(last - first, math.log(2)) / 2
    return lambda v: low + (math.log(v) - middle + half) / (2 * half) * (high - low)


def panel(axis, points, left):
    """Each quantity relative to its first value, so that slopes are exponents."""
    curves = {
        "best ms": [p.best for p in points],
        "GMAC": [p.numbers["GMAC"] for p in points],
        "workspace MB": [p.numbers["workspace"] for p in points],
    }
    curves = {name: [y / ys[0] for y in ys] for name, ys in curves.items() if ys[0] > 0}
    x = scale(axis.values, left, left + SIDE)
    y = scale([v for ys in curves.values() for v in ys], GAP + SIDE, GAP)
    out = [f'<rect x="{left}" y="{GAP}" width="{SIDE}" height="{SIDE}" class="frame"/>',
           f'<text x="{left + SIDE / 2}" y="{GAP - 12}" class="title">{axis.name}</text>']
    free = left
    for v in axis.values:
        if x(v) >= free:
            out.append(f'<text x="{x(v):.1f}" y="{GAP + SIDE + 16}" class="tick">{v}</text>')
            free = x(v) + TICK
    top = max(v for ys in curves.values() for v in ys)
    for v in sorted({1, round(top, 1)}):
        out.append(f'<text x="{left - 6}" y="{y(v) + 4:.1f}" class="side">{v:g}x</text>')
    for name, ys in curves.items():
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(axis.values, ys))
        ink, dashes = CURVES[name]
        out.append(f'<polyline points="{path}" stroke="{ink}" stroke-dasharray="{dashes}"/>')
        for a, b in zip(axis.values, ys):
            out.append(f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3" fill="{ink}"/>')
    return out


def drawing(results):
    width = GAP + len(results) * (SIDE + GAP)
    height = SIDE + 2 * GAP + 10
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">',
           "<style>text{font:12px sans-serif}.title{text-anchor:middle;font-weight:bold}"
           ".tick{text-anchor:middle;font-size:10px}.side{text-anchor:end;font-size:10px}"
           ".frame{fill:none;stroke:#ccc}polyline{fill:none;stroke-width:2}</style>",
           '<rect width="100%" height="100%" fill="white"/>']
    for i, (axis, points) in enumerate(results):
        out += panel(axis, points, GAP + i * (SIDE + GAP))
    y = SIDE + 2 * GAP
    for i, (name, (ink, dashes)) in enumerate(CURVES.items()):
        x = GAP + 150 * i
        out.append(f'<polyline points="{x},{y - 4} {x + 30},{y - 4}" stroke="{ink}" '
                   f'stroke-dasharray="{dashes}"/><text x="{x + 38}" y="{y}">{name}</text>')
    out.append(f'<text x="{GAP + 150 * len(CURVES)}" y="{y}">{NOTE}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release", help="with bench_geometry")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=10, help="calls of a round")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--axis", action="append", choices=[axis.name for axis in AXES])
    arguments = parser.parse_args()
    program = os.path.join(arguments.build, "bench_geometry")
    axes = [axis for axis in AXES if not arguments.axis or axis.name in arguments.axis]
    results = [(axis, [Point() for _ in axis.values]) for axis in axes]

    for round_number in range(arguments.rounds):
        for axis, points in results:
            for value, point in zip(axis.values, points):
                print(f"round {round_number + 1}, {axis.name} {value}", file=sys.stderr)
                point.add(*run(program, axis, value, arguments))
    base = " ".join(f"{name} {value}" for name, value in BASE.items())
    text = f"Unless a table says otherwise: `{base}`; times and GMAC (as papers count) are those of a call.\n\n"
    text += "\n".join(table(axis, points) for axis, points in results)
    print(text)
    with open(os.path.join(arguments.build, "growth.md"), "w") as file:
        file.write(text)
    with open(os.path.join(arguments.build, "growth.svg"), "w") as file:
        file.write(drawing(results))


if __name__ == "__main__":
    main()
