"""Scenarios: ways to look for a violation in a design, each with a name, for as long as a budget lasts.

`SCENARIOS` has all of them; another one is an object with the methods of `Scenario` and a line there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Protocol

from sim.engine import Probe
from sim.verify.checking import Counts, check
from sim.verify.histories import check_history, draw_short
from sim.verify.locks import LOCKS, check_turns, draw_turns
from sim.verify.named import check_of
from sim.verify.programs import Mode, Program, draw_program, modes, with_delays
from sim.verify.shrinking import failure, shrunk
from sim.verify.trail import Trail, said

SHRINKING = 20.0
"""Seconds that making one failing program small may take, beside the budget."""


class Budget:
    """How long to go on: until the wall clock says so, or after so many executions; at least one."""

    def __init__(self, seconds: float, executions: int | None = None) -> None:
        self._until = monotonic() + seconds
        self._left = executions

    def take(self) -> bool:
        """Whether there is time for one more execution, which is then taken."""
        if self._left is not None:
            self._left -= 1
            return self._left >= 0
        first, self._first = self._first, False
        return first or monotonic() < self._until

    _first = True


@dataclass(frozen=True)
class Violation:
    """What was found, in the smallest program that still shows it."""

    scenario: str
    program: Program
    check: str
    """Which check it was."""
    found: str
    seed: str
    """What it was drawn from: the seed of the command, and what else."""
    doing: Sequence[str] = ()
    """What each cpu was about."""
    events: Sequence[str] = ()
    """What happened last."""

    @property
    def said(self) -> str:
        """What was found, with the name of the check in front."""
        return self.found if self.found.startswith(self.check) else f"{self.check}: {self.found}"

    @property
    def address(self) -> str | None:
        """The page that the message names."""
        named = re.search(r"page (0x[0-9a-f]+)", self.found)
        return named[1] if named else None


@dataclass
class Outcome:
    """What a scenario has done in its budget."""

    executions: int = 0
    operations: int = 0
    events: int = 0
    states: int = 0
    """Different states that were visited, where a scenario counts them."""
    violations: list[Violation] = field(default_factory=list)

    def add(self, counts: Counts) -> None:
        """One more execution."""
        self.executions += 1
        self.operations += counts.operations
        self.events += counts.events
        self.states += counts.states


class Scenario(Protocol):
    """A way to look for violations. *title* says it in a line."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...

    def suits(self, design: str) -> bool:
        """Whether the operations of *design* are enough for it."""

    def draw(self, design: str, random: Random) -> Program:
        """A program of its kind; a scenario that goes through all of some takes one of them."""

    def run(self, design: str, budget: Budget, seed: int) -> Outcome:
        """Look until *budget* is spent or something is found."""

    def check(self, program: Program, listeners: Sequence[Probe] = ()) -> Counts:
        """Run one program, as a replay does. Raises what is found."""


class Drawn:
    """What scenarios that draw programs have in common."""

    name: str
    title: str

    def suits(self, design: str) -> bool:
        return design not in LOCKS

    def draw(self, design: str, random: Random) -> Program:
        raise NotImplementedError

    def check(self, program: Program, listeners: Sequence[Probe] = ()) -> Counts:
        return check(program, listeners)

    def run(self, design: str, budget: Budget, seed: int) -> Outcome:
        outcome = Outcome()
        while budget.take() and not outcome.violations:
            drawn_from = f"{seed} {design} {self.name} {outcome.executions}"
            random = Random(drawn_from)
            program = with_delays(random.choice, self.draw(design, random))
            try:
                outcome.add(self.check(program))
            except Exception:
                outcome.add(Counts(0, 0))
                outcome.violations.append(violation(self, program, drawn_from))
        return outcome


def violation(
    scenario: Scenario,
    program: Program,
    seed: str,
    shrinking: float = SHRINKING,
    look: Callable[..., Counts] | None = None,
) -> Violation:
    """What is wrong with *program*, which fails, in its smallest form; *look* finds it, if not *scenario*."""
    look = look or scenario.check
    small = shrunk(program, checked=look, until=monotonic() + shrinking)
    trail = Trail()
    found = failure(small, lambda each: look(each, [trail]))
    assert found is not None
    doing = [f"cpu {cpu}: {said(operation)}" for cpu, operation in sorted(trail.doing.items())]
    return Violation(scenario.name, small, check_of(found), str(found), seed, doing, tuple(trail.events))


class OfMode(Drawn):
    """Random programs whose threads share so much with each other."""

    def __init__(self, mode: Mode, title: str) -> None:
        self.name: str = mode
        self.title = title
        self._mode = mode

    def suits(self, design: str) -> bool:
        return design not in LOCKS and self._mode in modes(design)

    def draw(self, design: str, random: Random) -> Program:
        return draw_program(random.choice, [design], of_mode=self._mode)


class ShortHistories(Drawn):
    """Two or three threads, a few operations on the same page, checked for linearizability."""

    name = "short histories"
    title = "2-3 threads, at most 8 operations on two pages: does some order explain all answers?"

    def draw(self, design: str, random: Random) -> Program:
        return draw_short(random.choice, design)

    def check(self, program: Program, listeners: Sequence[Probe] = ()) -> Counts:
        return check_history(program, listeners)


class OnLocks(Drawn):
    """Threads that take one lock, and see who else is inside."""

    name = "locks"
    title = "threads take one lock, and are interrupted: a writer is inside alone, and all come in"

    def suits(self, design: str) -> bool:
        return design in LOCKS

    def draw(self, design: str, random: Random) -> Program:
        return draw_turns(random.choice, design)

    def check(self, program: Program, listeners: Sequence[Probe] = ()) -> Counts:
        return check_turns(program, listeners)


_MODES: Mapping[Mode, str] = {
    "alone": "one thread: every answer, entry, table and frame is determined",
    "apart": "threads with pages of their own, which share tables, VMAs and allocators",
    "shared": "threads on the same few pages: what they find is in the set of what they may",
    "processes": "one thread in each of several processes by turns, which share files",
    "family": "processes that have come of one by fork, exec and exit, also several at once",
    "forking": "as shared or apart, and threads fork meanwhile",
}

_ALL: Sequence[Scenario] = (
    *(OfMode(mode, title) for mode, title in _MODES.items()),
    ShortHistories(),
    OnLocks(),
)
SCENARIOS: dict[str, Scenario] = {each.name: each for each in _ALL}
"""All scenarios by name, in the order of the table."""
