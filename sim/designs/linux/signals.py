"""Signals, for a bad access or by kill, and handlers (kernel/signal.c, arch/x86/kernel/signal.c; 6.13.7).

    fault     force_sig_fault: send
    kill      find the process, permission, send
    send      |= siglock: queue, W ucounts =|
    delivery  get_signal |= siglock: dequeue, W ucounts =| setup_rt_frame, block |= siglock =|
    return    rt_sigreturn, unblock |= siglock =|

All threads of a process have one sighand_struct: the same lock. What is queued counts against a limit of the
user, whose count is one line for all processes (ucounts; before 5.14 user_struct).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, Kill, Sigaction, Signal

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm

_DELIVERY, _RETURN = 2, 1


def signal(mm: LinuxMm, cpu: Cpu, asked: Signal) -> Steps[None]:
    """Its delivery, or the return from its handler."""
    if asked.returns:
        mm.machine.entry.syscall(cpu, SYSCALL, mm.cost.sigreturn)
        sections = _RETURN
    else:
        if not asked.sent:  # force_sig_fault
            yield from _send(mm, cpu)
        cpu.work(mm.cost.signal, SYSCALL)
        yield from mm.kernel.ucounts.write(cpu, SYSCALL, again=1)  # dec_rlimit_put_ucounts
        sections = _DELIVERY
    for _ in range(sections):
        yield from mm.siglock.acquire(cpu)
        yield from mm.siglock.release(cpu)


def _send(mm: LinuxMm, cpu: Cpu) -> Steps[None]:
    """send_signal_locked: queue it, and count it."""
    yield from mm.siglock.acquire(cpu)
    cpu.work(mm.kernel.dentries.cost.send_signal, SYSCALL)
    yield from mm.kernel.ucounts.write(cpu, SYSCALL, again=1)  # inc_rlimit_get_ucounts
    yield from mm.siglock.release(cpu)


def kill(mm: LinuxMm, cpu: Cpu, asked: Kill) -> Steps[None]:
    """kill_something_info of the caller's own process."""
    mm.machine.entry.syscall(cpu, SYSCALL, mm.kernel.dentries.cost.kill)
    if asked.deliver:
        yield from _send(mm, cpu)


def sigaction(mm: LinuxMm, cpu: Cpu, asked: Sigaction) -> Steps[None]:
    """do_sigaction."""
    mm.machine.entry.syscall(cpu, SYSCALL, mm.kernel.dentries.cost.sigaction)
    yield from mm.siglock.acquire(cpu)
    yield from mm.siglock.release(cpu)
