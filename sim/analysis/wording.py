"""Names and numbers as people write them, in figures, tables and reports."""

from __future__ import annotations

_WORDS = {"linux": "Linux", "cortenmm": "CortenMM", "nros": "NrOS", "radixvm": "RadixVM"}
_SIZES = ((1e9, " G"), (1e6, " M"), (1e3, " k"))


def design_title(name: str) -> str:
    """`cortenmm-adv` as people write it: `CortenMM adv`."""
    head, _, rest = name.partition("-")
    return f"{_WORDS.get(head, head)} {rest}".strip()


def placement_title(placement: str) -> str:
    """What a placement is called beside a row of panels."""
    return f"{placement} contention" if placement in ("low", "high") else placement


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
    for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"
