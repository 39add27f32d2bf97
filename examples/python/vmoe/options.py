"""What a call may choose: the dial, how it is computed, and a way to end it."""
from __future__ import annotations

import ctypes
import itertools
import operator
from dataclasses import dataclass
from typing import Any, Optional, Union

from . import _library as c

PRIORITIES = {"default": 0, "vanilla": 1, "bpr-max": 2, "bpr-sum": 3}
CAPACITY_RULES = {"default": 0, "ceil": 1, "round": 2}
PRECISIONS = {"auto": 0, "f32": 1, "bf16": 2, "int8": 3}


def _isas() -> dict[str, int]:
    found = {"default": 0}
    for value in itertools.count(1):
        name = c.library.vmoe_isa_name(value)
        if name is None:
            break
        found[name.decode()] = value
    return found


ISAS = _isas()


class Cancel:
    """Ends calls from another thread: give it to them as `Options(cancel=token)`, or to a load.

    A call that it ends raises Cancelled, within about one layer of the model; a load, within about
    one MiB of the file.  A token stays cancelled and ends all that is begun later, too.  Ctrl-C
    cancels the token of what it ends.  It belongs to one process and does not pickle.
    """

    def __init__(self) -> None:
        self.flag = ctypes.c_int32(0)

    def cancel(self) -> None:
        """Ends the calls and loads that have this token.  Any thread or signal handler may do so."""
        self.flag.value = 1

    @property
    def cancelled(self) -> bool:
        """Whether cancel was called."""
        return self.flag.value != 0

    def __reduce__(self) -> Any:
        raise TypeError("a Cancel token belongs to one process")


@dataclass(frozen=True)
class Options:
    """The dial of a call.  None, "default" and "auto" mean what the model and the machine suggest.

    capacity: the ratio C, above 0 and at most 64; an expert has C * S * K / E slots for a group of
        S tokens.
    experts: K, the experts that a token is sent to, 1 to the smaller of E and 16.
    priority: who gets scarce slots: "vanilla" (by position), "bpr-max" or "bpr-sum" (Batch Priority
        Routing by the largest gate of a token, or by the sum of its gates).
    group: images that compete for the same slots, which must divide the images of the call, or
        "all" of them.  With 1 no answer depends on an image's neighbours.
    capacity_rule: how the slots become a whole number: "ceil" or "round".
    capacity_multiple: the slots are rounded up to a multiple of this; 1 makes a finer dial at low C.
    threads: threads that work on the call, 1 to 256; one for each CPU by default.
    precision: the least exact arithmetic that is permitted: "f32", "bf16" or "int8".
    isa: an instruction set by its name, such as "avx2"; "ref" is portable C.
    cancel: a Cancel token that other threads may use to end the call.

    A value out of range raises ArgumentError when a call is made with it; one that is beyond a limit
    of the library, or an instruction set that the machine lacks, Error with the status LIMIT or
    UNSUPPORTED.
    """
    capacity: Optional[float] = None
    experts: Optional[int] = None
    priority: str = "default"
    group: Union[int, str, None] = None
    capacity_rule: str = "default"
    capacity_multiple: Optional[int] = None
    threads: Optional[int] = None
    precision: str = "auto"
    isa: str = "default"
    cancel: Optional[Cancel] = None

    def _raw(self) -> Any:
        raw = c.sized(c.RawOptions)
        if self.capacity is not None:
            # The library reads zero as "the default"; who writes zero here means it.
            raw.capacity = self.capacity if self.capacity != 0 else -1.0
        for name, field in (("experts", "experts_per_token"), ("threads", "threads"),
                            ("capacity_multiple", "capacity_multiple")):
            value = getattr(self, name)
            if value is not None:
                setattr(raw, field, count(value, f"options.{name}", 2**32 - 1))
        raw.priority = _named(PRIORITIES, self.priority, "options.priority")
        raw.capacity_rule = _named(CAPACITY_RULES, self.capacity_rule, "options.capacity_rule")
        raw.precision = _named(PRECISIONS, self.precision, "options.precision")
        raw.isa = _named(ISAS, self.isa, "options.isa")
        if self.group == "all":
            raw.group_images = 2**32 - 1
        elif isinstance(self.group, str):
            raise c.refused("options.group",
                            f"{self.group!r} is neither a number of images nor 'all'")
        elif self.group is not None:
            raw.group_images = count(self.group, "options.group", 2**32 - 2)
        if self.cancel is not None:
            raw.cancel = ctypes.pointer(self.cancel.flag)
        return raw


def count(value: Any, where: str, most: int, least: int = 1) -> int:
    """A whole number that fits its field in C: ctypes would take it modulo 2**32 or 2**64."""
    number = operator.index(value)
    if not least <= number <= most:
        raise c.refused(where, f"{number} is out of range, expected {least} to {most}")
    return number


def _named(names: dict[str, int], name: str, where: str) -> int:
    if name not in names:
        raise c.refused(where, f"{name!r} is none of {', '.join(names)}")
    return names[name]
