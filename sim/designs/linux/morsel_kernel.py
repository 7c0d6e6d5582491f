"""Linux with morsels: what it offers beside the rest."""

from __future__ import annotations

from typing import ClassVar

from sim.designs.base_spec import DesignSpec
from sim.designs.linux import kernel as plain
from sim.designs.linux.kernel import LinuxKernel
from sim.designs.linux.morsel_calls import create_morsel, destroy_morsel
from sim.designs.linux.morsel_maps import map_morsel
from sim.designs.linux.space import LinuxSpace
from sim.designs.linux.spec import LinuxSpec
from sim.hardware import Cpu
from sim.mm import CreateMorsel, DestroyMorsel, Handlers, MapMorsel


class MorselSpace(LinuxSpace):
    """A process that can map morsels."""

    __slots__ = ()

    operations: ClassVar[Handlers] = {MapMorsel: map_morsel}


class MorselKernel(LinuxKernel):
    """A Linux with the driver."""

    __slots__ = ()

    space = MorselSpace

    def new_process(self, cpu: Cpu) -> LinuxSpace:
        return MorselSpace(self, cpu)

    operations: ClassVar[Handlers] = {CreateMorsel: create_morsel, DestroyMorsel: destroy_morsel}


def kernel_of(spec: DesignSpec) -> type[LinuxKernel]:
    """The kernel that a design file means."""
    assert isinstance(spec, LinuxSpec)
    return plain.kernel_of(spec) if spec.morsels is None else MorselKernel
