"""How the pages of a process are counted: mm->rss_stat (include/linux/mm.h and mm/memory.c).

    split   until 6.1: each task counts its faults' pages for itself and adds them to mm's counters with every
            65th fault, and before it adds the pages of a table that it has zapped
    percpu  since 6.2: a percpu_counter for each kind of page

Kinds are anonymous pages and those of files. What others see of a process's size is the shared part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from sim.designs.linux.percpu_counter import PercpuCounter, default_batch
from sim.engine import Steps
from sim.hardware import CacheLine, Cpu
from sim.mm import PAGE_TABLE

if TYPE_CHECKING:
    from sim.designs.linux.spec import LinuxSpec
    from sim.hardware import Machine, Task
    from sim.sync import QueueNodes


class RssStat(ABC):
    """*line* has the shared counts."""

    __slots__ = ("line",)

    def __init__(self, line: CacheLine) -> None:
        self.line = line

    @abstractmethod
    def fault_begins(self, cpu: Cpu) -> Steps[None]:
        """handle_mm_fault."""

    @abstractmethod
    def count(self, cpu: Cpu, anon: int, files: int) -> Steps[None]:
        """inc_mm_counter and dec_mm_counter, by a fault of the process's own thread."""

    @abstractmethod
    def add_vec(self, cpu: Cpu, anon: int, files: int) -> Steps[None]:
        """add_mm_rss_vec: the pages of one table, which was zapped or copied."""

    @property
    @abstractmethod
    def shared(self) -> int:
        """get_mm_rss: all pages, as far as they have been added to the shared counts."""

    @abstractmethod
    def add_at_once(self, anon: int, files: int) -> None:
        """Before anything is measured, in no time."""


class PercpuRss(RssStat):
    """One percpu_counter a kind. Where a cpu's part is stands on a line that nobody writes (6.13.7)."""

    __slots__ = ("_anon", "_files")

    def __init__(self, machine: Machine, nodes: QueueNodes, line: CacheLine) -> None:
        super().__init__(line)
        self._anon, self._files = (
            PercpuCounter(machine, nodes, name, line, default_batch(machine))
            for name in ("rss_stat[MM_ANONPAGES]", "rss_stat[MM_SHMEMPAGES]")
        )

    def fault_begins(self, cpu: Cpu) -> Steps[None]:
        return
        yield

    def count(self, cpu: Cpu, anon: int, files: int) -> Steps[None]:
        if anon:
            yield from self._anon.add(cpu, anon)
        if files:
            yield from self._files.add(cpu, files)

    def add_vec(self, cpu: Cpu, anon: int, files: int) -> Steps[None]:
        return self.count(cpu, anon, files)

    @property
    def shared(self) -> int:
        return max(0, self._anon.count) + max(0, self._files.count)

    def add_at_once(self, anon: int, files: int) -> None:
        self._anon.add_at_once(anon)
        self._files.add_at_once(files)


class SplitRss(RssStat):
    """Atomic counters, and what each task has not added yet (SPLIT_RSS_COUNTING); read in 5.12."""

    __slots__ = ("_events", "_of", "_sums", "_thresh")

    def __init__(self, line: CacheLine, thresh: int) -> None:
        super().__init__(line)
        self._thresh = thresh
        self._of: dict[Task, list[int]] = {}
        self._events: dict[Task, int] = {}
        self._sums = [0, 0]

    def fault_begins(self, cpu: Cpu) -> Steps[None]:
        """check_sync_rss_stat."""
        events = self._events.get(cpu.current, 0)
        self._events[cpu.current] = events + 1
        if events > self._thresh:
            yield from self._sync(cpu)

    def count(self, cpu: Cpu, anon: int, files: int) -> Steps[None]:
        """add_mm_counter_fast."""
        own = self._of.setdefault(cpu.current, [0, 0])
        own[0] += anon
        own[1] += files
        return
        yield

    def add_vec(self, cpu: Cpu, anon: int, files: int) -> Steps[None]:
        yield from self._sync(cpu)
        yield from self._add(cpu, anon, files)

    def _sync(self, cpu: Cpu) -> Steps[None]:
        """sync_mm_rss."""
        anon, files = self._of.pop(cpu.current, (0, 0))
        self._events[cpu.current] = 0
        yield from self._add(cpu, anon, files)

    def _add(self, cpu: Cpu, *kinds: int) -> Steps[None]:
        """add_mm_counter, for the kinds that have changed."""
        for kind, pages in enumerate(kinds):
            if pages:
                yield from self.line.write(cpu, PAGE_TABLE)
                self._sums[kind] += pages

    @property
    def shared(self) -> int:
        return sum(max(0, pages) for pages in self._sums)

    def add_at_once(self, anon: int, files: int) -> None:
        self._sums[0] += anon
        self._sums[1] += files


def make_rss_stat(machine: Machine, nodes: QueueNodes, spec: LinuxSpec, line: CacheLine) -> RssStat:
    """Of the kernel's version."""
    if spec.switches.rss_stat == "percpu":
        return PercpuRss(machine, nodes, line)
    return SplitRss(line, spec.limits.rss_events)
