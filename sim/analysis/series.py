"""Workloads that are one workload at growing values, such as `load-10GBps`, `load-20GBps`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

_NUMBERED = re.compile(r"(.*?)(\d+(?:\.\d+)?)([A-Za-z%]*)\Z")
_QUANTITIES = {
    "GB/s": "offered bandwidth", "MB/s": "offered bandwidth", "B": "size", "KiB": "size", "MiB": "size",
    "GiB": "size", "ns": "time", "us": "time", "ms": "time", "pages": "pages", "%": "share",
}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """*title* is what the names have in common, *label* says what *values* (name -> number) are."""

    title: str
    label: str
    values: dict[str, float]


def series_of(names: Sequence[str]) -> Series | None:
    """What *names* count, if each is the same word with another number; None if they are just names.

    The unit stands behind the number as a file name can write it (`GBps` is GB/s).
    """
    matches = [_NUMBERED.match(name) for name in names]
    found = [match for match in matches if match is not None]
    if len(names) < 3 or len(found) < len(names):
        return None
    if len({(match[1], match[3]) for match in found}) > 1 or len({match[2] for match in found}) < len(names):
        return None
    title, unit = found[0][1].rstrip("-_ "), re.sub(r"(?<=B)ps\Z", "/s", found[0][3])
    quantity = _QUANTITIES.get(unit, title or "value")
    return Series(
        title=title,
        label=f"{quantity} ({unit})" if unit and unit != quantity else quantity,
        values={name: float(match[2]) for name, match in zip(names, found, strict=True)},
    )


def told_apart(names: Sequence[str]) -> tuple[str, list[str]]:
    """(what all *names* begin with, up to a hyphen; the rest of each)."""
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    common = "".join(letters[0] for letters in same)
    common = common[: common.rfind("-") + 1] if len(names) > 1 else ""
    return common.rstrip("-"), [name.removeprefix(common) for name in names]
