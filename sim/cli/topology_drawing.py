"""A machine as text: its cpus by socket and cluster, and what the distances between them cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.quantities import Cost, format_duration
from sim.terminal import TextTable, styled

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from sim.hardware import MachineSpec, Topology

_CLUSTERS_A_LINE = 6


def topology_drawing(topology: Topology) -> Text:
    """The cpus of a machine: one line a socket, one bracket a cluster, and how to read it."""
    clusters = topology.clusters_per_socket
    digits = len(str(topology.cpus - 1))
    label = len(f"socket {topology.sockets - 1}")
    lines = []
    for socket in range(topology.sockets):
        first = socket * clusters
        for start in range(first, first + clusters, _CLUSTERS_A_LINE):
            row = range(start, min(start + _CLUSTERS_A_LINE, first + clusters))
            name = f"socket {socket}" if start == first else ""
            brackets = " ".join(f"[{_cpus_of(topology, cluster, digits)}]" for cluster in row)
            lines.append(f"{name:{label}}  {brackets}")
    factors = [
        (topology.sockets, "socket"),
        (clusters, "cluster"),
        (topology.cores_per_cluster, "core"),
        (topology.threads_per_core, "thread"),
    ]
    product = " x ".join(
        _count(number, thing) for number, thing in factors if number > 1 or thing != "thread"
    )
    lines.append(f"{_count(topology.cpus, 'cpu')} = {product}")
    lines.append("[ ] is a cluster: the cores nearest to each other (a CCX, a die or a whole socket)")
    if topology.threads_per_core > 1:
        lines.append("| parts the first threads of its cores from the next ones, in the same order")
    reasons = []
    if topology.threads_per_core > 1 and topology.numbering == "siblings-adjacent":
        reasons.append("the threads of a core are neighbours in number")
    if topology.interleaved:
        reasons.append(f"{'cores that are ' if reasons else ''}neighbours in number sit on different sockets")
    if reasons:
        lines.append(f":n stands for every n-th cpu: {', and '.join(reasons)}")
    nodes = f"the kernel sees {_count(topology.numa_nodes, 'NUMA node')}"
    if topology.numa_nodes < topology.sockets:
        nodes += f", though the memory lies on {topology.sockets} sockets"
    elif topology.numa_nodes > topology.sockets:
        nodes += f", {topology.numa_nodes // topology.sockets} a socket"
    return styled("\n".join([*lines, nodes]))


def distances(spec: MachineSpec) -> Table:
    """What a cache line and memory cost, at the distances that this machine has."""
    topology, coherence, memory = spec.topology, spec.coherence, spec.memory
    clusters, sockets = topology.clusters_per_socket > 1, topology.sockets > 1

    def cost(step: Cost) -> str:
        return format_duration(step.at(spec.clock))

    table = TextTable.grid(padding=(0, 2))
    if topology.threads_per_core > 1:
        sibling = coherence.rmw if coherence.sibling is None else coherence.sibling
        table.add_row("a cache line", "of another thread of the core", cost(sibling))
    first = "" if topology.threads_per_core > 1 else "a cache line"
    table.add_row(first, "of another core of the cluster", cost(coherence.same_cluster))
    if clusters:
        home = f" ({cost(coherence.cross_socket)} if its home is the other socket)"
        aware = coherence.home_aware and sockets
        table.add_row("", "of another cluster", cost(coherence.cross_cluster) + (home if aware else ""))
    if sockets:
        home = f" ({cost(coherence.via_home)} if its home is a third socket)" if coherence.via_home else ""
        queued = f", {coherence.contended:g} times that when several ask" if coherence.contended > 1 else ""
        table.add_row("", "of another socket", cost(coherence.cross_socket) + home + queued)
    table.add_row("memory", "of the socket", format_duration(memory.local))
    if sockets:
        table.add_row("", "of another socket", format_duration(memory.remote))
    return table


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + "s" * (number != 1)


def _cpus_of(topology: Topology, cluster: int, digits: int) -> str:
    """The cpus of a cluster as ranges: `0-13|56-69`; with a step where cores are interleaved (`0-52:4`) or
    siblings adjacent (`0-26:2|1-27:2`)."""
    step = _step(topology)
    cpus = [cpu for cpu in range(topology.cpus) if topology.cluster_of(cpu) == cluster]
    threads = (
        [cpu for cpu in cpus if topology.thread_of(cpu) == thread]
        for thread in range(topology.threads_per_core)
    )
    suffix = f":{step}" if step > 1 else ""
    return "|".join(_range(some, digits) + (suffix if len(some) > 1 else "") for some in threads)


def _step(topology: Topology) -> int:
    """From a cpu to the next first thread of a core of its socket."""
    step = topology.sockets if topology.interleaved else 1
    return step * topology.threads_per_core if topology.numbering == "siblings-adjacent" else step


def _range(cpus: list[int], digits: int) -> str:
    """`0-13`, or `0` alone."""
    first, last = f"{cpus[0]:>{digits}}", f"{cpus[-1]:>{digits}}"
    return first if len(cpus) == 1 else f"{first}-{last}"
