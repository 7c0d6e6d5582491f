"""Page descriptors that cpus share: the line of `struct page`, and the lock in its flags (6.13).

Reference count, map count and flags lie in the one line of a page's descriptor, so who maps, unmaps, gets,
puts or locks a page needs that line. Pages that one process has for itself have their descriptor where they
are used, and what they cost is in the steps; those that several may use are kept here:

    used by one cpu so far   its number only; of many frames side by side, once for all of them
    by a second one          a cache line

Whether a page is of a file is kept here too (PageAnon): it stays so until it is free, also after its file has
lost it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Machine
from sim.mm import FrameSet, Runs
from sim.sync import Scheduler, Sleeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sim.designs.linux.vma import AnonVma

PAGE_CACHE: Final = Activity("page cache")
LOCK_PAGE: Final = Activity("lock: page")


class Descriptors:
    """*node_of* is the node on which a frame lies that a cpu touches, and its descriptor with it."""

    __slots__ = (
        "_lines",
        "_locked",
        "_machine",
        "_node_of",
        "_rmw",
        "_runs",
        "_scheduler",
        "_waiters",
        "mapping",
        "of_files",
        "referenced",
    )

    def __init__(self, machine: Machine, scheduler: Scheduler, node_of: Callable[[Cpu, int], int]) -> None:
        self._machine = machine
        self._scheduler = scheduler
        self._node_of = node_of
        self._rmw = machine.fabric.rmw
        self._lines: dict[int, int | CacheLine] = {}
        self._runs = Runs()
        self._locked: dict[int, deque[Sleeper]] = {}
        self._waiters: dict[int, list[Sleeper]] = {}
        self.of_files = FrameSet()
        self.mapping: dict[int, tuple[AnonVma, int]] = {}
        """With swap: the anon_vma and the offset of each anonymous page (folio->mapping, folio->index)."""
        self.referenced: set[int] = set()
        """Pages that a scan has found used and spared (PG_referenced)."""

    def __contains__(self, frame: int) -> bool:
        return frame in self._lines or (bool(self._runs) and frame in self._runs)

    def write(self, cpu: Cpu, frame: int, *, times: int = 1, activity: Activity = PAGE_CACHE) -> Steps[None]:
        """So many atomic operations on the descriptor of *frame*, one after the other."""
        if self.write_own(cpu, frame, times=times, activity=activity):
            return
        line = self._lines[frame]
        if isinstance(line, int):
            home = self._machine.spec.topology.socket_of_node(self._node_of(cpu, frame))
            line = self._machine.line(f"struct page of frame {frame}", home, owner=line)
            self._lines[frame] = line
        for _ in range(times):
            yield from line.write(cpu, activity)

    def write_own(self, cpu: Cpu, frame: int, *, times: int, activity: Activity = PAGE_CACHE) -> bool:
        """`write` where no other cpu has used *frame*; value: whether that is so."""
        if self._runs:
            self._lines.update((frame, run.value) for run in self._runs.cut(frame, frame + 1))
        if self._lines.setdefault(frame, cpu.id) != cpu.id:
            return False
        cpu.work(times * self._rmw, activity)
        return True

    def is_own(self, cpu: Cpu, frame: int) -> bool:
        """Whether no other cpu has used the descriptor of *frame*."""
        used_by = self._lines.get(frame)
        if used_by is None and self._runs:
            used_by = self._runs.value(frame)
        return used_by is None or used_by == cpu.id

    def write_run(self, cpu: Cpu, frames: range, *, times: int = 1) -> bool:
        """`write` of each of *frames*, which is work where nobody else has used one; value: whether so."""
        if self._lines and not self._lines.keys().isdisjoint(frames):
            return False
        if any(run.value != cpu.id for run in self._runs.within(frames.start, frames.stop)):
            return False
        self._runs.cut(frames.start, frames.stop)
        self._runs.add(frames.start, frames.stop, cpu.id)
        cpu.stall(len(frames) * cpu.work_time(times * self._rmw), PAGE_CACHE)
        return True

    def put_run(self, cpu: Cpu, frames: range, *, activity: Activity) -> bool:
        """A `write` of each of *frames* that is used, if none is by others than *cpu*; value: whether so."""
        if self._lines and not self._lines.keys().isdisjoint(frames):
            return False
        used = self._runs.within(frames.start, frames.stop) if self._runs else []
        if any(run.value != cpu.id for run in used):
            return False
        cpu.stall(sum(run.end - run.start for run in used) * cpu.work_time(self._rmw), activity)
        return True

    def forget_run(self, frames: range) -> None:
        """`forget` of each of *frames*, which are of no file and have no line."""
        if self._runs:
            self._runs.cut(frames.start, frames.stop)

    def lock(self, cpu: Cpu, frame: int) -> Steps[None]:
        """folio_lock: whoever comes second sleeps; the lock is handed over (folio_wait_bit_common)."""
        yield from self.write(cpu, frame, activity=LOCK_PAGE)
        waiting = self._locked.get(frame)
        if waiting is None:
            self._locked[frame] = deque()
            return
        sleeper = Sleeper(cpu, f"the lock of frame {frame}")
        waiting.append(sleeper)
        yield from self._scheduler.sleep(cpu, sleeper, LOCK_PAGE)

    def try_lock(self, cpu: Cpu, frame: int) -> Steps[bool]:
        """folio_trylock; value: whether it is locked by *cpu* now."""
        yield from self.write(cpu, frame, activity=LOCK_PAGE)
        if frame in self._locked:
            return False
        self._locked[frame] = deque()
        return True

    def unlock(self, cpu: Cpu, frame: int) -> Steps[None]:
        """folio_unlock."""
        yield from self.write(cpu, frame, activity=LOCK_PAGE)
        for sleeper in self._next(frame):
            self._scheduler.wake(cpu, sleeper)

    def unlock_in_interrupt(self, frame: int) -> int:
        """folio_end_read: the device has read it; returns what waking those who wait costs (ps)."""
        return sum(self._scheduler.wake_from_interrupt(sleeper) for sleeper in self._next(frame))

    def wait_unlocked(self, cpu: Cpu, frame: int) -> Steps[None]:
        """folio_wait_locked: sleep until it is unlocked, or handed to the next, and do not lock it."""
        if frame in self._locked:
            sleeper = Sleeper(cpu, f"frame {frame} to be unlocked")
            self._waiters.setdefault(frame, []).append(sleeper)
            yield from self._scheduler.sleep(cpu, sleeper, LOCK_PAGE)

    def _next(self, frame: int) -> list[Sleeper]:
        """The lock is free, or the next one's. Value: who has to know."""
        woken = self._waiters.pop(frame, [])
        if self._locked[frame]:
            woken.append(self._locked[frame].popleft())
        else:
            del self._locked[frame]
        return woken

    def contradictions(self) -> Iterator[str]:
        """Nobody holds a lock."""
        for frame in self._locked:
            yield f"frame {frame} is locked"

    def forget(self, frame: int) -> None:
        """*frame* is free: its descriptor is nobody's."""
        self._lines.pop(frame, None)
        if self._runs:
            self._runs.cut(frame, frame + 1)
        self.of_files.discard(frame)
        self.mapping.pop(frame, None)
        self.referenced.discard(frame)
