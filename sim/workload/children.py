"""Children that run beside the thread that has forked them, and waiting for them.

    parent   fork |==== goes on ====| wait4: asleep ....... |
    child         |~ wake-up ~|==== its steps ====| exit, do_notify_parent
                              ^ on a cpu that nothing else runs on, or in turn on its parent's

A new task goes to an idle cpu (select_task_rq_fair with SD_BALANCE_FORK): here to the nearest of those that
no thread of the workload has, and to the parent's own if all of them are taken. It stays there.

Source: Linux 6.13, kernel/fork.c (kernel_clone), kernel/exit.c (do_wait, exit_notify), kernel/sched/core.c
(wake_up_new_task). Left out: tasklist_lock and the lock of wait_chldexit. What the parent frees of the child
(release_task) is in the cost of exit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.mm import SYSCALL, Exec, Exit, Fork, SwitchMm, Vfork
from sim.sync import SCHED, Scheduler, Sleeper, SwitchCosts
from sim.workload.thread import Child, Event, Worker

if TYPE_CHECKING:
    from sim.designs import Kernel
    from sim.hardware import Cpu, Machine
    from sim.sync import RunQueues
    from sim.workload.processes import Processes
    from sim.workload.step_spec import ForkStep

WAIT: Final = Activity("wait: child")

Body = Callable[[Worker], Steps[object]]


class Children:
    """All children of a run. *free* are the cpus that no thread of the workload has."""

    def __init__(
        self,
        machine: Machine,
        kernel: Kernel,
        processes: Processes,
        scheduler: Scheduler,
        free: Sequence[Cpu],
    ) -> None:
        self._machine = machine
        self._kernel = kernel
        self._processes = processes
        self._scheduler = scheduler
        self._free = list(free)
        self._taken: set[Cpu] = set()
        self._send = SwitchCosts(machine).send
        self._queues: RunQueues | None = None

    def queue_on(self, queues: RunQueues) -> None:
        """The threads are about to start, on *queues*; the free cpus idle."""
        self._queues = queues
        for cpu in self._free:
            queues.spawn(cpu, _nothing, f"idle {cpu}")

    def load(self, cpu: Cpu, process: object) -> Steps[None]:
        """*cpu* runs *process* from now on: a child, or one of the workload's by its number."""
        if isinstance(process, Child):
            yield from self._kernel.perform(cpu, SwitchMm(process.space))
        elif isinstance(process, int):
            self._processes.loaded[cpu] = process
            yield from self._kernel.perform(cpu, SwitchMm(self._processes.spaces[process]))

    def fork(self, parent: Worker, body: Body, what: ForkStep) -> Steps[None]:
        """*parent* forks a child that does *body*, beside it or when it gives its cpu away, and goes on.

        With `vfork` it sleeps first, until the child has executed its program (wait_for_vfork_done).
        """
        here = parent.cpu
        space = yield from parent.perform(Vfork() if what.vfork else Fork())
        cpu = here if what.wait else self._choose(here)
        if cpu is not here:
            self._taken.add(cpu)
        worker = parent.forked(cpu, space, keeps_ranges=not what.exec)
        child = Child(worker)
        parent.children.append(child)
        here.work(self._send, SCHED)  # wake_up_new_task
        assert self._queues is not None
        self._queues.fork(cpu, here, lambda _: self._life(child, body, what.exec), worker.title, child)
        if what.vfork:
            yield from self._await(here, child.executes, f"the program of {worker.title}")

    def wait(self, parent: Worker, *, newest: bool = False, everybody: bool = False) -> Steps[None]:
        """wait4 for the oldest child of *parent*, the *newest*, or *everybody*."""
        while parent.children:
            cpu, child = parent.cpu, parent.children.pop(-1 if newest else 0)
            self._machine.entry.syscall(cpu, SYSCALL)
            yield from self._await(cpu, child.ends, f"the end of {child.worker.title}")
            if not everybody:
                break

    def _await(self, cpu: Cpu, event: Event, reason: str) -> Steps[None]:
        if cpu.pending:
            yield cpu.take_pending()
        if not event.over:
            event.awaited = Sleeper(cpu, reason)
            yield from self._scheduler.sleep(cpu, event.awaited, WAIT)

    def _happens(self, cpu: Cpu, event: Event) -> Steps[None]:
        if cpu.pending:
            yield cpu.take_pending()
        event.over = True
        if event.awaited is not None:
            self._scheduler.wake(cpu, event.awaited)

    def _choose(self, here: Cpu) -> Cpu:
        """The nearest cpu that nothing runs on, *here* if there is none."""
        idle = [cpu for cpu in self._free if cpu not in self._taken]
        between = self._machine.fabric.between
        return min(idle, key=lambda cpu: (between(here.id, cpu.id), cpu.id), default=here)

    def _life(self, child: Child, body: Body, exec_first: bool) -> Steps[None]:
        worker = child.worker
        cpu = worker.cpu
        if exec_first:
            worker.space = yield from worker.perform(Exec())
            yield from self._happens(cpu, child.executes)
        yield from body(worker)
        yield from worker.perform(Exit())
        self._taken.discard(cpu)
        yield from self._happens(cpu, child.ends)


def _nothing(cpu: Cpu) -> Steps[None]:
    """A cpu on which nothing runs."""
    return
    yield
