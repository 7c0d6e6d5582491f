"""In which order kinds of locks are taken: two threads that take two kinds in opposite orders may deadlock.

As lockdep does, an order is remembered once it was seen, in whatever thread; so a fault shows even in a run
in which nobody met. Locks of one kind (`vm_lock of *`; the tables of all levels are one) that are taken
together must come in one order, too, unless both threads held a third lock for writing meanwhile: then they
cannot meet. A lock that nobody has had before is of something new (the tables of a process that fork makes),
which nobody else knows: its first time says nothing.
"""

from __future__ import annotations

import re
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final

from sim.profile.kinds import kind_of

if TYPE_CHECKING:
    from sim.check.scene import Scene
    from sim.engine.probe import CpuView, LockView, Mode

ORDER: Final = "locks are taken in one order (I4)"

_LOOKED_AT: Final = 3
"""Locks taken last that the next one is laid beside: those below them were, when these were taken."""
_LEVEL: Final = re.compile(r"^L\d ")


class LockOrder:
    """*before* has, for each kind, those that somebody took while holding it, and who did that."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.before: dict[str, dict[str, str]] = {}
        self._kinds: dict[LockView, tuple[str, str]] = {}
        """Name and kind of a lock: where its memory is used again it gets another name."""
        self._alike: dict[tuple[LockView, LockView], tuple[str, set[LockView]]] = {}

    def wants(self, cpu: CpuView, lock: LockView, held: dict[LockView, Mode]) -> None:
        """*cpu*, which holds *held*, is about to wait for *lock*."""
        kind, before = self._kind(lock), self.before
        for other in islice(reversed(held), _LOOKED_AT):
            outer = self._kind(other)
            if outer == kind:
                self._wants_alike(cpu, other, lock, held)
                return
            inner = before.get(outer)
            if inner is None:
                inner = before[outer] = {}
            if kind not in inner:
                self._learn(cpu, outer, other, kind, lock, inner)

    def _kind(self, lock: LockView) -> str:
        known = self._kinds.get(lock)
        if known is None or known[0] is not lock.name:
            known = self._kinds[lock] = (lock.name, _LEVEL.sub("L* ", kind_of(lock.name)))
        return known[1]

    def _learn(
        self, cpu: CpuView, outer: str, other: LockView, kind: str, lock: LockView, inner: dict[str, str]
    ) -> None:
        if (way := self._way(kind, outer)) is not None:
            here = f"{cpu.current} has {other.name} and wants {lock.name}"
            there = ", ".join(self.before[one][two] for one, two in pairwise(way))
            circle = " -> ".join([outer, *way])
            self._scene.fail(ORDER, f"{here}, but {there} (circle: {circle})", cpu)
        inner[kind] = f"{cpu.current} had {other.name} and wanted {lock.name}"

    def _way(self, start: str, end: str) -> list[str] | None:
        """From *start* to *end* by what was taken while holding what."""
        ways, seen = [[start]], {start}
        while ways:
            way = ways.pop(0)
            for each in self.before.get(way[-1], ()):
                if each == end:
                    return [*way, each]
                if each not in seen:
                    seen.add(each)
                    ways.append([*way, each])
        return None

    def _wants_alike(self, cpu: CpuView, other: LockView, lock: LockView, held: dict[LockView, Mode]) -> None:
        gates = {gate for gate, mode in held.items() if mode == "write" and gate is not other}
        opposite = self._alike.get((lock, other))
        if opposite is not None and not opposite[1] & gates:
            here = f"{cpu.current} has {other.name} and wants {lock.name}"
            self._scene.fail(ORDER, f"{here}, but {opposite[0]}", cpu)
        seen = self._alike.get((other, lock))
        if seen is None:
            self._alike[other, lock] = f"{cpu.current} had {other.name} and wanted {lock.name}", gates
        else:
            seen[1].intersection_update(gates)
