"""What looking for violations is about: for how long, what was done, and what was found, made small."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Protocol

from sim.engine import Probe
from sim.verify.checking import Counts
from sim.verify.named import check_of
from sim.verify.programs import Program
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

    @property
    def is_spent(self) -> bool:
        """Whether there is no time for one more."""
        return monotonic() >= self._until if self._left is None else self._left <= 0

    def part(self, of: int) -> Budget:
        """A budget for the next of *of* parts that are left; its executions are taken from this one."""
        executions = None if self._left is None else -(-self._left // of)
        if self._left is not None and executions is not None:
            self._left -= executions
        return Budget(max(0.0, self._until - monotonic()) / of, executions)


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
    seconds: float = 0.0
    """How long it took, where a scenario goes through the orders of races."""
    races: int = 0
    """How many it has begun."""
    whole: int = 0
    """Of how many it has been through all orders."""
    within_one: int = 0
    """Of how many it has been through all orders with one preemption at most."""
    explored: str = ""
    """How far it went, where that was one."""

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
