"""Short histories: a few operations of two or three threads on the same two pages, checked call by call.

Runs as threads that share pages do (`races`), and keeps begin, end and answer of each operation besides. When
all threads rest, `linearizability` looks for an order that explains them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim.designs import Rules
from sim.engine import Probe
from sim.mm import READ_WRITE, Madvise, Mmap, Mprotect, Munmap, Operation, Touch
from sim.verify.checking import Counts, Run, check
from sim.verify.drawing import ALL_RIGHTS, draw_kernel
from sim.verify.kernels import BASE
from sim.verify.linearizability import Access, Call, Change, Rest, Search, begins, page
from sim.verify.programs import Program
from sim.verify.races import Event, History, State
from sim.verify.variants import Choose, offered, rules_of

PAGES = range(BASE - 1, BASE + 1)
"""Two, in two page tables."""
LONGEST = 8
"""Operations of a history."""


@dataclass
class _Begun:
    """An operation that runs."""

    event: Event
    page: int
    name: str


class Recorded(History):
    """A history that keeps all calls between two rests."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._begun: list[_Begun] = []
        self._calls: dict[int, list[Call]] = {}
        self._rested: dict[int, tuple[State, int]] = {}
        self.states = 0

    def begin(self, asked: Operation) -> list[Event]:
        events = super().begin(asked)
        pages: range = range(asked.at, asked.at + asked.pages)  # type: ignore[attr-defined]
        self._begun += [_Begun(event, each, asked.name) for event, each in zip(events, pages, strict=True)]
        return events

    def end(self, events: list[Event], *, sure: bool) -> None:
        super().end(events, sure=sure)
        for each in [begun for begun in self._begun if begun.event in events]:
            event = each.event
            self._keep(each.page, Change(event.begin, event.end, event.change, event.clears, sure, each.name))
            self._begun.remove(each)

    def drop(self, events: list[Event]) -> None:
        super().drop(events)
        self._begun = [each for each in self._begun if each.event not in events]

    def accessed(self, page: int, since: int, *, write: bool, version: int | None, cpu: int = 0) -> None:
        super().accessed(page, since, write=write, version=version, cpu=cpu)
        self._keep(page, Access(since, self.now(), cpu, write, version))

    def starts(self, page: int, state: State, version: int | None) -> None:
        super().starts(page, state, version)
        self._rested[page] = state, version or 0

    def rests(self, page: int, state: State, version: int | None) -> None:
        super().rests(page, state, version)
        now = self.now()
        calls = self._calls.pop(page, [])
        self._explain(page, [*calls, Rest(now, now, state, version)])
        self._rested[page] = state, version or 0

    def _keep(self, page: int, call: Call) -> None:
        self._calls.setdefault(page, []).append(call)

    def _explain(self, number: int, calls: Sequence[Call]) -> None:
        before = self._rested.get(number, (None, 0))
        search = Search(calls, page, begins(*before))
        order = search.order()
        self.states += search.states
        words = "; ".join(f"[{call.begin:.0f}, {call.end:.0f}] {call}" for call in calls)
        assert order is not None, (
            f"no order of the calls on page {number:#x} explains their answers, from rights {before[0]} and "
            f"version {before[1]}: {words}"
        )


def check_history(program: Program, listeners: Sequence[Probe] = ()) -> Counts:
    """Run *program*, of mode `shared`, and look for an order. Raises as `check` does."""
    return check(program, listeners, RecordedRun)


class RecordedRun(Run):
    """A run whose history is kept."""

    def new_history(self) -> History:
        return Recorded(self.rules)

    def settle_races(self) -> None:
        super().settle_races()
        self.states = sum(each.states for each in self.histories.values() if isinstance(each, Recorded))


def draw_short(choose: Choose, kind: str) -> Program:
    """Two or three threads, and at most `LONGEST` operations on `PAGES`."""
    changes, machine = draw_kernel(choose, kind)
    threads = choose((2, 2, 3))
    knows_flags = rules_of(kind).knows_flags
    draws = [each for each in (Mmap, Munmap, Mprotect, Madvise) if each in offered(kind)]

    def touch() -> Operation:
        pages = choose((PAGES, PAGES[:1], PAGES[1:]))
        return Touch(list(pages[: choose((1, 1, 2))]), write=choose((True, True, False)))

    def change() -> Operation:
        asked = choose(draws)
        pages = choose((PAGES, PAGES[:1], PAGES[1:]))
        at, length = pages.start, len(pages)
        if asked is Mmap:
            return Mmap(length, at, choose(ALL_RIGHTS) if knows_flags else READ_WRITE)
        if asked is Mprotect:
            return Mprotect(at, length, choose(ALL_RIGHTS))
        return Munmap(at, length) if asked is Munmap else Madvise(at, length)

    opening: list[Operation] = [Mmap(len(PAGES), PAGES.start)]
    sees: list[list[Operation]] = [[Touch(list(PAGES), write=choose((True, False)))] for _ in range(threads)]
    if choose((True, False)):  # a fault beside a change, and perhaps one of the two more
        runs = [[touch()], [change()], [choose((touch, change))()]][:threads]
        seen = choose((False, False, True))
    else:
        lengths = [choose((1, 2, 3, 4)) for _ in range(threads)]
        while sum(lengths) > LONGEST:
            lengths[lengths.index(max(lengths))] -= 1
        runs = [[choose((touch, change))() for _ in range(length)] for length in lengths]
        seen = choose((True, True, False))
    rounds: list[list[list[Operation]]] = [[opening], *([sees] if seen else []), runs]
    return Program(
        kind,
        "shared",
        rounds,
        ties=choose(("fifo", "shuffle", "shuffle", "priority")),
        seed=choose(range(1000)),
        changes=changes,
        machine=machine,
    )
