"""Why a point cannot run with one thing less, in one sentence for people.

A run that breaks says so in the words of whatever noticed it: a check of the model, or an exception of Python
deep inside of it. The latter is what becomes of a structure that two threads change at once: its halves no
longer fit. Whoever asked what a lock is worth is told that, and in which file, not `list index out of range`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sim.analysis.changes import Change
    from sim.errors import InputError
    from sim.experiment import Outcome

UNFORESEEN: Final = "internal error"
"""How an error begins that no check of the model raised."""
_CHECKS: Final[Mapping[str, str]] = {
    "BrokenInvariant": "the check of the end state fails",
    "AccountingError": "the times of a cpu no longer add up",
    "SegmentationFault": "a thread touches memory that is gone",
    "BusError": "a thread touches memory that is gone",
    "Deadlock": "all threads wait for each other",
    "OutOfMemory": "the memory is used up",
    "BudgetExceeded": "the run does not come to its end",
}
"""Class of an error that a check raises -> what it means."""


def reason(outcome: Outcome, change: Change) -> str:
    """Why *outcome* of a point with *change* failed."""
    kind, _, words = outcome.row.error.partition(": ")
    if kind != UNFORESEEN:
        return f"{_CHECKS[kind]}: {words}" if kind in _CHECKS else outcome.row.error
    where = _where(outcome.trace)
    if change.locks:
        return (
            f"without it two threads change the same data at once, and {where} finds what it does not expect"
        )
    return f"{where} of the model does not know this value beside the others ({words})"


def misfit(error: InputError) -> str:
    """Why the files refuse a value, without the place at which nobody has written it."""
    return "; ".join(fault.message for fault in error.faults)


def _where(trace: str) -> str:
    """The file of the model in which a traceback ends, below `sim`."""
    files = re.findall(r'^ +File ".*?\bsim/([^"]+)", line', trace, re.M)
    return str(files[-1]) if files else "some part"
