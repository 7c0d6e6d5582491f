"""Lines that tell those who listen, and one that never travels; `make_line` chooses."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from sim.engine import Activity, Steps
from sim.hardware.line import LINE, MEMORY, CacheLine

if TYPE_CHECKING:
    from sim.engine.probe import LockView
    from sim.hardware.cpu import Cpu
    from sim.hardware.fabric import Fabric


class HeardLine(CacheLine):
    """A line that tells the probe of each transfer."""

    __slots__ = ()

    def _take(self, cpu: int) -> int:
        source = self._farthest(cpu)
        cost = super()._take(cpu)
        fabric = self.fabric
        fabric.engine.probe.line_transfer(self, cpu, source, fabric.distance(cpu, source), cost, True)
        return cost

    def _share(self, cpu: int, *, queued: bool = False, waits: int = 0) -> tuple[int, int]:
        source = self._nearest(cpu)
        latency, occupancy = super()._share(cpu, queued=queued, waits=waits)
        fabric = self.fabric
        fabric.engine.probe.line_transfer(self, cpu, source, fabric.distance(cpu, source), latency, False)
        return latency, occupancy

    def prefetch_write(self, cpu: Cpu) -> Steps[None]:
        yield from super().prefetch_write(cpu)
        self.fabric.engine.probe.line_prefetched(self, cpu)

    def _farthest(self, cpu: int) -> int:
        """Who gives the line to *cpu* for good: its owner, or the farthest of those who have a copy."""
        sharers = self.sharers
        others = sharers & ~self.fabric.core_mask[cpu]
        if not others:
            return cpu if sharers >> cpu & 1 else _first(sharers) if sharers else self.owner
        near = self.fabric.socket_mask[cpu], self.fabric.cluster_mask[cpu]
        return _first(next((others & ~mask for mask in near if others & ~mask), others))

    def _nearest(self, cpu: int) -> int:
        """Who gives *cpu* a copy: the owner, or the nearest of those who have one."""
        sharers = self.sharers
        if not sharers or sharers >> cpu & 1:
            return cpu if sharers else self.owner
        fabric = self.fabric
        near = fabric.core_mask[cpu], fabric.cluster_mask[cpu], fabric.socket_mask[cpu]
        return _first(next((sharers & mask for mask in near if sharers & mask), sharers))


class WatchedLine(HeardLine):
    """A line that tells the probe of each access as well, those that find the line here included."""

    __slots__ = ()

    def write(self, cpu: Cpu, activity: Activity = LINE, *, again: int = 0) -> Steps[None]:
        return self._told(cpu, True, super().write(cpu, activity, again=again))

    def write_again(self, cpu: Cpu, activity: Activity) -> None:
        probe = cpu.probe
        probe.line_access(self, cpu, True)
        super().write_again(cpu, activity)
        probe.line_accessed(self, cpu, 0)

    def store(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        return self._told(cpu, True, super().store(cpu, activity))

    def read(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        return self._told(cpu, False, super().read(cpu, activity))

    def came_along(self, cpu: Cpu, activity: Activity, *, write: bool) -> bool:
        probe = cpu.probe
        probe.line_access(self, cpu, write)
        came = super().came_along(cpu, activity, write=write)
        probe.line_accessed(self, cpu, 0)
        return came

    def prefetch_write(self, cpu: Cpu) -> Steps[None]:
        return self._told(cpu, True, super().prefetch_write(cpu))

    def serialize(self, cpu: Cpu, activity: Activity) -> Steps[None]:
        return self._told(cpu, True, super().serialize(cpu, activity))

    def take_at_once(self, cpu: Cpu, at: int) -> int | None:
        cpu.probe.line_access(self, cpu, True)
        cost = super().take_at_once(cpu, at)
        cpu.probe.line_accessed(self, cpu, cost or 0)
        return cost

    def take_between(self, cpu: Cpu, at: int) -> int:
        cpu.probe.line_access(self, cpu, True)
        cost = super().take_between(cpu, at)
        cpu.probe.line_accessed(self, cpu, cost)
        return cost

    def read_in_handler(self, cpu: Cpu) -> int:
        cpu.probe.line_access(self, cpu, False)
        cost = super().read_in_handler(cpu)
        cpu.probe.line_accessed(self, cpu, cost)
        return cost

    def _told(self, cpu: Cpu, write: bool, steps: Steps[None]) -> Steps[None]:
        """*steps* of *cpu*, with their begin and end."""
        cpu.probe.line_access(self, cpu, write)
        yield from steps
        cpu.probe.line_accessed(self, cpu, 0)


class EntryLine(WatchedLine):
    """A line with entries of a page *table*, from *slot* on, that tells the probe of each access to them."""

    __slots__ = ("slot", "table")

    def __init__(self, fabric: Fabric, name: str, home: int, owner: int, table: object, slot: int) -> None:
        super().__init__(fabric, name, home, owner=owner)
        self.table = table
        self.slot = slot

    def write(self, cpu: Cpu, activity: Activity = LINE, *, again: int = 0) -> Steps[None]:
        cpu.probe.entry_access(self.table, self.slot, cpu, True)
        return super().write(cpu, activity, again=again)

    def store(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        cpu.probe.entry_access(self.table, self.slot, cpu, True)
        return super().store(cpu, activity)

    def swap(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        cpu.probe.entry_swapped(self.table, self.slot, cpu)
        return super().write(cpu, activity)

    def read(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        steps = super().read(cpu, activity)
        return steps if activity.name == "user" else self._looked(cpu, steps)

    def _looked(self, cpu: Cpu, steps: Steps[None]) -> Steps[None]:
        """A look at them is told when it is over: what was seen is of that moment."""
        yield from steps
        cpu.probe.entry_access(self.table, self.slot, cpu, False)

    def take_at_once(self, cpu: Cpu, at: int) -> int | None:
        cpu.probe.entry_access(self.table, self.slot, cpu, True)
        return super().take_at_once(cpu, at)

    def take_between(self, cpu: Cpu, at: int) -> int:
        cpu.probe.entry_access(self.table, self.slot, cpu, True)
        return super().take_between(cpu, at)


class GuardedLine(WatchedLine):
    """A line that is written under *lock*, and tells the probe of each write."""

    __slots__ = ("lock",)

    def __init__(self, fabric: Fabric, name: str, home: int, owner: int, lock: LockView) -> None:
        super().__init__(fabric, name, home, owner=owner)
        self.lock = lock

    def write(self, cpu: Cpu, activity: Activity = LINE, *, again: int = 0) -> Steps[None]:
        cpu.probe.guarded_write(self, self.lock, cpu)
        return super().write(cpu, activity, again=again)

    def store(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        cpu.probe.guarded_write(self, self.lock, cpu)
        return super().store(cpu, activity)


class LineHere(CacheLine):
    """A line that is in every cache at once, for the question what would be if it did not travel.

    A load is a hit, an atomic access one in the own cache, and nobody waits for anybody. Who spins on it
    still looks again when somebody writes.
    """

    __slots__ = ()

    def write(self, cpu: Cpu, activity: Activity = LINE, *, again: int = 0) -> Steps[None]:
        if cpu.pending:
            yield cpu.take_pending()
        cost = (1 + again) * self.fabric.rmw
        cpu.pay(cost, activity)
        if self._watchers:
            self._disturb(cpu, cost)

    def write_again(self, cpu: Cpu, activity: Activity) -> None:
        cpu.stall(self.fabric.rmw, activity)

    def store(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        if cpu.pending:
            yield cpu.take_pending()
        cpu.pay(self.fabric.hit, activity)
        if self._watchers:
            self._disturb(cpu, self.fabric.hit)

    def read(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        if cpu.pending:
            yield cpu.take_pending()
        cpu.pay(self.fabric.hit, activity)

    def came_along(self, cpu: Cpu, activity: Activity, *, write: bool) -> bool:
        cpu.stall(self.fabric.hit, activity)
        if write and self._watchers:
            self._disturb(cpu, self.fabric.hit)
        return True

    def held_by(self, cpu: Cpu) -> bool:
        return True

    def exclusive_to(self, cpu: Cpu) -> bool:
        return True

    def prefetch_write(self, cpu: Cpu) -> Steps[None]:
        return
        yield

    def serialize(self, cpu: Cpu, activity: Activity) -> Steps[None]:
        return
        yield

    def take_at_once(self, cpu: Cpu, at: int) -> int | None:
        return self.fabric.rmw

    def take_between(self, cpu: Cpu, at: int) -> int:
        return self.fabric.rmw

    def read_in_handler(self, cpu: Cpu) -> int:
        return self.fabric.hit

    def turn_of_handler(self, had_it: int) -> bool:
        return True

    def fetch_back(self, cpu: Cpu) -> None:
        pass


def make_line(fabric: Fabric, name: str, home: int, *, owner: int = MEMORY, lines: int = 1) -> CacheLine:
    """A line, or *lines* that move together: one that tells of its transfers, or accesses, where somebody
    listens, and one that has none where the run is without them."""
    kind = WatchedLine if fabric.heard_accesses else HeardLine if fabric.heard else CacheLine
    if fabric.here and ("*" in fabric.here or any(fnmatchcase(name, pattern) for pattern in fabric.here)):
        kind = LineHere
    return kind(fabric, name, home, owner=owner, lines=lines)


def _first(cpus: int) -> int:
    """The lowest number in a bit set."""
    return (cpus & -cpus).bit_length() - 1
