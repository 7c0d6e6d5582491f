"""One shootdown from begin to end: a call by IPI on other cpus, with the times of each target.

    sender    call |== queue, send ==|= own part =|.... waits ....|= reads the answers =|
    target                    arrives |- cannot yet -| begins |== handler ==| done

A run has thousands of them, each on hundreds of cpus. One is kept: the longest, or the one that began nearest
to a given time. What a target was at is what the timeline has open on it; work that nobody else can see is
told ahead of the clock, so that is right up to a piece of such work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sim.engine.probe import Probe
from sim.hardware.interrupts import IPI_SEND, IPI_WAIT

if TYPE_CHECKING:
    from sim.engine import Engine
    from sim.engine.probe import CallView, CpuView
    from sim.timeline.recorder import Timeline
    from sim.timeline.spans import Frame

NOTHING_OPEN: Final = "own code"
"""What a thread is at that asks the kernel for nothing."""
_FOREVER: Final = 1 << 62


@dataclass(slots=True)
class Part:
    """What one target had of a call (ps); *own*: an interrupt was sent to it, not one that was coming anyway.

    *arrived* is None where no interrupt was told; it may have been on its way before the call began.
    """

    cpu: CpuView
    own: bool = False
    arrived: int | None = None
    begins: int | None = None
    ends: int | None = None
    was_at: str = ""


@dataclass(slots=True)
class Shootdown:
    """A call of *sender* from *began* to *ended* (ps), in *operation* with *locks* held.

    *pages* are flushed (0: all of an address space; None: the call is for something else). *spent* is what
    the sender's time went to, by activity, and *waited* what of that it waited for answers.
    """

    sender: CpuView
    began: int
    operation: str
    locks: tuple[str, ...]
    pages: int | None
    parts: dict[int, Part]
    ended: int = 0
    sent: int = 0
    """When it had asked the last one."""
    waits: tuple[int, int] | None = None
    """From when to when it waited for answers."""
    waited: int = 0
    spent: dict[str, int] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return self.ended - self.began

    @property
    def whole(self) -> bool:
        """Whether all have answered, and the sender has been told."""
        return self.ended > 0 and all(part.ends is not None for part in self.parts.values())

    @property
    def last(self) -> Part:
        """The target that was done last."""
        return max(self.parts.values(), key=lambda part: (part.ends or 0, -part.cpu.id))


class Shootdowns(Probe):
    """Keeps one of those that a run's measured part has; *timeline* listens to the same run, before it.

    *near* None: the longest; else the one whose begin (ps since the measured part began) is nearest. Of
    equals the first. Only calls are looked at that begin between *begin* and *end* (None: whenever).
    """

    def __init__(
        self, timeline: Timeline, near: int | None = None, begin: int = 0, end: int | None = None
    ) -> None:
        self._timeline = timeline
        self._near = near
        self._begin = begin
        self._end = _FOREVER if end is None else end
        self.found: Shootdown | None = None
        self.zero = 0
        """What times count from: the begin of the measured part (engine's ps)."""
        self.seen = 0
        """So many were looked at, to their ends."""

    def attach(self, engine: Engine) -> None:
        self._engine = engine
        self._calls: dict[CallView, Shootdown] = {}
        self._sends: dict[int, tuple[CallView, Shootdown, defaultdict[str, int]]] = {}
        self._flushing: dict[int, int] = {}  # pages that a sender is about to flush
        self._arrived: dict[int, int] = {}
        self._entering: dict[int, list[Part]] = {}
        self._wait_over: int | None = None

    # -- the sender -----------------------------------------------------------------------------------------

    def flush(self, cpu: CpuView, pages: int) -> None:
        self._flushing[cpu.id] = pages

    def ipi_call(self, call: CallView) -> None:
        sender = call.sender
        self._settle(sender)
        pages = self._flushing.pop(sender.id, None)
        zero = self._timeline.zero
        if zero is None or not call.targets or not self._begin <= sender.now - zero < self._end:
            return
        self.zero = zero
        frames = self._timeline.frames(sender)
        operation = next((frame.name for frame in frames if frame.category == "operation"), NOTHING_OPEN)
        locks = tuple(_lock(frame) for frame in frames if frame.category == "lock hold")
        parts = {target.id: Part(target) for target in call.targets}
        found = Shootdown(sender, sender.now, operation, locks, pages, parts)
        self._calls[call] = found
        self._sends[sender.id] = call, found, defaultdict(int)

    def ipi_send(self, sender: CpuView, targets: Sequence[CpuView]) -> None:
        if sender.id in self._sends:
            _, found, _ = self._sends[sender.id]
            for target in targets:
                found.parts[target.id].own = True

    def wait_over(self, cpu: CpuView) -> None:
        self._wait_over = cpu.id

    def charge(self, cpu: CpuView, activity: str, cost: int) -> None:
        waited, self._wait_over = self._wait_over == cpu.id, None
        if cpu.id not in self._sends:
            return
        _, found, spent = self._sends[cpu.id]
        spent[activity] += cost
        if activity == IPI_SEND.name:
            found.sent = cpu.now
        elif activity == IPI_WAIT.name:
            if waited:
                found.waits = (cpu.now - cpu.pending - cost, cpu.now - cpu.pending)
                found.waited += cost
            found.ended = cpu.now
            found.spent = dict(spent)

    def operation_ends(self, cpu: CpuView, operation: object) -> None:
        self._flushing.pop(cpu.id, None)
        self._settle(cpu)

    def run_ends(self) -> None:
        for call, _, _ in list(self._sends.values()):
            self._settle(call.sender)

    def _settle(self, sender: CpuView) -> None:
        """The last call of *sender* is over."""
        if sender.id not in self._sends:
            return
        call, found, _ = self._sends.pop(sender.id)
        self._calls.pop(call)
        if not found.whole:
            return
        self.seen += 1
        if self.found is None or self._rank(found) < self._rank(self.found):
            self.found = found

    def _rank(self, found: Shootdown) -> tuple[int, int]:
        if self._near is None:
            return -found.length, found.began
        return abs(found.began - self.zero - self._near), found.began

    # -- the targets ----------------------------------------------------------------------------------------

    def ipi_arrive(self, cpu: CpuView) -> None:
        self._arrived.setdefault(cpu.id, self._engine._now)

    def ipi_handle(self, cpu: CpuView, calls: Sequence[CallView]) -> None:
        arrived = self._arrived.pop(cpu.id, None)
        mine = [self._calls[call].parts[cpu.id] for call in calls if call in self._calls]
        was_at = self._was_at(cpu) if mine else ""
        for part in mine:
            part.arrived, part.begins, part.was_at = arrived, self._engine._now, was_at
        self._entering[cpu.id] = mine

    def interrupt(self, cpu: CpuView, begins: int, length: int) -> None:
        for part in self._entering.pop(cpu.id, ()):
            part.begins = begins

    def ipi_ack(self, cpu: CpuView, call: CallView, at: int) -> None:
        if call in self._calls:
            self._calls[call].parts[cpu.id].ends = at

    def _was_at(self, cpu: CpuView) -> str:
        frames = self._timeline.frames(cpu)
        words = [frame.name for frame in frames if frame.category in ("operation", "lock wait")]
        if cpu.in_kernel_wait:
            words.append("asleep")
        return ", ".join(words) or NOTHING_OPEN


def _lock(frame: Frame) -> str:
    """The lock that is held, and how, if others may have it as well."""
    name, mode = frame.name.removeprefix("holds "), str(frame.notes["mode"])
    return name if mode == "write" else f"{name} ({mode})"
