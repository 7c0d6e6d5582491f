"""From the lock that a workload file names to the lock of the model, one maker a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.hardware import CacheLine, Cpu, Machine
from sim.quantities import LINE_BYTES
from sim.sync import (
    BravoLock,
    CnaLock,
    Exclusive,
    GrantingRwSem,
    McsLock,
    Mutex,
    PercpuRwSem,
    PhaseFairLock,
    PthreadMutex,
    QueuedSpinLock,
    QueueNodes,
    Rcu,
    ReaderWriter,
    RwSem,
    Scheduler,
    SeqLock,
    SpinningReadersRwSem,
    TasLock,
    TicketLock,
    VisibleReaders,
    XaddRwSem,
)
from sim.workload import lock_spec
from sim.workload.lock_spec import LockSpec

Use = Callable[[Cpu], Steps[None]]


class NamedLock:
    """A lock as the steps of a workload use it. What its kind does not have is refused with the file."""

    __slots__ = ("lock", "read_begin", "read_lock", "read_retry", "read_unlock", "unlock")

    lock: Use
    unlock: Use
    read_lock: Use
    read_unlock: Use
    read_begin: Callable[[Cpu], Steps[int]]
    read_retry: Callable[[Cpu, int], Steps[bool]]
    """Takes the number that `read_begin` gave."""

    def __init__(self, **uses: Callable[..., Steps[object]]) -> None:
        for name, use in uses.items():
            setattr(self, name, use)


class Workshop:
    """What the locks of one kernel share."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.nodes = QueueNodes(machine, "queue")
        self.scheduler = Scheduler(machine)
        self.scheduler_whose_wakers_wait = Scheduler(machine, wakers_wait=True)
        self._rcu: dict[int, Rcu] = {}
        self._readers: dict[tuple[int, int, int], VisibleReaders] = {}
        self.locks = 0

    def rcu(self, tick: int) -> Rcu:
        """RCU as Linux has it, with timer ticks every *tick* ps."""
        if tick not in self._rcu:
            self._rcu[tick] = Rcu(self.machine, global_list=False, tick=tick)
        return self._rcu[tick]

    def visible_readers(self, slots: int, scan_line: int, inhibit: int) -> VisibleReaders:
        """The table of all BRAVO locks with these options."""
        options = slots, scan_line, inhibit
        if options not in self._readers:
            self._readers[options] = VisibleReaders(
                self.machine, slots=slots, scan_line=scan_line, inhibit=inhibit
            )
        return self._readers[options]


class Site(NamedTuple):
    """Where a lock comes to lie, and what its time is charged to."""

    name: str
    line: CacheLine
    address: int
    activity: Activity


def make_lock(shop: Workshop, name: str, spec: LockSpec, activity: Activity | None = None) -> NamedLock:
    """The lock *name* of a workload. Its time is charged to *activity*, or to the lock by its name."""
    line = shop.machine.line(name, spec.home, owner=0)
    site = Site(name, line, shop.locks * LINE_BYTES, activity or shop.machine.activity(f"lock: {name}"))
    shop.locks += 1
    return _MAKERS[spec.kind](shop, site, spec)


def _exclusive(lock: Exclusive) -> NamedLock:
    return NamedLock(lock=lock.acquire, unlock=lock.release)


def _shared(lock: ReaderWriter) -> NamedLock:
    return NamedLock(
        lock=lock.write_lock,
        unlock=lock.write_unlock,
        read_lock=lock.read_lock,
        read_unlock=lock.read_unlock,
    )


def _ttas(shop: Workshop, site: Site, spec: lock_spec.TtasLock) -> NamedLock:
    return _exclusive(TasLock(site.line, site.activity, at_clock(spec, shop.machine.spec.clock).pause))


def _rwsem(shop: Workshop, site: Site, spec: lock_spec.RwSemLock) -> NamedLock:
    # 40 bytes: unlike mm_struct's, a semaphore on its own has its count and its owner in one line.
    line = site.line
    make = RwSem if spec.kind == "rwsem" else SpinningReadersRwSem
    return _shared(make(site.name, line, line, shop.nodes, shop.scheduler, site.activity, spec.tuning))


def _xadd_rwsem(shop: Workshop, site: Site, spec: lock_spec.XaddRwSemLock) -> NamedLock:
    spinning = spec.owner_spinning
    scheduler = shop.scheduler_whose_wakers_wait if spec.wakers_wait else shop.scheduler
    return _shared(
        XaddRwSem(site.name, site.line, shop.nodes, scheduler, site.activity, owner_spinning=spinning)
    )


def _bravo(shop: Workshop, site: Site, spec: lock_spec.BravoLock) -> NamedLock:
    options = at_clock(spec, shop.machine.spec.clock)
    table = shop.visible_readers(options.slots, options.scan_line, options.inhibit)
    return _shared(BravoLock(table, PhaseFairLock(shop.nodes, site.line, site.activity), site.address))


def _percpu_rwsem(shop: Workshop, site: Site, spec: lock_spec.PercpuRwSemLock) -> NamedLock:
    rcu = shop.rcu(spec.tick)
    return _shared(PercpuRwSem(shop.machine, site.name, rcu, shop.scheduler, site.activity, home=spec.home))


def _seqlock(shop: Workshop, site: Site, spec: lock_spec.PlainLock) -> NamedLock:
    lock = SeqLock(shop.nodes, site.line, site.activity)
    return NamedLock(
        lock=lock.write_lock,
        unlock=lock.write_unlock,
        read_begin=lock.read_begin,
        read_retry=lock.read_retry,
    )


_MAKERS: Mapping[str, Callable[[Workshop, Site, Any], NamedLock]] = {
    "tas": lambda shop, site, spec: _exclusive(TasLock(site.line, site.activity)),
    "ttas": _ttas,
    "ticket": lambda shop, site, spec: _exclusive(TicketLock(site.line, site.activity)),
    "mcs": lambda shop, site, spec: _exclusive(McsLock(shop.nodes, site.line, site.activity)),
    "qspinlock": lambda shop, site, spec: _exclusive(QueuedSpinLock(shop.nodes, site.line, site.activity)),
    "cna": lambda shop, site, spec: _exclusive(
        CnaLock(shop.nodes, site.line, site.activity, spec.threshold, shop.machine.spec.topology)
    ),
    "mutex": lambda shop, site, spec: _exclusive(Mutex(shop.nodes, site.line, shop.scheduler, site.activity)),
    "pthread-mutex": lambda shop, site, spec: _exclusive(
        PthreadMutex(shop.machine, shop.nodes, site.line, shop.scheduler, site.activity)
    ),
    "rwsem": _rwsem,
    "rwsem-spinning-readers": _rwsem,
    "rwsem-xadd": _xadd_rwsem,
    "rwsem-granting": lambda shop, site, spec: _shared(
        GrantingRwSem(site.name, site.line, shop.nodes, shop.scheduler, site.activity)
    ),
    "phase-fair": lambda shop, site, spec: _shared(PhaseFairLock(shop.nodes, site.line, site.activity)),
    "bravo": _bravo,
    "percpu-rwsem": _percpu_rwsem,
    "seqlock": _seqlock,
}
