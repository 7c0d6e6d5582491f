"""How sockets, nodes, clusters, cores and their siblings are counted, and what a file may say of them."""

from __future__ import annotations

from typing import Literal, NamedTuple, Self

from pydantic import Field, PositiveInt, model_validator

from sim.errors import RuleError
from sim.quantities import Spec

Numbering = Literal["siblings-last", "siblings-adjacent"]


class Seat(NamedTuple):
    """Where a cpu sits: its number on the machine, and its core, cluster, node and socket, each counted over
    the machine."""

    number: int
    core: int
    cluster: int
    node: int
    socket: int


class Topology(Spec):
    """Sockets hold clusters, clusters cores; cpus are numbered in that order.

    A cluster is the cores at the nearest distance from each other: those that share an L3, or a die of a
    socket whose L3 lies on several.

    Where a core has several threads, `numbering` says which numbers they have; a sibling shares its core's
    cluster. Two sockets of two cores of two threads:

        siblings-last        socket 0: 0,4 1,5    socket 1: 2,6 3,7     servers under Linux
        siblings-adjacent    socket 0: 0,1 2,3    socket 1: 4,5 6,7     hybrid and some client processors

    Memory belongs to nodes. The kernel sees `numa_nodes` of them: one a socket, several (AMD's NPS2 and NPS4,
    Intel's SNC), or, in a guest without a virtual NUMA topology, fewer than there are sockets. Then the
    machine under the guest has one a socket all the same.
    """

    sockets: PositiveInt
    """Processor packages."""
    clusters_per_socket: PositiveInt
    """Groups of cores that are nearest to each other: those that share an L3, or one die of a socket."""
    cores_per_cluster: PositiveInt
    """Cores of one cluster."""
    numa_nodes: PositiveInt
    """Nodes that the kernel sees; a guest without a virtual NUMA topology sees one."""
    threads_per_core: PositiveInt = 1
    """Hardware threads (siblings) of a core: 1 without SMT."""
    smt_slowdown: float | None = Field(default=None, ge=1)
    """How many times longer a thread's own work takes while its sibling works too; 1 is not at all. Each
    further sibling adds as much again. Needed where `threads_per_core` is more than 1."""
    smt_spin_share: float = Field(default=0, ge=0, le=1)
    """What a sibling that spins (a loop of load, test and PAUSE) counts for beside one that works: 0 if it
    slows nobody down, 1 if as much as work."""
    interleaved: bool = False
    """The firmware numbers cores across sockets: neighbours in number sit on different sockets."""
    numbering: Numbering = "siblings-last"
    """Which numbers the threads of a core have (Linux: thread_siblings_list). `siblings-last`: the first
    threads of all cores come first, then the second ones. `siblings-adjacent`: those of a core stand side by
    side. Without SMT it is all the same."""
    cores_per_socket: PositiveInt | None = None
    """What the source says of a socket, held against the clusters."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        clusters, size, said = self.clusters_per_socket, self.cores_per_cluster, self.cores_per_socket
        cores = clusters * size
        if said is not None and said != cores:
            fitting = {"cores_per_socket": str(cores)}
            for key, other in (("cores_per_cluster", clusters), ("clusters_per_socket", size)):
                fitting[key] = str(said // other) if said % other == 0 else f"a divisor of {said}"
            raise RuleError(
                f"the clusters of a socket hold {clusters} x {size} = {cores} cores, not {said}", fitting
            )
        if not self._shares_out(self.numa_nodes):
            fair = [str(nodes) for nodes in range(1, self.cores + 1) if self._shares_out(nodes)]
            raise RuleError(
                f"{self.sockets} x {clusters} x {size} cores cannot be shared out evenly to NUMA nodes",
                {"numa_nodes": ", ".join(fair)},
            )
        return self

    def _shares_out(self, nodes: int) -> bool:
        """Whether *nodes* get whole sockets each, or whole clusters of one, or a part of one cluster."""
        parts, rest = divmod(nodes, self.sockets)
        if rest or not parts:
            return self.sockets % nodes == 0
        clusters = self.clusters_per_socket
        return clusters % parts == 0 or (
            parts % clusters == 0 and clusters * self.cores_per_cluster % parts == 0
        )

    @model_validator(mode="after")
    def _siblings_have_a_price(self) -> Self:
        if self.threads_per_core > 1 and self.smt_slowdown is None:
            raise RuleError(
                "smt_slowdown is needed where threads_per_core is more than 1",
                {"smt_slowdown": "a number from 1", "threads_per_core": "1"},
            )
        return self

    @property
    def cores(self) -> int:
        return self.sockets * self.clusters_per_socket * self.cores_per_cluster

    @property
    def cpus(self) -> int:
        return self.cores * self.threads_per_core

    @property
    def nodes_per_socket(self) -> int:
        return max(1, self.numa_nodes // self.sockets)

    @property
    def nodes(self) -> int:
        """Nodes that the hardware has; a guest's kernel may see fewer."""
        return self.sockets * self.nodes_per_socket

    def core_of(self, cpu: int) -> int:
        """The core of *cpu*, counted socket by socket."""
        adjacent = self.numbering == "siblings-adjacent"
        core = cpu // self.threads_per_core if adjacent else cpu % self.cores
        if self.interleaved:
            core = core % self.sockets * (self.cores // self.sockets) + core // self.sockets
        return core

    def thread_of(self, cpu: int) -> int:
        """Which of its core's threads *cpu* is: 0 for the first one."""
        if self.numbering == "siblings-adjacent":
            return cpu % self.threads_per_core
        return cpu // self.cores

    def cluster_of(self, cpu: int) -> int:
        """The cluster of *cpu*, counted over the machine."""
        return self.core_of(cpu) // self.cores_per_cluster

    def node_of(self, cpu: int) -> int:
        """The node of *cpu* in the hardware: those of a socket share its cores evenly."""
        return self.core_of(cpu) * self.nodes // self.cores

    def socket_of(self, cpu: int) -> int:
        return self.cluster_of(cpu) // self.clusters_per_socket

    def seat(self, cpu: int) -> Seat:
        """Where *cpu* sits."""
        return Seat(cpu, self.core_of(cpu), self.cluster_of(cpu), self.node_of(cpu), self.socket_of(cpu))

    def socket_of_node(self, node: int) -> int:
        return node // self.nodes_per_socket

    def visible_node(self, node: int) -> int:
        """What the kernel takes the hardware's *node* for."""
        return node * self.numa_nodes // self.nodes

    def apic_id(self, cpu: int) -> int:
        """The number that interrupts use: socket, cluster, core, thread, each in a bit field of its own."""
        cluster, core = divmod(self.core_of(cpu), self.cores_per_cluster)
        socket, cluster = divmod(cluster, self.clusters_per_socket)
        number = socket
        for part, parts in (
            (cluster, self.clusters_per_socket),
            (core, self.cores_per_cluster),
            (self.thread_of(cpu), self.threads_per_core),
        ):
            number = number << (parts - 1).bit_length() | part
        return number
