"""Is there one order of all calls that explains what each has answered? (Wing and Gong, JPDC 1993)

A call may stand anywhere between its begin and its end. A search puts one after the other: any that began
before all others that are left had ended may be next, if the specification knows a state that it leads to.
What has been tried, a set of calls and the state that they led to, is not tried again (Lowe, CCPE 2017).

    thread 1   |--- munmap ---|
    thread 2      |- read: 7 -|  |- read: a signal -|      7 was read before munmap

The specification here is one page of private memory (`Page`), for pages are independent of each other: all
calls on several pages are as many calls, each in the interval of the whole. An address space promises less
than a plain object does: until munmap, mprotect or a discard returns, other cpus may still have what was
there, each until it first has the new. So an access may also find what was superseded, if that call had not
returned when the access began, and if this cpu has found nothing newer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Generic, TypeVar

from sim.mm import READ, WRITE, Rights

S = TypeVar("S", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Call:
    """Something that was asked and answered, between two moments."""

    begin: float
    end: float


@dataclass(frozen=True, eq=False)
class Change(Call):
    """*rights* after those of before (None: not mapped); *clears*: what was there is zeros, or gone.

    Not *sure*: it was refused, and has done its work here or not.
    """

    rights: Callable[[Rights | None], Rights | None]
    clears: Callable[[Rights | None], bool]
    sure: bool = True
    name: str = "a change"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Access(Call):
    """*cpu* has read *version* or, *writes*, left it there; None: it got a signal. -1: nobody knows."""

    cpu: int
    writes: bool
    version: int | None

    def __str__(self) -> str:
        found = "a signal" if self.version is None else f"version {self.version}"
        return f"cpu {self.cpu} {'writes' if self.writes else 'reads'}: {found}"


@dataclass(frozen=True, eq=False)
class Rest(Call):
    """Nobody runs, and the page has *rights* and would be read as *version* (None or -1: nobody can)."""

    rights: Rights | None
    version: int | None

    def __str__(self) -> str:
        return f"at rest: rights {self.rights}, version {self.version}"


@dataclass(frozen=True)
class Shown:
    """What a translation shows: number *cell* of the contents, with *rights*; superseded until *until*."""

    rights: Rights | None
    cell: int
    until: float = inf


@dataclass(frozen=True)
class State:
    """All that the page has shown, the last of it now, the *versions* in its cells, and which is the first
    that each cpu may still find."""

    shown: tuple[Shown, ...]
    versions: tuple[int, ...]
    first: tuple[tuple[int, int], ...] = ()


def begins(rights: Rights | None, version: int) -> State:
    """A page at rest."""
    return State((Shown(rights, 0),), (version,))


def page(state: State, call: Call) -> Iterator[State]:
    """The states that *call* may lead to: the sequential specification of one page."""
    if isinstance(call, Change):
        yield from _changed(state, call)
    elif isinstance(call, Access):
        yield from _accessed(state, call)
    elif isinstance(call, Rest):
        now = state.shown[-1]
        known = call.version is not None and call.version >= 0 and now.rights is not None
        if now.rights == call.rights and (not known or state.versions[now.cell] == call.version):
            yield state


def _changed(state: State, call: Change) -> Iterator[State]:
    if not call.sure:
        yield state
    now = state.shown[-1]
    rights, clears = call.rights(now.rights), call.clears(now.rights)
    if rights == now.rights and not clears:
        if call.sure:
            yield state
        return
    before = (*state.shown[:-1], replace(now, until=call.end))
    cell = len(state.versions) if clears else now.cell
    versions = (*state.versions, 0) if clears else state.versions
    yield State((*before, Shown(rights, cell)), versions, state.first)


def _accessed(state: State, call: Access) -> Iterator[State]:
    needed, now = WRITE if call.writes else READ, state.shown[-1]
    if call.version is None:
        if now.rights is None or not now.rights & needed:
            yield state
        return
    first = dict(state.first)
    for number in range(first.get(call.cpu, 0), len(state.shown)):
        shown = state.shown[number]
        if shown.until < call.begin or shown.rights is None or not shown.rights & needed:
            continue
        versions = state.versions
        if call.writes:
            versions = (*versions[: shown.cell], call.version, *versions[shown.cell + 1 :])
        elif call.version not in (-1, versions[shown.cell]):
            continue
        yield State(state.shown, versions, tuple(sorted({**first, call.cpu: number}.items())))


class Search(Generic[S]):
    """An order of *calls* that *specification* allows from *state* on."""

    def __init__(
        self, calls: Sequence[Call], specification: Callable[[S, Call], Iterator[S]], state: S
    ) -> None:
        self._calls = calls
        self._specification = specification
        self._state = state
        self._tried: set[tuple[frozenset[int], S]] = set()
        self.states = 0
        """How many states have been visited."""

    def order(self) -> list[Call] | None:
        """Such an order, None if there is none."""
        return self._after(frozenset(range(len(self._calls))), self._state)

    def _after(self, left: frozenset[int], state: S) -> list[Call] | None:
        if not left:
            return []
        if (left, state) in self._tried:
            return None
        self._tried.add((left, state))
        self.states += 1
        soonest = min(self._calls[each].end for each in left)
        for each in sorted(left):
            call = self._calls[each]
            if call.begin > soonest:
                continue
            for after in self._specification(state, call):
                rest = self._after(left - {each}, after)
                if rest is not None:
                    return [call, *rest]
        return None
