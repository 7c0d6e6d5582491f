"""A signal for a bad access, and its handler (kernel/signal.c, arch/x86/kernel/signal.c; recalled for 6.13).

    delivery  force_sig_fault |= siglock =| get_signal |= siglock =| setup_rt_frame, block |= siglock =|
    return    rt_sigreturn, unblock |= siglock =|

All threads of a process have one sighand_struct: the same lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, Signal

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm

_DELIVERY, _RETURN = 3, 1


def signal(mm: LinuxMm, cpu: Cpu, asked: Signal) -> Steps[None]:
    """Its delivery, or the return from its handler."""
    if asked.returns:
        mm.machine.entry.syscall(cpu, SYSCALL, mm.cost.sigreturn)
    else:
        cpu.work(mm.cost.signal, SYSCALL)
    for _ in range(_RETURN if asked.returns else _DELIVERY):
        yield from mm.siglock.acquire(cpu)
        yield from mm.siglock.release(cpu)
