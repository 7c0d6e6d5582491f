"""A machine under one kernel: which of its mitigations are in force."""

from __future__ import annotations

from typing import Any, Final

from sim.hardware.mitigations import in_force, slower_code
from sim.hardware.spec import MachineSpec
from sim.quantities import CycleCost, Release

_KERNEL_CODE: Final = ("before_switch", "context_switch", "create_thread", "wake_in_vain", "wake_send")


def booted(
    spec: MachineSpec,
    release: Release | None,
    *,
    virtual_ipis: bool = False,
    deepest_idle: str | None = None,
) -> MachineSpec:
    """*spec* under a Linux of *release*, which takes the mitigations that it has; None, any other kernel,
    takes all that the machine needs.

    *deepest_idle* names the last idle state that it uses, where the machine has one of that name.
    *virtual_ipis*: where the processor can send interrupts of virtual cpus by itself, the hypervisor lets it.

    Costs of kernel code in a machine file are scaled with all other kernel code; those that are mostly the
    hardware's (delivery and handler of an interrupt, waking from idle states) stay.
    """
    kernel = spec.kernel
    taken = in_force(kernel.mitigations, release, switched_off=kernel.mitigations_off)
    factor = slower_code(taken)
    changes: dict[str, Any] = {
        "mitigations": [each.model_copy(update={"until": None}) for each in taken],  # whatever comes later
    }
    names = [state.name for state in kernel.idle_states]
    if deepest_idle in names:
        changes["idle_states"] = kernel.idle_states[: names.index(deepest_idle) + 1]
    parts: dict[str, Any] = {}
    interrupts: dict[str, Any] = {}
    if factor != 1:
        changes |= {name: _times(getattr(kernel, name), factor) for name in _KERNEL_CODE}
        interrupts["send"] = _times(spec.interrupts.send, factor)
    if virtual_ipis and spec.interrupts.virtual_icr_write is not None:
        interrupts |= {"icr_write": spec.interrupts.virtual_icr_write, "icr_target": CycleCost(0, 0)}
    if interrupts:
        parts["interrupts"] = spec.interrupts.model_copy(update=interrupts)
    if spec.tlb.invalidate_user is not None and not any(each.own_tables for each in taken):
        parts["tlb"] = spec.tlb.model_copy(update={"invalidate_user": None})
    return spec.model_copy(update={"kernel": kernel.model_copy(update=changes), **parts})


def _times(cost: CycleCost, factor: float) -> CycleCost:
    return CycleCost(cost.cycles * factor, round(cost.fixed_ps * factor))
