"""Quantities with units, parsed once at the border, and the base of the specs that hold them.

Inside the simulator time is an integer number of picoseconds, size an integer number of bytes,
frequency hertz and bandwidth bytes a second. A number without a unit is an error: `120` may be cycles.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

PS_PER_NS = 1_000
PS_PER_US = 1_000_000
PS_PER_S = 1_000_000_000_000
PAGE_BYTES: Final = 4096
LINE_BYTES: Final = 64

_TIME = {"ps": 1, "ns": 10**3, "us": 10**6, "µs": 10**6, "ms": 10**9, "s": 10**12}
_WALL = {"ms": 1, "s": 10**3, "min": 60 * 10**3, "h": 3600 * 10**3}
_SIZE = {
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "page": PAGE_BYTES,
    "pages": PAGE_BYTES,
}
_FREQUENCY = {"Hz": 1, "kHz": 10**3, "MHz": 10**6, "GHz": 10**9}
_BANDWIDTH = {"B/s": 1, "MB/s": 10**6, "GB/s": 10**9, "GiB/s": 1 << 30}
_CYCLES = {"cycles": 1, "cycle": 1}

_RELEASE = re.compile(r"[1-9]\d{0,2}(\.\d{1,3}){1,2}")
_PLUS = re.compile(r"(?<!\d[eE])\+")
_QUANTITY = re.compile(r"\s*([+-]?\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([A-Za-zµ/]+)\s*\Z")


class Spec(BaseModel):
    """Base of everything read from a file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values; what was worked out of the old ones (`cached_property`) stays here."""
        copy = super().model_copy(update=update, deep=deep)
        for name in copy.__dict__.keys() - type(self).model_fields.keys():
            del copy.__dict__[name]
        return copy


class UnitError(ValueError):
    """A quantity that cannot be read; the message says which units are allowed."""


def _parse(text: Any, units: dict[str, int], kind: str, example: str) -> float:
    match = _QUANTITY.match(text) if isinstance(text, str) else None
    if match is None or match[2] not in units:
        raise UnitError(f"not a {kind}: write a number and a unit such as {example!r} ({', '.join(units)})")
    value = float(match[1].replace("_", "")) * units[match[2]]
    if value < 0:
        raise UnitError(f"a {kind} cannot be negative")
    if math.isinf(value):
        raise UnitError(f"not a {kind}: the number is too large")
    return value


def _parse_rate(text: Any, units: dict[str, int], kind: str, example: str) -> int:
    rate = round(_parse(text, units, kind, example))
    if not rate:
        raise UnitError(f"a {kind} cannot be zero")
    return rate


def parse_duration(text: Any) -> int:
    """`'120 ns'` -> 120000 ps. Raises `UnitError`."""
    return round(_parse(text, _TIME, "duration", "120 ns"))


def parse_wall_time(text: Any) -> float:
    """`'10 min'` -> 600 seconds. Raises `UnitError`."""
    return _parse(text, _WALL, "time", "10 min") / 1000


def parse_size(text: Any) -> int:
    """`'2 MiB'` -> 2097152 bytes; a page is 4 KiB. Raises `UnitError`."""
    return round(_parse(text, _SIZE, "size", "16 KiB"))


def parse_frequency(text: Any) -> int:
    """`'2.25 GHz'` -> 2250000000 Hz. Raises `UnitError`."""
    return _parse_rate(text, _FREQUENCY, "frequency", "2.25 GHz")


def parse_bandwidth(text: Any) -> int:
    """`'30 GB/s'` -> bytes a second. Raises `UnitError`."""
    return _parse_rate(text, _BANDWIDTH, "bandwidth", "30 GB/s")


@dataclass(frozen=True)
class CycleCost:
    """A cost with a part that follows the core's clock and a part that does not.

    *cycles* scale with the clock (instructions, caches inside the core complex); *fixed_ps* does not
    (fabric, DRAM, a hypervisor's exit).
    """

    cycles: float
    fixed_ps: int

    def __str__(self) -> str:
        return f"{self.cycles} cycles + {self.fixed_ps} ps"

    def at(self, hertz: int) -> int:
        """The cost in ps on a core of *hertz*."""
        return self.fixed_ps + round(self.cycles * PS_PER_S / hertz)


def parse_cost(text: Any) -> CycleCost:
    """`'110 cycles + 98 ns'` -> `CycleCost(110, 98000)`. Raises `UnitError`."""
    if not isinstance(text, str):
        raise UnitError("not a cost: write cycles, a time or their sum, such as '110 cycles + 98 ns'")
    cycles, fixed = 0.0, 0
    for term in _PLUS.split(text):
        match = _QUANTITY.match(term)
        value = _parse(term, _TIME | _CYCLES, "cost", "110 cycles + 98 ns")
        if match and match[2] in _CYCLES:
            cycles += value
        else:
            fixed += round(value)
    return CycleCost(cycles, fixed)


def parse_release(text: Any) -> tuple[int, ...]:
    """`'6.13'` -> (6, 13). Raises `UnitError`; a number is one, as 6.10 would be 6.1."""
    if not isinstance(text, str) or _RELEASE.fullmatch(text) is None:
        raise UnitError("not a release of Linux: write two or three numbers in quotes, such as '6.13'")
    return tuple(int(part) for part in text.split("."))


def format_release(release: tuple[int, ...]) -> str:
    """A release as people write it: `6.13`."""
    return ".".join(map(str, release))


def format_duration(ps: float) -> str:
    """A duration for people: `1.25 us`."""
    for unit in ("s", "ms", "us", "ns"):
        if abs(ps) >= _TIME[unit]:
            return f"{ps / _TIME[unit]:.4g} {unit}"
    return f"{ps:.4g} ps"


def format_size(size: int) -> str:
    """A size for people and for files: `2 MiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size >= _SIZE[unit]:
            return f"{size / _SIZE[unit]:.6g} {unit}"
    return f"{size} B"


def _written(unit: str) -> PlainSerializer:
    """How a dump writes the number: with its unit.

    A function of its own: pydantic reads the signature of a serializer, and a built-in one (`str.format` of a
    text, `str` itself) has another or none from one Python version to the next.
    """

    def write(value: float) -> str:
        return f"{value} {unit}"

    return PlainSerializer(write, return_type=str)


def _pattern(units: dict[str, int]) -> str:
    return rf"[+]?\d[\d_]*(\.\d+)?([eE][+-]?\d+)?\s*({'|'.join(units)})"


def _text(pattern: str, example: str) -> WithJsonSchema:
    """What an editor is told: text with a unit, such as *example*."""
    return WithJsonSchema({"type": "string", "pattern": rf"^\s*{pattern}\s*$", "examples": [example]})


Duration = Annotated[int, BeforeValidator(parse_duration), _written("ps"), _text(_pattern(_TIME), "120 ns")]
"""Picoseconds, written `120 ns`."""
Size = Annotated[int, BeforeValidator(parse_size), _written("B"), _text(_pattern(_SIZE), "16 KiB")]
"""Bytes, written `16 KiB` or `4 pages`."""
Frequency = Annotated[
    int,
    BeforeValidator(parse_frequency),
    _written("Hz"),
    _text(_pattern(_FREQUENCY), "2.25 GHz"),
]
"""Hertz, written `2.25 GHz`."""
Bandwidth = Annotated[
    int,
    BeforeValidator(parse_bandwidth),
    _written("B/s"),
    _text(_pattern(_BANDWIDTH), "30 GB/s"),
]
"""Bytes a second, written `30 GB/s`."""
WallTime = Annotated[float, BeforeValidator(parse_wall_time), _written("s"), _text(_pattern(_WALL), "10 min")]
"""Seconds on the clock on the wall, written `10 min`."""
_TERM = _pattern(_TIME | _CYCLES)
Cost = Annotated[
    CycleCost,
    BeforeValidator(parse_cost),
    PlainSerializer(CycleCost.__str__, return_type=str),
    _text(rf"{_TERM}(\s*\+\s*{_TERM})*", "110 cycles + 98 ns"),
]
"""Cycles that follow the clock plus time that does not, written `110 cycles + 98 ns`."""
Release = Annotated[
    tuple[int, ...],
    BeforeValidator(parse_release),
    PlainSerializer(format_release, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_RELEASE.pattern}$", "examples": ["6.13"]}),
]
"""Release of Linux, written `'6.13'`; a later one is greater."""
