"""How interrupts are addressed: which cpus one write of the interrupt command register (ICR) reaches.

Linux chooses one of four drivers when it boots (arch/x86/kernel/apic/, read in 6.x). x2APIC needs firmware
that hands it over or does not forbid it; without it an APIC id has 8 bits.

    flat               xAPIC, up to 8 cpus   apic_flat_64.c flat_send_IPI_mask: one write, a bit for each cpu
    physical flat      xAPIC, more cpus      ipi.c default_send_IPI_mask_sequence_phys: target by target, wait
                                             until the register is idle, write its two halves
    cluster x2apic     x2APIC                x2apic_cluster.c: one write for the cpus of a cluster, 16 ids
    physical x2apic    x2APIC, if firmware   x2apic_phys.c: one write for each target
                       (FADT) or the user
                       wants it

All write with interrupts off (local_irq_save around the loop), so that the sender takes nobody's interrupt
until it has sent its own. A guest may ask its hypervisor instead (`paravirtual`), with a bitmap of APIC ids.

If everybody but the sender is to be interrupted, one write does it in any mode (the shorthand "all but self",
ipi.c native_send_call_func_ipi, since 5.4); a single target never is "everybody" (kernel/smp.c
smp_call_function_many_cond calls send_call_function_single_ipi).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from sim.hardware.spec import FLAT_CPUS, MachineSpec

if TYPE_CHECKING:
    from sim.hardware.cpu import Cpu

_IDS_OF_A_WRITE: Final = {"flat": FLAT_CPUS, "physical flat": 1, "cluster x2apic": 16, "physical x2apic": 1}


class Addressing:
    """Deals targets out to writes."""

    __slots__ = ("_everybody_else", "_group_of")

    def __init__(self, spec: MachineSpec, cpus: Sequence[Cpu]) -> None:
        interrupts, topology = spec.interrupts, spec.topology
        if interrupts.mode == "flat":
            self._group_of = [0] * len(cpus)
        else:
            ids = interrupts.targets_per_icr or _IDS_OF_A_WRITE[interrupts.mode]
            self._group_of = [topology.apic_id(cpu.number) // ids for cpu in cpus]
        # Cpus that a run leaves out are online on the machine, and nobody asks them.
        self._everybody_else = spec.cpus - 1 if len(cpus) == spec.cpus else None

    def writes(self, targets: Sequence[Cpu], *, shorthand: bool) -> Iterable[Sequence[Cpu]]:
        """The cpus of *targets* that each write reaches, in the order of the first of them."""
        if shorthand and len(targets) == self._everybody_else and len(targets) > 1:
            return (targets,)
        groups: dict[int, list[Cpu]] = {}
        for target in targets:
            groups.setdefault(self._group_of[target.id], []).append(target)
        return groups.values()
