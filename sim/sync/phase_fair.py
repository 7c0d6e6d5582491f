"""Phase-fair queue lock: reader phases and writer phases take turns.

Readers count themselves in and out with two counters, `rin` and `rout`; two low bits of each say that a
writer is present and which phase it is. Writers queue on an MCS lock. Counters, bits and the queue's tail
share one line (in CortenMM with the rest of the page's metadata), so each step is an exclusive access to it:

    reader   rin += 1 |.. while the phase it met is on ..|  reads  | rout += 1 (the last one tells the writer)
    writer   MCS swap | rin |= bits | rout |= bits |.. until the earlier readers are out ..|  writes  |
             rin ^= bits | rout ^= bits | MCS pass on

Invariants: a writer excludes everybody; a reader waits for at most one writer phase, because the next writer
counts it among the readers it has to wait for; writers are served in the order of their swaps.

Sources: Brandenburg and Anderson, "Spin-based reader-writer synchronization for multiprocessor real-time
systems" (2010), PF-Q; CortenMM artifact, cortenmm-rw, ostd/src/mm/page_table. Readers spin on `rin` itself.
"""

from __future__ import annotations

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu
from sim.sync.lock import Lock, releases, takes
from sim.sync.nodes import QueueNodes
from sim.sync.spin import McsLock, spin_on


class PhaseFairLock(Lock):
    """A reader-writer spin lock on one line. *readers* and *writer* are the holders."""

    __slots__ = (
        "_drained",
        "_entered",
        "_left",
        "_nodes",
        "_phase",
        "_spinning",
        "_to_drain",
        "_writer_present",
        "_writers",
        "line",
        "readers",
        "writer",
    )

    def __init__(self, nodes: QueueNodes, line: CacheLine, activity: Activity) -> None:
        super().__init__(line.name, activity)
        self.line = line
        self.readers = 0
        self.writer: Cpu | None = None
        self._nodes = nodes
        self._writers = McsLock(nodes, line, activity, name="")
        self._entered = 0
        self._left = 0
        self._writer_present = False
        self._phase = 0
        self._spinning: list[Cpu] = []
        self._to_drain = 0  # counts only grow: an old target is never met again
        self._drained = False

    def describe_wait(self) -> str:
        holder = f"written by {self.writer}" if self.writer else f"{self.readers} readers"
        return f"{self.line.name} ({holder})"

    def counted(self) -> int:
        return self.readers

    # -- readers --------------------------------------------------------------------------------------------

    def read_lock(self, cpu: Cpu) -> Steps[None]:
        steps = self._read_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "read", steps)

    def _read_lock(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.write(cpu, self.activity)  # rin += 1
        self._entered += 1
        if self._writer_present:
            phase = self._phase
            self._spinning.append(cpu)
            yield from spin_on(self.line, cpu, self, lambda: self._phase == phase)
        self.readers += 1

    def read_unlock(self, cpu: Cpu) -> Steps[None]:
        steps = self._read_unlock(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "read", steps)

    def _read_unlock(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.write(cpu, self.activity)  # rout += 1
        self._left += 1
        self.readers -= 1
        if self._left == self._to_drain:
            writer = self._writers.holder
            assert writer is not None
            yield from self._nodes.lines[writer.id].write(cpu, self.activity)
            self._drained = True
            writer.poke(self, cpu.pending)

    # -- writers --------------------------------------------------------------------------------------------

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        steps = self._write_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _write_lock(self, cpu: Cpu) -> Steps[None]:
        yield from self._writers.acquire(cpu)
        yield from self.line.write(cpu, self.activity)  # rin |= present and phase: readers wait from here on
        self._writer_present = True
        earlier = self._entered
        yield from self.line.write(cpu, self.activity)  # rout |= present and phase: the last reader will tell
        if self._left != earlier:
            self._to_drain = earlier
            yield from spin_on(self._nodes.lines[cpu.id], cpu, self, lambda: not self._drained)
            self._drained = False
        self.writer = cpu

    def write_unlock(self, cpu: Cpu) -> Steps[None]:
        steps = self._write_unlock(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _write_unlock(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.write(cpu, self.activity)  # rin ^= bits: the readers that wait are in
        self.writer = None
        self._writer_present = False
        self._phase += 1
        waiting, self._spinning = self._spinning, []
        for reader in waiting:
            reader.poke(self, cpu.pending)
        yield from self.line.write(cpu, self.activity)  # rout ^= bits
        yield from self._writers.release(cpu)
