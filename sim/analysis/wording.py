"""Names, numbers and units as people write them, in figures, tables and reports."""

from __future__ import annotations

_WORDS = {
    "linux": "Linux",
    "asterinas": "Asterinas",
    "bonsai": "Bonsai",
    "cortenmm": "CortenMM",
    "interval-vm": "Interval VM",
    "nros": "NrOS",
    "radixvm": "RadixVM",
}
_SIZES = ((1e9, " G"), (1e6, " M"), (1e3, " k"))
_TIMES = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))
_TIME_NAMES = {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}
_RATES = {
    "ops/us": ("operations", 1e6),
    "Mops/s": ("operations", 1e6),
    "kops/s": ("operations", 1e3),
    "ops/s": ("operations", 1.0),
    "faults/s": ("faults", 1.0),
}
"""What each unit of a throughput counts, and how many a second one is."""
_COUNTS = ((1e6, "million "), (1e3, "thousand "), (1.0, ""))


def design_title(name: str) -> str:
    """`cortenmm-adv` as people write it: `CortenMM adv`."""
    head, _, rest = name.partition("-")
    for known in _WORDS:
        if name == known or name.startswith(f"{known}-"):
            head, rest = known, name.removeprefix(known).removeprefix("-")
    return f"{_WORDS.get(head, head)} {rest}".strip()


def placement_title(placement: str) -> str:
    """What a placement is called above a row of panels."""
    if placement in ("low", "high"):
        return f"{placement} contention"
    if placement in ("threads", "processes"):
        return f"as {placement}"
    return f"placement {placement}" if placement else ""


def thread_count(threads: int) -> str:
    """`1 thread`, `64 threads`."""
    return "1 thread" if threads == 1 else f"{threads} threads"


def plain_number(value: float) -> str:
    """A number of any size in few characters: `0.37`, `12`, `4100`, `28 k`, `2.3 M`."""
    size, suffix = next(((size, name) for size, name in _SIZES if abs(value) >= 10 * size), (1.0, ""))
    scaled = value / size
    return (f"{scaled:.0f}" if abs(scaled) >= 100 else f"{scaled:.3g}") + suffix


def duration(nanoseconds: float) -> str:
    """A duration in the unit that keeps it short: `850 ns`, `1.2 µs`, `3.4 ms`."""
    size, unit = _time_unit(nanoseconds)
    scaled = nanoseconds / size
    return f"{scaled:.0f} {unit}" if scaled >= 1000 else f"{scaled:.3g} {unit}"


def time_scale(typical: float, unit: str = "ns") -> tuple[float, str]:
    """The unit of an axis of times around *typical*, which is told in *unit*: (factor from *unit*, name).

    A unit that is no time (`cycles`) stays what it is, counted in thousands or millions where that is
    shorter.
    """
    if unit not in _TIME_NAMES:
        count, words = next(
            (count, words) for count, words in _COUNTS if typical >= 10 * count or count == 1.0
        )
        return 1 / count, f"{words}{unit}"
    nanoseconds = _TIME_NAMES[unit]
    size, name = _time_unit(typical * nanoseconds)
    return nanoseconds / size, name


def rate_scale(typical: float, unit: str = "ops/us") -> tuple[float, str, str]:
    """The unit of an axis of rates around *typical* (in *unit*): (factor from *unit*, what, per).

    Of `ops/us`, `operations` per `µs`, or per `ms` or `s` where fewer than a tenth are done in the shorter
    time; of other units per `s`, in thousands or millions where there are so many.
    """
    what, size = _RATES.get(unit, (unit, 0.0))
    if unit == "ops/us":
        return next(
            (factor, what, per)
            for least, factor, per in ((0.1, 1.0, "µs"), (1e-4, 1e3, "ms"), (0.0, 1e6, "s"))
            if typical >= least
        )
    if not size:
        return 1.0, what, ""
    count, words = next((count, words) for count, words in _COUNTS if typical * size >= count or count == 1.0)
    return size / count, f"{words}{what}", "s"


def _time_unit(nanoseconds: float) -> tuple[float, str]:
    return next(((size, unit) for size, unit in _TIMES if nanoseconds >= size), _TIMES[-1])
