"""Whether a workload can run on a machine and under a design: what neither file can tell alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.errors import Fault
from sim.mm import FIRST_TOUCH
from sim.mm.policy import Bind
from sim.workload.bench import BenchSpec
from sim.workload.bench.spec import needs, nodes_named

if TYPE_CHECKING:
    from sim.designs.base import DesignSpec, Offer
    from sim.hardware import MachineSpec, Topology
    from sim.mm import MemoryPolicy
    from sim.workload.pinning import Pinning
    from sim.workload.spec import WorkloadSpec


def misfit(
    machine: MachineSpec, workload: WorkloadSpec | BenchSpec, placement: str, threads: int
) -> Fault | None:
    """Why *threads* threads of *workload* cannot run on *machine*; the fault's key is the workload's."""
    if isinstance(workload, BenchSpec):
        fault = _nodes(workload, machine)
        pinning, memory = workload.pinning, workload.memory
    else:
        fault = None
        plan = workload.plan(placement)
        pinning, memory = plan.pinning, plan.memory
    return fault or _pinning(pinning, machine, threads) or _memory(memory, machine)


def lacking(design: DesignSpec, workload: WorkloadSpec | BenchSpec) -> str | None:
    """What *workload* needs and *design* does not offer, as a sentence."""
    asked: set[Offer] = needs(workload) if isinstance(workload, BenchSpec) else {"processes"}
    missing = sorted(asked - design.offers)
    if not missing:
        return None
    return f"{design.name} offers no {', no '.join(missing)}, which the workload {workload.name} needs"


def _pinning(pinning: Pinning, machine: MachineSpec, threads: int) -> Fault | None:
    if isinstance(pinning, str):
        return None
    beyond = [cpu for cpu in pinning if cpu >= machine.cpus]
    if beyond:
        message = f"{machine.name} has no such cpu"
        return Fault(message, key="pinning", value=beyond[0], allowed=f"0 to {machine.cpus - 1}")
    if len(pinning) < threads:
        message = f"{len(pinning)} cpus are listed for {threads} threads"
        shown = list(pinning)
        return Fault(message, key="pinning", value=shown, allowed=f"at least {threads} different cpu numbers")
    return None


def _memory(memory: MemoryPolicy, machine: MachineSpec) -> Fault | None:
    nodes = machine.topology.numa_nodes
    if memory == FIRST_TOUCH:
        return None
    if nodes == 1:
        return Fault(
            f"the kernel sees one NUMA node on {machine.name} and cannot choose",
            key="memory",
            value=f"bind {memory.bind}" if isinstance(memory, Bind) else memory,
            allowed=FIRST_TOUCH,
        )
    if isinstance(memory, Bind) and memory.bind >= nodes:
        message = f"{machine.name} has no such NUMA node"
        return Fault(message, key="memory", value=memory.bind, allowed=f"0 to {nodes - 1}")
    return None


def _nodes(bench: BenchSpec, machine: MachineSpec) -> Fault | None:
    topology: Topology = machine.topology
    for node in nodes_named(bench):
        if node == "remote" and topology.sockets == 1:
            message = f"a step works on remote memory, but {machine.name} has one socket"
            return Fault(message, key="roles", value=node, allowed="local, or the number of a node")
        if not isinstance(node, str) and node >= topology.nodes:
            message = f"a step works on a NUMA node that {machine.name} does not have"
            return Fault(message, key="roles", value=node, allowed=f"0 to {topology.nodes - 1}")
    return None
