"""Makes the tables and the figure of peers.py out of the measurements that it wrote.

    peers_report.py TSV... [--machine NAME]

Of several files the later one counts where both have a row.  In the README beside this file the
text between the two marks of the machine is replaced, and the figure becomes peers-NAME.svg.
"""

import argparse
import pathlib
import statistics
import textwrap
from xml.sax.saxutils import escape

MARKS = "<!-- peers {}: written by peers_report.py -->", "<!-- peers {}: end -->"
NAMES = {"s32": "S/32@224", "s32-384": "S/32@384", "b16": "B/16@224", "b16-384": "B/16@384",
         "l16": "L/16@224", "moe-s32": "V-MoE-S/32@224", "moe-b16": "V-MoE-B/16@224"}
DENSE = ("s32", "s32-384", "b16", "b16-384")
ORT = ("onnxruntime", "onnxruntime-fused")
OPENVINO = ("openvino-bf16", "openvino-f32")
NUMBERS = {"batch": int, "threads": int, "pictures": int, "rounds": int}
WORDS = {"date", "machine", "case", "contender", "version", "ran", "against", "samples_ms"}


class Requirement:
    """A ratio that is wanted: their time, the faster of theirs, over ours."""

    def __init__(self, text, cases, batch, ours, theirs, least, aim, scale=None):
        self.text, self.cases, self.batch = text, cases, batch
        self.ours, self.theirs, self.least, self.aim = ours, theirs, least, aim
        self.scale = scale  # by threads, or None: what their time is multiplied with


# A bfloat16 port to PyTorch took this part of the time of ONNX Runtime's MoE operator, in one run
# on a machine with AMX, with one thread and with two.
PYTORCH = {1: 154 / 497, 2: 99 / 290}
REQUIREMENTS = [
    Requirement("dense B/16, bf16, against OpenVINO bf16", ("b16", "b16-384"), 1,
                "libvmoe-bf16", OPENVINO, 1.5, 2.2),
    Requirement("dense S/32, bf16, against OpenVINO bf16", ("s32", "s32-384"), 1,
                "libvmoe-bf16", OPENVINO, 1.5, 2.5),
    Requirement("dense B/16, bf16, against OpenVINO bf16", ("b16",), 16,
                "libvmoe-bf16", OPENVINO, 1.4, 2.0),
    Requirement("int8 against OpenVINO int8", DENSE, 1,
                "libvmoe-int8", ("openvino-int8",), 1.3, 1.8),
    Requirement("int8 against OpenVINO int8", ("b16",), 16,
                "libvmoe-int8", ("openvino-int8",), 1.3, 1.8),
    Requirement("V-MoE-B/16, bf16, against ONNX Runtime's MoE", ("moe-b16",), 1,
                "libvmoe-bf16", ORT, 7.0, 10.0),
    Requirement("V-MoE-B/16, bf16, against PyTorch bf16, scaled", ("moe-b16",), 1,
                "libvmoe-bf16", ORT, 2.5, 3.5, PYTORCH),
    Requirement("V-MoE-B/16, bf16, against ONNX Runtime's MoE", ("moe-b16",), 16,
                "libvmoe-bf16", ORT, 8.0, 12.0),
    Requirement("dense, strict f32, against ONNX Runtime f32", DENSE, 1,
                "libvmoe-f32", ORT, 1.15, 1.3),
    Requirement("dense, strict f32, against ONNX Runtime f32", ("b16",), 16,
                "libvmoe-f32", ORT, 1.15, 1.3),
]

# ---- Rows ----------------------------------------------------------------------------------------


def write_tsv(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        print(*rows[0], sep="\t", file=file)
        for row in rows:
            print(*(text_of(value) for value in row.values()), sep="\t", file=file)


def text_of(value):
    if isinstance(value, list):
        return ",".join(f"{v:.6g}" for v in value)
    return f"{value:.6g}" if isinstance(value, float) else value


def read_tsv(path):
    head, *lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    names = head.split("\t")
    return [{name: value_of(name, text) for name, text in zip(names, line.split("\t"))}
            for line in lines]


def value_of(name, text):
    if name == "samples_ms":
        return [float(part) for part in text.split(",")]
    if name in WORDS:
        return text
    return NUMBERS.get(name, float)(text)


def key_of(row):
    return row["case"], row["batch"], row["threads"]


def by_case(rows):
    """The rows of each case by contender: in the order of NAMES, larger batches last."""
    cases = {}
    for row in rows:
        cases.setdefault(key_of(row), {})[row["contender"]] = row
    order = list(NAMES)
    return {key: cases[key]
            for key in sorted(cases, key=lambda key: (key[1], order.index(key[0]), key[2]))}


def title_of(key):
    name, batch, threads = key
    return f"{NAMES[name]}, {batch}, {threads}T"


def ratios(theirs, ours):
    """Of the bests, and the median of the rounds' own."""
    pairs = zip(theirs["samples_ms"], ours["samples_ms"])
    return theirs["best_ms"] / ours["best_ms"], statistics.median(a / b for a, b in pairs)


def faster(case, names):
    """The row with the best time among these contenders, or None."""
    rows = [case[name] for name in names if name in case]
    return min(rows, key=lambda row: row["best_ms"]) if rows else None


# ---- The required ratios -------------------------------------------------------------------------


def judge(requirement, key, case):
    """(contender, ratio of bests, median of ratios, word), or None if it does not apply."""
    name, batch, threads = key
    theirs, ours = faster(case, requirement.theirs), case.get(requirement.ours)
    if name not in requirement.cases or batch != requirement.batch or not theirs or not ours:
        return None
    best, median = ratios(theirs, ours)
    if requirement.scale:
        factor = requirement.scale.get(threads)
        if factor is None:
            return None
        best, median = factor * best, factor * median
    word = "short"
    if best >= requirement.least:
        word = "aim" if best >= requirement.aim else "reached"
    return theirs["contender"], best, median, word


def verdicts(rows):
    for requirement in REQUIREMENTS:
        for key, case in by_case(rows).items():
            verdict = judge(requirement, key, case)
            if verdict:
                yield requirement, key, verdict


def print_verdicts(rows):
    found = list(verdicts(rows))
    if found:
        print(f"\n{'required ratios':49}{'case':25}{'their best':19}{'bests':>7}{'rounds':>8}"
              f"{'least':>7}{'aim':>6}")
    for requirement, key, (theirs, best, median, word) in found:
        print(f"{requirement.text:49}{title_of(key):25}{theirs:19}{best:7.2f}{median:8.2f}"
              f"{requirement.least:7.2f}{requirement.aim:6.1f}  {word}")


# ---- The README ----------------------------------------------------------------------------------


def table(head, lines):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for line in lines:
        yield "| " + " | ".join(line) + " |"


def time_of(row):
    return f"{row['best_ms']:.1f} / {row['median_ms']:.1f}" if row else ""


def names_in(rows, wanted=lambda row: True):
    names = dict.fromkeys(row["contender"] for row in rows if wanted(row))
    return sorted(names, key=lambda name: list(COLOURS).index(runtime_of(name)))


def runtime_of(contender):
    return contender.split("-")[0]


def times_table(rows):
    names = names_in(rows)
    lines = ([title_of(key), *(time_of(case.get(name)) for name in names)]
             for key, case in by_case(rows).items())
    return table(["model, batch, threads", *names], lines)


def ratio_cells(case, names):
    for name in names:
        row = case.get(name)
        if row and row["against"] in case:
            best, median = ratios(row, case[row["against"]])
            yield f"{best:.2f}, {median:.2f}"
        else:
            yield ""


def ratios_table(rows):
    names = names_in(rows, lambda row: row["against"])
    head = [f"{name} over {next(r['against'] for r in rows if r['contender'] == name)}"
            for name in names]
    lines = ([title_of(key), *ratio_cells(case, names)] for key, case in by_case(rows).items())
    return table(["model, batch, threads", *head], lines)


def difference_of(row):
    if not row:
        return ""
    agree = f"{row['top1_agree']:.0f} of {row['pictures']}"
    return f"{100 * row['difference_max']:.2g}, {100 * row['difference_mean']:.2g}; {agree}"


def differences_table(rows):
    """Of one number of threads, since answers hardly depend on it."""
    names = names_in(rows, lambda row: row["difference_max"] > 1e-4)
    cases = {(key[0], key[1]): case for key, case in by_case(rows).items()}
    lines = ([f"{NAMES[name]}, {batch}", *(difference_of(case.get(word)) for word in names)]
             for (name, batch), case in cases.items())
    return table(["model, batch", *names], lines)


def verdicts_table(rows):
    lines = ([requirement.text, title_of(key), theirs, f"{best:.2f}, {median:.2f}",
              f"{requirement.least:g}", f"{requirement.aim:g}", word]
             for requirement, key, (theirs, best, median, word) in verdicts(rows))
    return table(["required", "case", "their best", "ratio", "least", "aim", ""], lines)


def spread(values, form):
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low} to {high}"


def conditions(rows):
    versions = {f"{runtime_of(row['contender'])} {row['version']}": None for row in rows}
    kernels = {}
    for row in rows:
        kernels.setdefault(row["contender"], set()).add(row["ran"])
    ran = "; ".join(f"{name}: {' or '.join(sorted(words))}" for name, words in kernels.items())
    products = [row[f"probe_gflops_{when}"] for row in rows for when in ("before", "after")]
    reads = [row[f"probe_gbs_{when}"] for row in rows for when in ("before", "after")]
    dates = " and ".join(sorted({row["date"] for row in rows}))
    rounds = spread([row["rounds"] for row in rows], "d")
    text = (f"{rows[0]['machine']}; {dates}; {', '.join(versions)}; {rounds} rounds a case. "
            f"The probe said {spread(products, '.0f')} GFLOP/s and {spread(reads, '.1f')} GB/s; up "
            f"to {100 * max(row['busy'] for row in rows):.0f} % of a case's calls began on a busy "
            f"machine. What ran: {ran}.")
    return textwrap.fill(text, 104, break_long_words=False, break_on_hyphens=False)


def markdown(rows, svg):
    yield f"![times of all contenders]({svg})"
    yield ""
    yield conditions(rows)
    for text, lines in (
            ("Times, best / median, ms an image:", times_table(rows)),
            ("Ratios, of the bests and the median of the rounds' own; above 1 libvmoe is faster:",
             ratios_table(rows)),
            ("Differences from the f32 logits, largest and mean in % of the largest logit, and "
             "pictures with the same first class:", differences_table(rows)),
            ("The ratios that are wanted:", verdicts_table(rows))):
        yield from ("", text, "", *lines)


def write_readme(path, machine, svg, rows):
    text = path.read_text(encoding="utf-8")
    begin, end = (mark.format(machine) for mark in MARKS)
    if text.count(begin) != 1 or text.count(end) != 1:
        raise SystemExit(f"{path}: expected one line '{begin}' and one '{end}'")
    before, rest = text.split(begin)
    _, after = rest.split(end)
    body = "\n".join(markdown(rows, svg))
    path.write_text(f"{before}{begin}\n{body}\n{end}{after}", encoding="utf-8")


# ---- The figure ----------------------------------------------------------------------------------
#
# A panel for each case, a bar for each contender up to its best time, a line on to its median; a
# line without an end leads beyond the panel.  One colour for each runtime, of a palette that
# colour-blind readers can tell apart; the names stand beside the bars, so nothing depends on
# colours alone.

COLOURS = {"libvmoe": "#0072b2", "onnxruntime": "#e69f00", "openvino": "#009e73"}
INK, GRID = "#222222", "#d9d9d9"
PANEL, LABELS, VALUES = 560, 128, 108  # widths: of a panel, and of what is left and right of bars
BAR, STEP, HEAD, FOOT = 12, 17, 28, 36  # heights
MARGIN = 12


def step_of(largest):
    """A round distance of grid lines, so that there are three to six of them."""
    step = 1e-3
    while True:
        for factor in (1, 2, 5):
            if largest / (factor * step) <= 6:
                return factor * step
        step *= 10


def text(x, y, words, anchor="start", size=11, weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'font-weight="{weight}" fill="{INK}">{escape(words)}</text>')


def line(x1, y1, x2, y2, colour, width=1.0):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"/>')


def axis(x, y, height, scale, largest):
    step = step_of(largest)
    for i in range(int(largest / step) + 1):
        at = x + scale * i * step
        yield line(at, y, at, y + height, GRID)
        yield text(at, y + height + 12, f"{i * step:g}", "middle", 10)
    yield text(x + scale * largest / 2, y + height + 26, "ms an image", "middle", 10)


def panel(x, y, key, case):
    name, batch, threads = key
    title = f"{NAMES[name]}, batch {batch}, {threads} thread{'s' if threads > 1 else ''}"
    yield text(x, y + 16, title, size=13, weight="bold")
    left, top, height = x + LABELS, y + HEAD, STEP * len(case)
    largest = min(max(row["median_ms"] for row in case.values()),
                  1.5 * max(row["best_ms"] for row in case.values()))
    scale = (PANEL - LABELS - VALUES) / largest
    yield from axis(left, top, height, scale, largest)
    for i, (contender, row) in enumerate(case.items()):
        middle = top + STEP * i + STEP / 2
        best = left + scale * row["best_ms"]
        median = left + scale * min(row["median_ms"], largest)
        colour = COLOURS[runtime_of(contender)]
        yield text(left - 6, middle + 4, contender, "end")
        yield (f'<rect x="{left:.1f}" y="{middle - BAR / 2:.1f}" width="{best - left:.1f}" '
               f'height="{BAR}" fill="{colour}"/>')
        yield line(best, middle, median, middle, INK)
        if row["median_ms"] <= largest:
            yield line(median, middle - 3.5, median, middle + 3.5, INK)
        yield text(median + 6, middle + 4, f"{row['best_ms']:.1f} / {row['median_ms']:.1f}")


def figure(rows):
    cases = by_case(rows)
    lines, y, x = [], MARGIN, MARGIN
    heights = {key: HEAD + STEP * len(case) + FOOT for key, case in cases.items()}
    keys = list(cases)
    pairs = [keys[i:i + 2] for i in range(0, len(keys), 2)]
    for pair in pairs:
        for i, key in enumerate(pair):
            lines += panel(x + i * (PANEL + 2 * MARGIN), y, key, cases[key])
        y += max(heights[key] for key in pair) + MARGIN
    lines.append(text(x, y + 10, "bar: best call; line: median call; figures: best / median"))
    width, height = 2 * PANEL + 4 * MARGIN, y + 10 + MARGIN
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'viewBox="0 0 {width} {height}" font-family="DejaVu Sans, Verdana, sans-serif">')
    yield f'<rect width="{width}" height="{height}" fill="white"/>'
    yield from lines
    yield "</svg>"


def write_svg(path, rows):
    path.write_text("\n".join(figure(rows)) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tsv", type=pathlib.Path, nargs="+")
    parser.add_argument("--machine", help="whose part of the README it is")
    words = parser.parse_args()
    found = {}
    for path in words.tsv:
        for row in read_tsv(path):
            found[(*key_of(row), row["contender"])] = row
    rows = list(found.values())
    print_verdicts(rows)
    if words.machine:
        here, svg = pathlib.Path(__file__), f"peers-{words.machine}.svg"
        write_readme(here.with_name("README.md"), words.machine, svg, rows)
        write_svg(here.with_name(svg), rows)


if __name__ == "__main__":
    main()
