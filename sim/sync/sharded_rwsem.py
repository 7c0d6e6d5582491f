"""A rwsem for each cpu that together are one: four modes (interval VM's process lock).

    mode        takes                       lets in beside it
    local R     the caller's shard, R       local R, local W of other cpus, global R
    local W     the caller's shard, W       local R and local W of other cpus
    global R    every shard, R              local R, global R
    global W    every shard, W              nobody

A global mode writes as many lines as the machine has cpus, be they of use to the process or not.

Two that have local modes on different cpus do not exclude each other: they agree by other locks, on the parts
of what this one protects as a whole. Shards are taken in one order. A thread that was moved to another cpu
gives up the shard that it took.

Source: CONFIG_SHARDED_MMAP_LOCK and the lock statistics of kaist-cp/interval-vm at 23c1f4a, and the abstract
and notes of the paper (SOSP 2025). That a shard is as large as a line, and that each logical cpu has one, is
taken for granted.
"""

from __future__ import annotations

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.sync.lock import Lock
from sim.sync.nodes import QueueNodes
from sim.sync.rwsem import RwSem
from sim.sync.rwsem_spec import RwSemTuning
from sim.sync.sleep import Scheduler


class ShardedRwSem(Lock):
    """The shards of lock *name*, made by *maker*. They tell the probe what they do, one by one, and this one
    tells nothing.

    Its own verbs are those of a rwsem, and mean the global modes.
    """

    __slots__ = ("_machine", "_maker", "_nodes", "_scheduler", "_shards", "_tuning")

    def __init__(
        self,
        machine: Machine,
        name: str,
        nodes: QueueNodes,
        scheduler: Scheduler,
        activity: Activity,
        tuning: RwSemTuning,
        maker: Cpu,
    ) -> None:
        super().__init__(name, activity)
        self._maker = maker
        self._machine = machine
        self._nodes = nodes
        self._scheduler = scheduler
        self._tuning = tuning
        self._shards: list[RwSem | None] = [None] * machine.spec.cpus

    @property
    def shards(self) -> list[RwSem]:
        """All of them, in the order in which they are taken."""
        return [self._shard(number) for number in range(len(self._shards))]

    def own(self, cpu: Cpu) -> RwSem:
        """The shard of *cpu*, for the local modes."""
        return self._shard(cpu.id)

    def _shard(self, number: int) -> RwSem:
        """Made when somebody wants it first: most processes never do. It is with its maker, who has zeroed
        it."""
        shard = self._shards[number]
        if shard is None:
            home, name = self._machine.spec.topology.socket_of(number), f"{self.name}[{number}]"
            line = self._machine.line(name, home, owner=self._maker.id)
            shard = RwSem(name, line, line, self._nodes, self._scheduler, self.activity, self._tuning)
            self._shards[number] = shard
        return shard

    # -- the global modes -----------------------------------------------------------------------------------

    def read_lock(self, cpu: Cpu) -> Steps[None]:
        for shard in self.shards:
            yield from shard.read_lock(cpu)

    def read_trylock(self, cpu: Cpu) -> Steps[bool]:
        """Value: whether all shards let readers in at once; if not, none is held."""
        taken: list[RwSem] = []
        for shard in self.shards:
            admitted = yield from shard.read_trylock(cpu)
            if not admitted:
                for each in taken:
                    yield from each.read_unlock(cpu)
                return False
            taken.append(shard)
        return True

    def read_unlock(self, cpu: Cpu) -> Steps[None]:
        for shard in self.shards:
            yield from shard.read_unlock(cpu)

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        for shard in self.shards:
            yield from shard.write_lock(cpu)

    def write_unlock(self, cpu: Cpu) -> Steps[None]:
        for shard in self.shards:
            yield from shard.write_unlock(cpu)

    def write_downgrade(self, cpu: Cpu) -> Steps[None]:
        for shard in self.shards:
            yield from shard.write_downgrade(cpu)
