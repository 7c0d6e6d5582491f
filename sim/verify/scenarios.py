"""Scenarios: ways to look for a violation in a design, each with a name, for as long as a budget lasts.

`SCENARIOS` has all of them; another one is an object with the methods of `Scenario` and a line there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from sim.engine import Probe
from sim.verify.checking import Counts, check
from sim.verify.drawing import draw_program, modes, with_delays
from sim.verify.explore import RACES
from sim.verify.histories import check_history, draw_short
from sim.verify.locks import LOCKS, check_turns, draw_turns
from sim.verify.outcomes import Budget, Outcome, Scenario, violation
from sim.verify.programs import Mode, Program


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


class LargePages(Drawn):
    """Random programs of all modes on Linux with huge pages and large folios."""

    name = "large pages"
    title = "programs of all kinds on Linux with huge pages, a pool of them, and large folios"

    def suits(self, design: str) -> bool:
        return design == "linux"

    def draw(self, design: str, random: Random) -> Program:
        return draw_program(random.choice, [design], huge=True)


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
    LargePages(),
    ShortHistories(),
    OnLocks(),
    *RACES,
)
SCENARIOS: dict[str, Scenario] = {each.name: each for each in _ALL}
"""All scenarios by name, in the order of the table."""
DEFAULT: Sequence[Scenario] = [each for each in _ALL if "/" not in each.name]
"""Those that are run if nobody says which: a race alone (`exhaustive/munmap-fault`) is part of another."""
