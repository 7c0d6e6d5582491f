"""Files that steps have open: each thread closes what it opens, and uses none that is not open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sim.errors import RuleError

if TYPE_CHECKING:
    from sim.workload.step_spec import Step

_OPEN_BEFORE = "an `open` step before it"


def check_opened(lists: Iterable[tuple[str, Sequence[Step]]], prepare: str = "") -> None:
    """Raises `RuleError` at the first step that uses a file which is not open, or leaves one open.

    *lists* are those that one thread does, each with its key, in their order. What it opens in that with the
    key *prepare* stays open for the others; each of the others closes what it opens.
    """
    opened = 0
    for key, steps in lists:
        if key == prepare:
            opened = _follow(steps, key, 0)
        else:
            _as_before(steps, key, opened)


def _as_before(steps: Sequence[Step], key: str, opened: int) -> int:
    if _follow(steps, key, opened) > opened:
        raise RuleError("a file stays open", {key: "a `close` for each `open`"})
    return opened


def _follow(steps: Sequence[Step], key: str, opened: int) -> int:
    """How many files are open after *steps*, with so many before. None of those before is closed."""
    floor = opened
    for index, step in enumerate(steps):
        place = f"{key}[{index}]"
        if step.open is not None:
            opened += 1
        elif step.close or step.fstat or step.read or step.write:
            if not opened:
                raise RuleError(f"`{step.kind}` without an open file", {place: _OPEN_BEFORE})
            if step.close:
                opened -= 1
            if opened < floor:
                raise RuleError("closes a file that was opened elsewhere", {place: _OPEN_BEFORE})
        for inner, inside in step.parts.items():
            if step.timed is not None:
                opened = _follow(inside, f"{place}.{inner}", opened)
            else:
                _as_before(inside, f"{place}.{inner}", opened)
    return opened
