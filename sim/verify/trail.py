"""What happened last before a run went wrong, and what each cpu was about."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from sim.engine import Probe
from sim.engine.probe import CallView, CpuView, LockView, Mode
from sim.mm import Operation
from sim.quantities import format_duration
from sim.verify.written import to_plain

LENGTH = 14
"""Events that are kept."""


class Trail(Probe):
    """The last events in words, and the operations that have begun and not ended, by cpu."""

    def __init__(self, length: int = LENGTH) -> None:
        self.events: deque[str] = deque(maxlen=length)
        self.doing: dict[int, Operation] = {}

    def _tell(self, cpu: CpuView, what: str) -> None:
        self.events.append(f"{format_duration(cpu.now):>12}  cpu {cpu.id}: {what}")

    def operation_begins(self, cpu: CpuView, operation: object) -> None:
        assert isinstance(operation, Operation)
        self.doing[cpu.id] = operation
        self._tell(cpu, f"begins {said(operation)}")

    def operation_ends(self, cpu: CpuView, operation: object) -> None:
        assert isinstance(operation, Operation)
        self.doing.pop(cpu.id, None)
        self._tell(cpu, f"ends {operation.name}")

    def lock_acquired(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        self._tell(cpu, f"has {lock.name} ({mode})")

    def lock_release(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        self._tell(cpu, f"releases {lock.name} ({mode})")

    def lock_downgraded(self, lock: LockView, cpu: CpuView) -> None:
        self._tell(cpu, f"downgrades {lock.name}")

    def range_locked(self, space: object, cpu: CpuView, start: int, end: int) -> None:
        self._tell(cpu, f"locks pages {start:#x} to {end - 1:#x}")

    def range_unlocked(self, space: object, cpu: CpuView, start: int, end: int) -> None:
        self._tell(cpu, f"unlocks pages {start:#x} to {end - 1:#x}")

    def frame_allocated(self, cpu: CpuView, frame: int, order: int) -> None:
        self._tell(cpu, f"takes {_frames(frame, order)}")

    def frame_freed(self, cpu: CpuView, frame: int, order: int) -> None:
        self._tell(cpu, f"frees {_frames(frame, order)}")

    def frame_filled(self, cpu: CpuView, frame: int, source: int | None) -> None:
        self._tell(cpu, f"zeroes frame {frame}" if source is None else f"copies frame {source} to {frame}")

    def ipi_call(self, call: CallView) -> None:
        targets = ", ".join(str(target.id) for target in call.targets)
        self._tell(call.sender, f"interrupts cpus {targets}")

    def flush(self, cpu: CpuView, pages: int) -> None:
        self._tell(cpu, f"flushes {pages or 'all'} pages")

    def tlb_flush(self, cpu: CpuView, pages: int, remote: bool) -> None:
        self._tell(
            cpu, f"drops {pages or 'all'} pages from its TLB" + (", for another cpu" if remote else "")
        )


def _frames(frame: int, order: int) -> str:
    return f"frames {frame} to {frame + (1 << order) - 1}" if order else f"frame {frame}"


def said(operation: object) -> str:
    """*operation* in a line; pages in hex, as messages have them."""
    try:
        ((name, values),) = to_plain(operation).items()
    except TypeError:  # one of the kernel's own
        return getattr(operation, "name", str(operation))
    plain = int, str, Sequence, dict, type(None)
    about = ", ".join(f"{key} {_shown(its)}" for key, its in values.items() if isinstance(its, plain))
    return f"{name} ({about})" if about else str(name)


def _shown(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(_shown(each) for each in value)
    return hex(value) if type(value) is int and value > 1 << 12 else str(value)
