"""What is known of a model and of a call, and what a call gives."""
from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import _library as c
from .options import CAPACITY_RULES, ISAS, PRECISIONS

STAGES = ("image", "embed", "attention", "mlp", "routing", "experts", "head")


def name_of(names: dict[str, int], value: int) -> str:
    return next((name for name, other in names.items() if other == value), f"unknown ({value})")


class Preprocessing(NamedTuple):
    """How a picture of any size becomes the model's input; lengths in pixels.

    kind: "resize" squashes it to `side` x `side`; "small-crop" brings the shorter side to `side` and
        takes the centre, `crop` x `crop`.
    side: see there.
    crop: see there; 0 for "resize".
    """
    kind: str
    side: int
    crop: int


@dataclass(frozen=True)
class Info:
    """What a model is, and the dial that its calls have by default.

    image_size: the side of the square input, in pixels.  patch_size: that of a patch.
    tokens: of an image, with the class token.
    width: D.  heads: of the attention.  mlp: F, the width of the MLPs and of the experts.
    layers: blocks.  classes: of the head.  pre_logits: width of the tanh layer before it, or 0.
    features: width of what enters the head, of all members together.
    classifier: what the head reads: "token", "gap" (the mean) or "map" (attention pooling).
    gelu: "tanh" or "erf".  output: "softmax" or "sigmoid".
    experts: E, 0 for a dense model.  moe_blocks: the blocks that have experts, counted from 0.
    members: M of an ensemble of experts, each of which has E / M of them; 1 for other models.
    experts_per_token: K.  group_images: images that are routed together.  capacity: the ratio C.
    capacity_rule: "ceil" or "round".  capacity_multiple: slots are rounded up to a multiple of it.
    preprocessing: how pictures of any size are brought to the model's.
    precision: of the stored weights.  compact: whether the file is packed.
    labels: whether the classes have names.  parameters: how many.
    weight_bytes: in memory.  file_bytes: on disk.  id: of the file's content, hexadecimal.
    """
    image_size: int
    patch_size: int
    tokens: int
    width: int
    heads: int
    mlp: int
    layers: int
    classes: int
    pre_logits: int
    features: int
    classifier: str
    gelu: str
    output: str
    experts: int
    members: int
    moe_blocks: tuple[int, ...]
    experts_per_token: int
    group_images: int
    capacity: float
    capacity_rule: str
    capacity_multiple: int
    preprocessing: Preprocessing
    precision: str
    compact: bool
    labels: bool
    parameters: int
    weight_bytes: int
    file_bytes: int
    id: str

    @property
    def moe_layers(self) -> int:
        """How many blocks have experts."""
        return len(self.moe_blocks)


_WORDS = {
    "classifier": {"token": 1, "gap": 2, "map": 3}, "gelu": {"tanh": 1, "erf": 2},
    "output": {"softmax": 1, "sigmoid": 2}, "capacity_rule": CAPACITY_RULES,
    "precision": PRECISIONS,
}


def info_of(raw: Any) -> Info:
    values = {name: getattr(raw, name) for name in Info.__annotations__ if hasattr(raw, name)}
    values.update({name: name_of(words, values[name]) for name, words in _WORDS.items()})
    how = raw.preprocessing
    values.update(
        moe_blocks=tuple(i for i in range(raw.layers) if raw.moe[i]), id=bytes(raw.id).hex(),
        preprocessing=Preprocessing(name_of({"resize": 1, "small-crop": 2}, how.kind), how.side,
                                    how.crop),
        members=raw.members or 1, compact=bool(raw.compact), labels=bool(raw.labels))
    return Info(**values)


@dataclass(frozen=True)
class Cost:
    """What a call will cost.

    capacity: slots that an expert has in a group.
    macs: multiply-adds of matrix products.  macs_padded: those of upstream, which computes empty
        slots, too.  macs_dense: those of the ViT without experts.  macs_saved: of `macs`, left out.
    weight_bytes: of all weights.  workspace_bytes: of the memory that the call takes.
    """
    capacity: int
    macs: int
    macs_padded: int
    macs_dense: int
    macs_saved: int
    weight_bytes: int
    workspace_bytes: int


def cost_of(raw: Any) -> Cost:
    return Cost(**{name: getattr(raw, name) for name in Cost.__annotations__})


@dataclass(frozen=True)
class Class:
    """One class of a picture.

    index: from 0.  probability: 0 to 1.  label: its name, "" if the model has none.
    """
    index: int
    probability: float
    label: str


class Report(NamedTuple):
    """What a call did, summed over its groups; a pair is a token and an expert chosen for it.

    isa, precision, threads: what the library worked with.
    experts_per_token: K.  group_images: images of a group.  groups: of the call.
    capacity: slots that an expert has in a group.
    assigned: pairs that the routers chose, over all blocks with experts.  processed: of these, those
        that found a slot.  dropped: the others.  untouched: tokens that no expert processed.
    macs: multiply-adds.  macs_saved: of these, left out, because the head does not need what they
        give.  weight_bytes: of the weights that had a part in the result.
    seconds: of the whole call.  stages: seconds of "image", "embed", "attention", "mlp", "routing",
        "experts" and "head".
    layers: (moe_layers), with the fields "layer", "assigned", "processed", "dropped", "untouched".
    load: (moe_layers, E), the pairs that each expert processed.
    routes: (moe_layers, images, tokens, K), the expert of each choice, best first, or -1 - expert if
        it found no slot; of an ensemble (moe_layers, images, tokens, members, K).
    """
    isa: str
    precision: str
    threads: int
    experts_per_token: int
    group_images: int
    groups: int
    capacity: int
    assigned: int
    processed: int
    dropped: int
    untouched: int
    macs: int
    macs_saved: int
    weight_bytes: int
    seconds: float
    stages: dict[str, float]
    layers: "np.ndarray[Any, np.dtype[np.void]]"
    load: "np.ndarray[Any, np.dtype[np.uint64]]"
    routes: "np.ndarray[Any, np.dtype[np.int16]]"


# Once: Ctrl-C while NumPy 1.24 makes a type of a structure leaves its memory damaged.
_LAYERS = np.dtype(c.LayerReport)


def raw_report(info: Info, images: int, picks: int) -> Any:
    """A c.RawReport with arrays for the library to fill; `picks` is K."""
    raw = c.sized(c.RawReport)
    members = (info.members,) if info.members > 1 else ()
    raw.arrays = {
        "layers": np.zeros(info.moe_layers, _LAYERS),
        "load": np.zeros((info.moe_layers, info.experts), np.uint64),
        "routes": np.zeros((info.moe_layers, images, info.tokens, *members, picks), np.int16),
    }
    for name, array in raw.arrays.items():
        setattr(raw, f"{name}_length", array.size)
    raw.layers = raw.arrays["layers"].ctypes.data_as(ctypes.POINTER(c.LayerReport))
    raw.load, raw.routes = (raw.arrays[name].ctypes.data for name in ("load", "routes"))
    return raw


def report_of(raw: Any) -> Report:
    numbers = {name: getattr(raw, name) for name in Report._fields
               if hasattr(raw, name) and name not in raw.arrays}
    numbers.update(isa=name_of(ISAS, raw.isa), precision=name_of(PRECISIONS, raw.precision),
                   seconds=raw.total_seconds, stages=dict(zip(STAGES, raw.seconds)))
    return Report(**numbers, **raw.arrays)


class Result(NamedTuple):
    """What Model.run gives; arrays are float32.

    logits: (images, classes); of an ensemble those that give its probabilities.
    probabilities: (images, classes), softmax or sigmoid as the model says; of an ensemble the mean
        of its members'.
    features: (images, features), the vectors that enter the head.
    report: what the call did.
    """
    logits: "np.ndarray[Any, np.dtype[np.float32]]"
    probabilities: "np.ndarray[Any, np.dtype[np.float32]]"
    features: "np.ndarray[Any, np.dtype[np.float32]]"
    report: Report
