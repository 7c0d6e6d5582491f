"""A small machine with round costs, and a way to run threads on it.

2 sockets x 2 clusters x 4 cores: cpus 0-3 | 4-7 are clusters of socket 0, 8-11 | 12-15 of socket 1
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sim.engine import Engine, Probe, Schedule, ScheduleName, Steps, listen
from sim.hardware import Cpu, Machine, MachineSpec

if TYPE_CHECKING:
    from sim.engine.probe import CallView, CpuView, LockView

NS = 1_000
"""Picoseconds."""
MS = 1_000_000 * NS

HIT, RMW = 1 * NS, 2 * NS
SAME_CLUSTER, CROSS_CLUSTER, CROSS_SOCKET = 30 * NS, 100 * NS, 200 * NS
LOCAL, REMOTE = 80 * NS, 140 * NS
SHARED_READ, ADJACENT = 10 * NS, 5 * NS
SIBLING = 3 * NS
"""On machines with the changes `SIBLINGS`."""

Body = Callable[[Cpu], Steps[None]]

SIBLINGS: dict[str, Any] = {
    "topology": {"threads_per_core": 2, "smt_slowdown": 1.5},
    "coherence": {"sibling": "3 ns"},
}
"""Two threads a core: cpu 16 is the sibling of cpu 0."""

RWSEM = {
    "spin_on_readers": "10 us",
    "spin_per_reader": "500 ns",
    "spin_readers_max": 30,
    "handoff_after": "4 ms",
    "batch": 256,
}
"""Linux's constants, as files give them."""

_SMALL: dict[str, Any] = {
    "name": "small",
    "title": "a machine for tests",
    "clock": "1 GHz",
    "guest": False,
    "topology": {"sockets": 2, "clusters_per_socket": 2, "cores_per_cluster": 4, "numa_nodes": 2},
    "coherence": {
        "hit": "1 ns",
        "rmw": "2 ns",
        "same_cluster": "30 ns",
        "cross_cluster": "100 ns",
        "cross_socket": "200 ns",
        "home_aware": False,
        "spread": 0.0,
        "shared_read": "10 ns",
        "adjacent_line": "5 ns",
        "order": {"rule": "fifo"},
    },
    "memory": {
        "size_per_socket": "1 GiB",
        "local": "80 ns",
        "remote": "140 ns",
        "socket_bandwidth": "40.96 GB/s",  # 100 ns a page
        "cluster_read": "10.24 GB/s",  # 400 ns a page
        "cluster_write": "5.12 GB/s",  # 800 ns a page
        "llc": "16 pages",
        "clear_page": "200 ns",
        "copy_page": "300 cycles",
    },
    "tlb": {"entries": 8, "walk": "10 ns", "invalidate_page": "40 ns", "flush": "90 ns", "flush_ceiling": 33},
    "interrupts": {
        "send": "50 ns",
        "icr_write": "100 ns",
        "mode": "paravirtual",
        "targets_per_icr": 4,
        "deliver_same_socket": "300 ns",
        "deliver_cross_socket": "500 ns",
        "handler": "400 ns",
        "ack_overlap": 0.5,
    },
    "kernel": {
        "syscall": "50 ns",
        "exception": "100 ns",
        "context_switch": "1 us",
        "wake_idle": "2 us",
        "wake_halted": "20 us",
        "halt_after": "100 us",
        "wake_spread": 0.0,
        "wake_send": "500 ns",
        "poll": "300 ns",
        "create_thread": "10 us",
        "timestamp": "10 ns",
    },
}


class Tally(Probe):
    """How often things happened that tests ask for; interrupts by cpu."""

    def __init__(self) -> None:
        self.interrupts: Counter[int] = Counter()
        self.calls = self.ipis = self.flushes = self.broadcasts = 0
        self.switches = self.kept = self.sleeps = self.revocations = 0

    def interrupt(self, cpu: CpuView, begins: int, length: int) -> None:
        self.interrupts[cpu.id] += 1

    def ipi_call(self, call: CallView) -> None:
        self.calls += len(call.targets)

    def ipi_send(self, sender: CpuView, targets: Sequence[CpuView]) -> None:
        self.ipis += len(targets)

    def flush(self, cpu: CpuView, pages: int) -> None:
        self.flushes += 1

    def tlb_broadcast(self, cpu: CpuView, pages: int) -> None:
        self.broadcasts += 1

    def address_space_switch(self, cpu: CpuView, kept: bool) -> None:
        self.switches += 1
        self.kept += kept

    def sleep(self, cpu: CpuView, reason: str) -> None:
        self.sleeps += 1

    def bias_revoked(self, lock: LockView, cpu: CpuView) -> None:
        self.revocations += 1


class SmallMachine(Machine):
    """A machine that counts on *tally*."""

    def __init__(
        self, engine: Engine, spec: MachineSpec, online: int | None, order: Sequence[int] | None, tally: Tally
    ) -> None:
        super().__init__(engine, spec, online, order)
        self.tally = tally


def raw_spec(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The small machine as a file would say it, with *changes* merged in."""
    return _merged(_SMALL, changes or {})


def small_machine(
    changes: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    ties: Schedule | ScheduleName = "fifo",
    online: int | None = None,
    order: Sequence[int] | None = None,
    listeners: Sequence[Probe] = (),
) -> SmallMachine:
    """A fresh machine on a fresh engine."""
    tally = Tally()
    probe = listen(tally, *listeners)
    engine = Engine(seed=seed, schedule=ties, max_events=10_000_000, max_time_ps=1000 * MS, probe=probe)
    return SmallMachine(engine, MachineSpec.model_validate(raw_spec(changes)), online, order, tally)


def with_order(rule: str, streak: int = 1) -> dict[str, Any]:
    """The change that gives lines the order *rule*."""
    return {"coherence": {"order": {"rule": rule, "streak": streak}}}


def start(cpu: Cpu, body: Body) -> None:
    """Open *cpu*'s account and pin a thread to it that runs *body*."""

    def whole_life() -> Steps[None]:
        yield from body(cpu)
        if cpu.pending:
            yield cpu.take_pending()
        cpu.leave()

    cpu.open_account()
    cpu.thread = cpu.engine.process(whole_life(), f"thread {cpu.id}")


def run(machine: Machine, bodies: Mapping[int, Body]) -> None:
    """Run each body on its cpu until all have ended, then hold every account against the clock."""
    for number, body in bodies.items():
        start(machine.cpus[number], body)
    machine.engine.run()
    for number in bodies:
        machine.cpus[number].close_account()


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        result[key] = _merged(base.get(key, {}), value) if isinstance(value, Mapping) else value
    return result
