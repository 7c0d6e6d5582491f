"""Which check has found it: the name of what an error comes from."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from sim.errors import BudgetExceeded, Deadlock
from sim.mm.invariants import BrokenInvariant

_HERE = Path(__file__).parent
_ROOMS = (_HERE, _HERE.with_name("check"))

_CHECKS = {
    ("watch", "frame_allocated"): "a frame has one owner",
    ("watch", "frame_freed"): "no frame is freed while a TLB translates to it",
    ("watch", "range_locked"): "no two cpus have a range to themselves",
    ("contents", "read"): "what is read was zeroed or written",
    ("contents", "write"): "what is written was zeroed",
    ("checking", "_perform"): "answers",
    ("checking", "_just_done"): "what an operation leaves behind",
    ("checking", "_access"): "what an access finds",
    ("checking", "_spawn"): "what an operation leaves behind",
    ("effects", "*"): "answers",
    ("races", "accessed"): "what an access may find",
    ("races", "rests"): "what threads may leave behind",
    ("races", "was"): "what a child may have",
    ("histories", "_explain"): "linearizability",
    ("resting", "mappings"): "mappings",
    ("resting", "entries"): "entries and contents",
    ("resting", "frames"): "frames",
    ("resting", "files"): "files",
    ("resting", "tables"): "tables",
    ("resting", "forked"): "what a fork leaves behind",
    ("locks", "enter"): "a writer is inside alone",
    ("locks", "follow"): "everybody comes in",
    ("process", "end"): "nothing is left",
}
"""Module and function of this room, or of `check`, in which an assertion fails, and what it is called."""


def check_of(error: BaseException) -> str:
    """The name of the check that raised *error*; `a crash` where the model itself could not go on."""
    if isinstance(error, BrokenInvariant):
        return str(error).split(":")[0]
    if isinstance(error, Deadlock):
        return "deadlock"
    if isinstance(error, BudgetExceeded):
        return "it goes round in circles"
    if isinstance(error, AssertionError):
        for module, function in reversed(_places(error.__traceback__)):
            name = _CHECKS.get((module, function)) or _CHECKS.get((module, "*"))
            if name is not None:
                return name
    return f"a crash: {type(error).__name__}"


def _places(trace: TracebackType | None) -> list[tuple[str, str]]:
    found = []
    while trace is not None:
        code = trace.tb_frame.f_code
        path = Path(code.co_filename)
        if path.parent in _ROOMS:
            found.append((path.stem, code.co_name))
        trace = trace.tb_next
    return found
