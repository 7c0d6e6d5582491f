"""The processes of a run: their address spaces, who runs in which, and which one each cpu has loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.mm import Fork, SwitchMm
from sim.workload.layout import Slots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.designs import Kernel
    from sim.hardware import Cpu, Machine
    from sim.mm import AddressSpace
    from sim.workload.plan import WorkloadPlan
    from sim.workload.thread import Worker


def homes(plan: WorkloadPlan, roles: Sequence[int]) -> list[int]:
    """The process that each thread belongs to, where *roles* has the number of each thread's role.

    Processes that threads have for their own come after those that the plan counts.
    """
    found, following = [], plan.numbered
    for number in roles:
        process = plan.parts[number].role.process
        if process == "own":
            process, following = following, following + 1
        found.append(process)
    return found


def members(plan: WorkloadPlan, home: Sequence[int]) -> list[list[int]]:
    """The threads with slots in each process: those that belong to it, or all where threads go round."""
    count = max(plan.numbered, max(home) + 1)
    if plan.visits:
        return [list(range(len(home)))] * count
    found: list[list[int]] = [[] for _ in range(count)]
    for thread, process in enumerate(home):
        found[process].append(thread)
    return found


class Processes:
    """All processes of one kernel. *workers* are the threads, *home* says to which process each belongs."""

    def __init__(
        self,
        machine: Machine,
        kernel: Kernel,
        plan: WorkloadPlan,
        workers: Sequence[Worker],
        home: Sequence[int],
    ) -> None:
        self._kernel = kernel
        self._cpus = machine.cpus
        self._home = home
        self.members = members(plan, home)
        self.set_up_by = [threads[0] if threads and not plan.visits else 0 for threads in self.members]
        space = kernel.space
        forks = plan.forked and space is not None and Fork in space.operations
        self.program = kernel.new_process(workers[self.set_up_by[0]].cpu) if forks else None
        """The process that all others are forked from, where the plan says so and the kernel can."""
        self.spaces: list[AddressSpace] = [
            self.program or kernel.new_process(workers[first].cpu) for first in self.set_up_by
        ]
        random = machine.engine.stream("layout")
        self._slots = (
            [Slots(plan, len(threads), random) if threads else None for threads in self.members]
            if plan.layout
            else None
        )
        self.loaded: dict[Cpu, int] = {}
        seen: dict[Cpu, set[int]] = {}
        for worker, process in zip(workers, home, strict=True):
            seen.setdefault(worker.cpu, set()).add(process)
        for process, first in enumerate(self.set_up_by):
            seen[workers[first].cpu].add(process)
        self._switch = plan.visits or any(len(processes) > 1 for processes in seen.values())

    @property
    def switching(self) -> bool:
        """Whether some cpu runs several processes, so that the kernel has to switch between them."""
        return self._switch

    def enter(self, worker: Worker, process: int) -> None:
        """The steps of *worker* work in *process* from now on."""
        worker.process = process
        worker.space = self.spaces[process]
        threads = self.members[process]
        if self._slots is not None and worker.number in threads:
            slots = self._slots[process]
            assert slots is not None
            worker.slots, worker.index = slots, threads.index(worker.number)

    def enter_to_set_up(self, worker: Worker, process: int) -> None:
        """The same for the thread that sets *process* up, which need not have slots in it."""
        self.enter(worker, process)
        if self._slots is not None and (slots := self._slots[process]) is not None:
            worker.slots = slots

    def fork(self, worker: Worker, process: int) -> Steps[None]:
        """The program becomes *process*, too, on the cpu of *worker*; it has bound itself there before."""
        assert self.program is not None
        self.program.activate(worker.cpu)
        worker.space = self.program
        self.spaces[process] = yield from worker.perform(Fork())
        self.spaces[process].activate(worker.cpu)

    def load(self, cpu: Cpu, process: int) -> Steps[None]:
        """*cpu* runs *process* from now on."""
        self.loaded[cpu] = process
        if self._switch:
            yield from self._kernel.perform(cpu, SwitchMm(self.spaces[process]))
        else:
            self.spaces[process].activate(cpu)

    def next(self, worker: Worker) -> Steps[None]:
        """*worker* goes on in the next process, after the last one in the first."""
        process = (worker.process + 1) % len(self.spaces)
        self.enter(worker, process)
        yield from self.load(worker.cpu, process)

    def by_cpus(self) -> dict[AddressSpace, list[Cpu]]:
        """All address spaces, each with the cpus that have it loaded."""
        found: dict[AddressSpace, list[Cpu]] = {} if self.program is None else {self.program: []}
        for number, space in enumerate(self.spaces):
            found[space] = [cpu for cpu in self._cpus if self.loaded.get(cpu) == number]
        return found
