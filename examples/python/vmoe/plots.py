"""Pictures of the dial, of routing and of experts, by matplotlib (`pip install vmoe[plots]`).

Every function returns a Figure; `figure.savefig("curve.png")` writes it.  Colours are Okabe and
Ito's, which everybody can tell apart, and nothing is said by colour alone.
"""
from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from . import _library as c
from .evaluate import Point
from .images import PictureLike
from .model import Model
from .options import Options

COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00", "#785ef0")
_DARK = ("#009e73", "#0072b2", "#d55e00", "#785ef0")  # white letters on these
_LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DROPPED = "#333333"


def accuracy_curve(points: Sequence[Point], title: str = "") -> Figure:
    """Accuracy against multiply-adds and against time, a line for each K and priority.

    points: as evaluate.sweep returns them.  title: above the picture.

    Raises ArgumentError if there are no points.
    """
    if not points:
        raise c.refused("points", "there are none")
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    lines: dict[str, list[Point]] = {}
    for point in points:
        k = "" if point.options.experts is None else f", K = {point.options.experts}"
        lines.setdefault(point.options.priority + k, []).append(point)
    most = max(point.macs for point in points)
    scale, unit = (1e9, "billion") if most >= 1e9 else (1e6, "million")
    slow = max(point.seconds for point in points)
    times, time_unit = (1e3, "ms") if slow >= 1e-3 else (1e6, "µs")
    panels: Any = figure.subplots(1, 2, sharey=True)
    for axes, name in zip(panels, (f"{unit} multiply-adds of an image",
                                   f"{time_unit} an image, measured")):
        for number, (label, line) in enumerate(lines.items()):
            x = [p.macs / scale if axes is panels[0] else p.seconds * times for p in line]
            axes.plot(x, [100 * p.accuracy for p in line], color=_LINES[number % 6],
                      marker="os^Dv*"[number % 6], linestyle=("-", "--", ":", "-.")[number % 4],
                      label=label)
        axes.set_xlabel(name)
        axes.grid(color="#dddddd")
        axes.set_axisbelow(True)
    panels[0].set_ylabel(f"accuracy on {points[0].images:,} pictures, %")
    if len(points) > 1:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper",
                      title="along a line: C", frameon=False)
    figure.suptitle(title)
    return figure


def routing(model: Model, picture: PictureLike, options: Options = Options()) -> Figure:
    """Which expert took each patch of a picture, and what was dropped.

    A panel for each block with experts, each member of an ensemble, and each of the K choices;
    numbers are experts, dark patches with a cross found no slot.

    model: with experts.  picture, options: as for Model.classify.  Raises ArgumentError for a dense
    model, and as Model.classify does.
    """
    info = model.info
    if info.moe_layers == 0:
        raise c.refused("model", "a dense model routes nothing")
    seen = model.preprocess(picture).astype(np.float32)
    report = model.run([picture], replace(options, group=1)).report
    picks = report.experts_per_token
    parts = [(layer, block, member) for layer, block in enumerate(info.moe_blocks)
             for member in range(info.members)]
    routes = report.routes.reshape(info.moe_layers, info.tokens, info.members, picks)
    columns = 1 + len(parts)
    figure = Figure(figsize=(2.6 * columns, 2.9 * picks + 0.9), layout="constrained")
    panels: Any = figure.subplots(picks, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    for axes in panels[:, 0]:
        axes.set_axis_off()
    panels[0, 0].imshow(seen.astype(np.uint8))
    panels[0, 0].set_title("what the model sees", fontsize=10)
    gray = 105 + seen @ np.array([0.299, 0.587, 0.114], np.float32) * 150 / 255
    for column, (layer, block, member) in enumerate(parts, 1):
        of_member = f"member {member}, " if info.members > 1 else ""
        for pick in range(picks):
            axes = panels[pick, column]
            axes.imshow(gray, cmap="gray", vmin=0, vmax=255)
            _paint(axes, info, routes[layer, :, member, pick])
            axes.set_title(f"block {block}, {of_member}choice {pick + 1}", fontsize=10)
    handles = [Patch(facecolor=COLOURS[e], label=f"expert {e}")
               for e in range(info.experts if info.experts <= len(COLOURS) else 0)]
    handles.append(Patch(facecolor=_DROPPED, label="× no slot: dropped"))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle(f"{report.capacity} slots an expert, {report.dropped} of {report.assigned} "
                    "pairs dropped", fontsize=11)
    return figure


def _paint(axes: Any, info: Any, routes: Any) -> None:
    side, patch = info.image_size // info.patch_size, info.patch_size
    size = 2.2 * 72 / side  # of a patch, in points
    for (row, column), route in np.ndenumerate(routes[info.tokens - side * side:]
                                               .reshape(side, side)):
        colour = COLOURS[route % len(COLOURS)] if route >= 0 else _DROPPED
        corner = (column * patch - 0.5, row * patch - 0.5)
        axes.add_patch(Rectangle(corner, patch, patch, facecolor=colour, edgecolor="white",
                                 linewidth=0.4, alpha=0.75))
        if size >= 6:
            axes.text(corner[0] + patch / 2, corner[1] + patch / 2, route if route >= 0 else "×",
                      ha="center", va="center", fontsize=min(0.55 * size, 9),
                      color="white" if route < 0 or colour in _DARK else "black")


def expert_map(model: Model, counts: "np.ndarray[Any, Any]") -> Figure:
    """Which experts the tokens of which classes choose: a heat map for each block with experts.

    model: that was counted.
    counts: (moe_layers, E, classes), as evaluate.expert_counts returns them.  A column is a class
        and adds up to 100 %.

    Raises ArgumentError for another shape.
    """
    info = model.info
    expected = (info.moe_layers, info.experts, info.classes)
    if counts.shape != expected or info.moe_layers == 0:
        raise c.refused("counts", f"the shape is {counts.shape}, expected {expected}")
    blocks = info.moe_blocks
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    columns = min(len(blocks), 3)
    rows = math.ceil(len(blocks) / columns)
    wide, high = 1.4 + min(0.32 * info.classes, 6.0), 1.9 + min(0.32 * info.experts, 5.0)
    figure = Figure(figsize=(wide * columns + 1, high * rows), layout="constrained")
    panels: Any = figure.subplots(rows, columns, squeeze=False)
    names = model.labels
    for axes, block, share in zip(panels.flat, blocks, shares):
        image = axes.imshow(share, cmap="cividis", vmin=0, vmax=shares.max(), aspect="auto")
        axes.set_title(f"block {block}", fontsize=10)
        axes.set_ylabel("expert")
        axes.set_yticks(range(0, info.experts, max(1, info.experts // 8)))
        if info.labels and len(names) <= 40:
            axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        else:
            axes.set_xlabel("class")
    for axes in panels.flat[len(blocks):]:
        axes.set_axis_off()
    figure.colorbar(image, ax=panels, label="of the choices of the class, %")
    return figure
