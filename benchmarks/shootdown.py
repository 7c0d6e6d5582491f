"""One operation, three simulators: take a lock, interrupt N targets, wait for all of them, release.

    initiator   lock |== SEND a target ==|.......... waits for the acks ..........| release
    target                     DELIVER  >|== HANDLER ==| ack

Four cpus do nothing else, so that the lock is always wanted. The model does what it does for Linux: an
`McsLock`, and a `SynchronousFlush` of one page through the interrupt controller, with the cache lines of
the lock's queue, of the calls and of their queues. Lines, TLBs and the writes of the interrupt register
cost nothing here, because the others have none. What is left are the three constants, and each operation
has to take equally long in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import cache, partial
from typing import Any, Final, TypeAlias

import salabim
import simpy

from benchmarks import threads
from benchmarks.options import Options
from benchmarks.table import Row
from benchmarks.timing import Run, cpu_seconds, in_turns, ratio
from sim.engine import Engine
from sim.files import from_mapping, load_spec
from sim.hardware import Machine, MachineSpec
from sim.mm import SynchronousFlush, Ways

TITLE: Final = "Lock and shootdown, by targets"
TARGETS: Final = (64, 384)
INITIATORS: Final = 4
SEND, DELIVER, HANDLER = 50_000, 600_000, 800_000

Latencies: TypeAlias = list[int]
"""Of each operation, from the request of the lock to its release (ps), in the order of their ends."""

_NOTHING: Final = {
    "coherence": [
        "hit", "rmw", "same_cluster", "cross_cluster", "cross_socket",
        "spin_turn", "shared_read", "shared_read_inside", "adjacent_line",
    ],
    "memory": ["local", "remote"],
    "interrupts": ["send", "icr_write", "icr_target"],
    "tlb": ["invalidate_page", "flush"],
}  # fmt: skip
"""Costs of the machine that are taken away."""


def on_simpy(targets: int, operations: int) -> tuple[Run, Latencies]:
    def target() -> Generator[simpy.Event, Any, None]:
        yield env.timeout(DELIVER)
        yield env.timeout(HANDLER)

    def initiator() -> Generator[simpy.Event, Any, None]:
        for _ in range(operations // INITIATORS):
            since = env.now
            with lock.request() as request:
                yield request
                yield env.timeout(SEND * targets)
                yield env.all_of([env.process(target()) for _ in range(targets)])
            latencies.append(int(env.now - since))

    env = simpy.Environment(initial_time=0)
    lock = simpy.Resource(env)
    latencies: Latencies = []
    for _ in range(INITIATORS):
        env.process(initiator())
    return env.run, latencies


def on_salabim(targets: int, operations: int, *, made_anew: bool = False) -> tuple[Run, Latencies]:
    """Components are dear to make: those of the targets wait for the next operation, or are *made_anew*."""

    class Target(salabim.Component):
        initiator: Initiator

        def process(self) -> Iterator[object]:
            while True:
                if not made_anew:
                    yield self.passivate()
                yield self.hold(DELIVER)
                yield self.hold(HANDLER)
                self.initiator.left -= 1
                if not self.initiator.left:
                    self.initiator.activate()
                if made_anew:
                    return

    class Initiator(salabim.Component):
        left: int

        def process(self) -> Iterator[object]:
            for _ in range(operations // INITIATORS):
                since = env.now()
                yield self.request(lock)
                yield self.hold(SEND * targets)
                self.left = targets
                for target in [Target(env=env) for _ in range(targets)] if made_anew else waiting:
                    target.initiator = self
                    if not made_anew:
                        target.activate()
                yield self.passivate()
                self.release(lock)
                latencies.append(round(env.now() - since))

    env = salabim.Environment(yieldless=False)  # its faster mode
    lock = salabim.Resource("lock", env=env)
    latencies: Latencies = []
    waiting = [] if made_anew else [Target(env=env) for _ in range(targets)]
    for _ in range(INITIATORS):
        Initiator(env=env)
    return env.run, latencies


@cache
def machine_of(targets: int) -> MachineSpec:
    """One socket with a cpu more than *targets*, on which nothing costs anything but the three constants."""
    changes: dict[str, object] = {
        **{f"machine.{part}.{key}": "0 ns" for part, keys in _NOTHING.items() for key in keys},
        "machine.coherence.spread": 0,
        "machine.topology.sockets": 1,
        "machine.topology.clusters_per_socket": -(-(targets + 1) // 16),
        "machine.topology.numa_nodes": 1,
        "machine.interrupts.deliver_same_socket": f"{DELIVER} ps",
        "machine.interrupts.handler": f"{HANDLER} ps",
    }
    spec = load_spec("machine", "epyc-9965", from_mapping(changes)).spec
    assert isinstance(spec, MachineSpec)
    return spec


def on_cortensim(targets: int, operations: int) -> tuple[Run, Latencies]:
    engine = Engine()
    machine = Machine(engine, machine_of(targets), online=targets + 1)
    lock = threads.lock_of(machine)
    flush = SynchronousFlush(machine, machine.line("generation"), Ways(ask=SEND))
    latencies: Latencies = []
    for cpu in machine.cpus:
        flush.activate(cpu)
        if cpu.id < INITIATORS:
            body = threads.shooting(lock, flush, cpu, operations // INITIATORS, latencies)
        else:
            body = threads.idle(10**15)
        cpu.thread = engine.process(body)
    return engine.run, latencies


OURS: Final = "cortensim: McsLock, SynchronousFlush"
SIMPY: Final = "SimPy: Resource, a process a target, all_of"
SALABIM: Final = "salabim: Resource, a component a target, activated"
ANEW: Final = "salabim: Resource, a component a target, made anew"
CONTESTANTS: Final[dict[str, Callable[[int, int], tuple[Run, Latencies]]]] = {
    OURS: on_cortensim,
    SIMPY: on_simpy,
    SALABIM: on_salabim,
    ANEW: partial(on_salabim, made_anew=True),
}


def simulated(targets: int, operations: int) -> dict[str, Latencies]:
    """What each of them says that the operations take."""
    said = {}
    for name, build in CONTESTANTS.items():
        run, said[name] = build(targets, operations)
        run()
    return said


def measure(options: Options) -> Iterator[Row]:
    taken = {}
    operations = {targets: (2 if options.quick else 6) * 1536 // targets // 4 * 4 for targets in TARGETS}
    for targets in TARGETS:
        said = simulated(targets, operations[targets])
        if len(set(map(tuple, said.values()))) != 1:
            raise AssertionError(f"not the same operation at {targets} targets: {said}")
        contestants = {
            name: partial(lambda build, size: cpu_seconds(build(size, operations[size])[0]), build, targets)
            for name, build in CONTESTANTS.items()
        }
        taken[targets] = in_turns(contestants, options.rounds)
    for name in CONTESTANTS:
        best = {targets: min(seconds[name]) / operations[targets] * 1e6 for targets, seconds in taken.items()}
        yield Row(name, "µs", best)
    for name in (SIMPY, SALABIM, ANEW):
        times = {targets: ratio(seconds[name], seconds[OURS]) for targets, seconds in taken.items()}
        whose = name.replace(": Resource, a component a target", "")
        yield Row(f"cortensim over {whose.partition(':')[0]}", "times", times, digits=2)
