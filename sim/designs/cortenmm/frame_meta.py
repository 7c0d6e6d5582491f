"""The metadata slots of frames that cpus share: the line with the reference count (ostd, mm/frame/meta.rs).

Who maps, unmaps or looks up a page clones or drops a reference, an atomic operation on that line. A frame
that one cpu has for itself has its line there, and what it costs is in the steps. Which those of the others
are is kept here: of one cpu its number only, from a second one on the line.
"""

from __future__ import annotations

from typing import Final

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Machine

FRAME_META: Final = Activity("frame metadata")


class FrameMeta:
    """Lines by frame. What is not here one cpu has used at most."""

    __slots__ = ("_lines", "_machine", "_rmw")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._rmw = machine.fabric.rmw
        self._lines: dict[int, int | CacheLine] = {}

    def write(self, cpu: Cpu, frame: int, socket: int) -> Steps[None]:
        """One atomic operation on the slot of *frame*, which lies on *socket*."""
        user = self._lines.setdefault(frame, cpu.id)
        if user == cpu.id:
            cpu.work(self._rmw, FRAME_META)
            return
        yield from self._line(frame, user, socket).write(cpu, FRAME_META)

    def write_at_once(self, cpu: Cpu, frame: int) -> None:
        """The same of a frame that others may have, in code that lets nobody come between."""
        user = self._lines.get(frame)
        if isinstance(user, CacheLine):
            cpu.stall(user.take_between(cpu, cpu.engine._now), FRAME_META)

    def forget(self, frame: int) -> None:
        """*frame* is free."""
        self._lines.pop(frame, None)

    def forget_run(self, frames: range) -> None:
        """All of *frames* are."""
        if self._lines:
            for frame in self._lines.keys() & set(frames):
                del self._lines[frame]

    def _line(self, frame: int, user: int | CacheLine, socket: int) -> CacheLine:
        if isinstance(user, CacheLine):
            return user
        line = self._machine.line(f"metadata of frame {frame}", socket, owner=user)
        self._lines[frame] = line
        return line
