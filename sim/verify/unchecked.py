"""The same programs with all checks disabled: what a mutant then does, nobody notices.

Only the model itself can still fail: it deadlocks, goes round in circles, or meets what it cannot go on with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sim.check import Watch
from sim.engine import Probe, Steps
from sim.engine.probe import CpuView
from sim.hardware import Cpu
from sim.mm import Exec, Exit, Fork, SegmentationFault, Vfork
from sim.verify.checking import Counts, Run, check
from sim.verify.contents import Contents
from sim.verify.locks import LOCKS, Inside, check_turns
from sim.verify.model import Process as Model
from sim.verify.process import Process
from sim.verify.programs import Program
from sim.verify.resting import Side


def run_unchecked(program: Program, listeners: Sequence[Probe] = ()) -> Counts:
    """Run *program* and look at nothing. Raises only what the model raises."""
    if program.kind in LOCKS:
        return check_turns(program, listeners, _Crowd)
    return check(program, listeners, _Unchecked)


class _Crowd(Inside):
    """Anybody may be inside."""

    def enter(self, cpu: Cpu, write: bool) -> None:
        self.entries.append((cpu.id, write))

    def leave(self, cpu: Cpu, write: bool) -> None:
        """Nobody cares."""


class _Blind(Watch):
    """Sees nothing."""

    def frame_allocated(self, cpu: CpuView, frame: int, order: int) -> None:
        """Nothing."""

    frame_freed = frame_allocated

    def range_locked(self, space: object, cpu: CpuView, start: int, end: int) -> None:
        """Nothing."""

    range_unlocked = range_locked


class _Unknown(Contents):
    """All frames are believed to hold anything."""

    def read(self, frame: int) -> int:
        return 0

    def write(self, frame: int, version: int) -> None:
        """Nothing is kept."""

    def frame_filled(self, cpu: CpuView, frame: int, source: int | None) -> None:
        """Nothing is kept."""

    def page_in(self, cpu: CpuView, frame: int, slot: int) -> None:
        """Nothing is kept."""

    page_out = page_in


class _Trusting(Process):
    watch_kind: ClassVar[type[Watch]] = _Blind

    def verify(self) -> None:
        """Nothing."""


class _Unchecked(Run):
    process_kind: ClassVar[type[Process]] = _Trusting
    contents_kind: ClassVar[type[Contents]] = _Unknown

    def rules_of_protocols(self) -> Sequence[Probe]:
        return ()

    def run(self) -> None:
        for threads in self.program.rounds:
            self._round([list(operations) for operations in threads])

    def _perform(self, cpu: Cpu, asked: Any) -> Steps[None]:
        side = self._side(cpu)
        if isinstance(asked, Fork | Vfork | Exec | Exit):
            yield from self._live(cpu, side, asked)
            return
        yield from self._performer(cpu, asked).perform(cpu, asked)

    _race = _perform

    def _live(self, cpu: Cpu, side: Side, asked: Fork | Vfork | Exec | Exit) -> Steps[None]:
        told = yield from side.space.perform(cpu, asked)
        if isinstance(asked, Fork):
            self._begin(told, Model(self.rules))
            self.process.spaces.append(told)
            self.born.append(told)
        elif isinstance(asked, Vfork):
            fresh = yield from told.perform(cpu, Exec())
            self.process.loads(cpu, fresh)
            self._begin(fresh, Model(self.rules))
            yield from self.process.load(cpu, side.space)
        else:
            self.ended.add(side.space)
            if isinstance(asked, Exec):
                self.process.loads(cpu, told)
                self._begin(told, Model(self.rules))

    def _access(self, cpu: Cpu, page: int, write: bool) -> Steps[None]:
        try:
            yield from self._side(cpu).space.access(cpu, page, write=write)
        except SegmentationFault:
            return

    def at_rest(self) -> None:
        """Nothing."""
