"""What the dial does to labelled pictures: accuracy over settings, and experts over classes."""
from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, replace
from typing import Any, Iterator, Optional, Sequence

import numpy as np

from . import _library as c
from .images import Images
from .model import Model
from .options import Options, count


@dataclass(frozen=True)
class Point:
    """What one setting of the dial gave.

    options: the setting.  images: how many.  correct: of these, those whose label came first.
    macs: multiply-adds of an image that were computed.  seconds: of an image, in the fastest batch.
    """
    options: Options
    images: int
    correct: int
    macs: float
    seconds: float

    @property
    def accuracy(self) -> float:
        """Between 0 and 1."""
        return self.correct / self.images


def _batches(model: Model, images: Images, labels: Sequence[int],
             size: int) -> Iterator[tuple[Any, Any]]:
    truth, classes, size = np.asarray(labels), model.info.classes, count(size, "batch", 2**63 - 1)
    if len(images) != len(truth) or len(truth) == 0:
        raise c.refused("labels", f"{len(truth)} labels for {len(images)} images")
    if truth.ndim != 1 or truth.dtype.kind not in "iu":
        raise c.refused("labels", f"got {truth.dtype} of shape {truth.shape}, expected whole numbers "
                                  f"({len(images)},)")
    if truth.min() < 0 or truth.max() >= classes:
        raise c.refused("labels", f"they are {truth.min()} to {truth.max()}, but the model has "
                                  f"{classes} classes")
    for begin in range(0, len(truth), size):
        yield images[begin:begin + size], truth[begin:begin + size]


def sweep(model: Model, images: Images, labels: Sequence[int],
          capacities: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 1.05, 1.5),
          experts: Optional[Sequence[int]] = None,
          priorities: Sequence[str] = ("vanilla", "bpr-max"),
          options: Options = Options(), batch: int = 256) -> list[Point]:
    """Runs all images at every setting; a dense model has only one.

    model: the model.
    images: N of them, float32 or uint8 of the model's size, or a list of pictures, as for Model.run.
    labels: (N), the index of the class of each.
    capacities, experts, priorities: values of C, of K (None: only the model's own) and of
        Options.priority, which are combined.
    options: all else.  batch: images of a call.

    Raises ArgumentError if there are no labels, not as many as images, or others than the model has
    classes, or if batch is below 1, and as Model.run does.
    """
    ks: Sequence[Optional[int]] = experts if experts is not None else [None]
    if model.info.experts == 0:
        settings = [options]
    else:
        settings = [replace(options, capacity=capacity, experts=k, priority=priority)
                    for priority, k, capacity in itertools.product(priorities, ks, capacities)]
    correct, macs = [0] * len(settings), [0.0] * len(settings)
    fastest = [float("inf")] * len(settings)
    for some, truth in _batches(model, images, labels, batch):
        for i, setting in enumerate(settings):
            begin = time.perf_counter()
            result = model.run(some, setting)
            fastest[i] = min(fastest[i], (time.perf_counter() - begin) / len(truth))
            correct[i] += int((result.logits.argmax(1) == truth).sum())
            macs[i] += result.report.macs - result.report.macs_saved
    number = len(labels)
    return [Point(setting, number, correct[i], macs[i] / number, fastest[i])
            for i, setting in enumerate(settings)]


def expert_counts(model: Model, images: Images, labels: Sequence[int],
                  options: Options = Options(), batch: int = 256) -> "np.ndarray[Any, Any]":
    """(moe_layers, E, classes): how many tokens of each class chose each expert, dropped or not.

    model, images, labels, batch: as for sweep.
    options: the dial, but for the group: every image is one of its own.

    Raises as sweep does.
    """
    info = model.info
    counts = np.zeros((info.moe_layers, info.experts, info.classes), np.int64)
    for some, truth in _batches(model, images, labels, batch):
        routes = model.run(some, replace(options, group=1)).report.routes
        for layer in range(info.moe_layers):
            layers = routes[layer].reshape(len(truth), -1)
            classes = np.broadcast_to(truth[:, None], layers.shape)
            np.add.at(counts[layer], (np.where(layers < 0, -1 - layers, layers), classes), 1)
    return counts
