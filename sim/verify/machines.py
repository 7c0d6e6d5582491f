"""A small machine with round costs, and a way to run threads on it.

2 sockets x 2 clusters x 4 cores: cpus 0-3 | 4-7 are clusters of socket 0, 8-11 | 12-15 of socket 1
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sim.engine import Engine, Probe, Schedule, ScheduleName, Steps, listen
from sim.hardware import Cpu, Machine, MachineSpec

Body = Callable[[Cpu], Steps[None]]

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
    "title": "a small machine with round costs",
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


def raw_spec(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The small machine as a file would say it, with *changes* merged in."""
    return merged(_SMALL, changes or {})


def small_machine(
    changes: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    ties: Schedule | ScheduleName = "fifo",
    online: int | None = None,
    order: Sequence[int] | None = None,
    listeners: Sequence[Probe] = (),
    max_events: int = 10_000_000,
) -> Machine:
    """A fresh machine on a fresh engine."""
    engine = Engine(seed=seed, schedule=ties, max_events=max_events, probe=listen(*listeners))
    return Machine(engine, MachineSpec.model_validate(raw_spec(changes)), online, order)


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


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """*base* with *changes*, key by key."""
    result = dict(base)
    for key, value in changes.items():
        result[key] = merged(base.get(key, {}), value) if isinstance(value, Mapping) else value
    return result
