"""The exception tree: who is at fault is in the type.

`InputError` is the user's mistake (exit code 2, one message a fault), `ModelError` is ours (a broken
invariant of the simulator), `BudgetExceeded` is a point that ran out of its allowance (a failed row).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


class CortensimError(Exception):
    """Base of every error this package raises on purpose."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with the input, with all a user needs to mend it."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    key: str | None = None
    value: object = None
    allowed: str | None = None
    suggestion: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        head = ": ".join(part for part in (place, self.key, self.message) if part)
        notes = []
        if self.value is not None:
            notes.append(f"got {self.value!r}")
        if self.allowed:
            notes.append(f"allowed: {self.allowed}")
        if self.suggestion:
            notes.append(f"did you mean {self.suggestion!r}?")
        return f"{head} ({'; '.join(notes)})" if notes else head

    def placed(self, at: Fault) -> Fault:
        """This fault, which knows what is wrong, at the place of another, which knows where."""
        value = at.value if self.value is None else self.value
        return Fault(self.message, at.file, at.line, at.column, at.key, value, self.allowed, self.suggestion)


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The closest of *words* to a misspelt one, for a fault's suggestion; None if none is close."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, list(words), n=1, cutoff=0.6)), None)


class RuleError(ValueError):
    """Values of a spec that do not fit each other.

    *allowed* says for each of them, by its dotted path below the spec that has the rule, what would fit the
    others; the most likely culprit comes first. Whoever knows the file adds the place.
    """

    def __init__(self, message: str, allowed: Mapping[str, str]) -> None:
        self.allowed = allowed
        super().__init__(message)


class InputError(CortensimError):
    """The user's mistake: a file, a name or an option that cannot be used."""

    def __init__(self, faults: Sequence[Fault] | Fault) -> None:
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[Fault, ...]]]:
        return type(self), (self.faults,)


class ModelError(CortensimError):
    """A broken invariant of the simulator: never the user's fault."""


class Deadlock(ModelError):
    """Threads wait and nothing can wake them; the message is the wait-for graph."""


class AccountingError(ModelError):
    """The activities of a cpu do not add up to the time that passed."""


class ReplayError(CortensimError):
    """A stored schedule decides what this run does not offer: it is of another model, point or seed."""


class BudgetExceeded(CortensimError):
    """A point used up its events or its simulated time."""


class Exhausted(BudgetExceeded):
    """A point took more time or memory than it may; on another machine it may not."""
