"""The small machine of `sim.verify`, with a tally of what happens on it, and its costs as numbers.

2 sockets x 2 clusters x 4 cores: cpus 0-3 | 4-7 are clusters of socket 0, 8-11 | 12-15 of socket 1
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sim.engine import Engine, Probe, Schedule, ScheduleName, listen
from sim.hardware import Machine, MachineSpec
from sim.verify.machines import RWSEM, Body, raw_spec, run, start

if TYPE_CHECKING:
    from sim.engine.probe import CallView, CpuView, LockView

__all__ = ["RWSEM", "Body", "raw_spec", "run", "start"]

NS = 1_000
"""Picoseconds."""
MS = 1_000_000 * NS

HIT, RMW = 1 * NS, 2 * NS
SAME_CLUSTER, CROSS_CLUSTER, CROSS_SOCKET = 30 * NS, 100 * NS, 200 * NS
LOCAL, REMOTE = 80 * NS, 140 * NS
SHARED_READ, ADJACENT = 10 * NS, 5 * NS
SIBLING = 3 * NS
"""On machines with the changes `SIBLINGS`."""

SIBLINGS: dict[str, Any] = {
    "topology": {"threads_per_core": 2, "smt_slowdown": 1.5},
    "coherence": {"sibling": "3 ns"},
}
"""Two threads a core: cpu 16 is the sibling of cpu 0."""


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
