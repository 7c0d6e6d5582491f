"""Morsels: compare-and-swap, rights of a reference, who still maps one."""

from __future__ import annotations

from sim.designs.linux import morsel_calls, morsel_fault, morsel_maps
from sim.designs.linux.vma import Vma
from sim.mm import READ, MapMorsel, Munmap, Touch
from sim.verify.drawing import MORSEL_AT
from sim.verify.kernels import LEAF
from sim.verify.mutants.mutant import Edit, Mutant
from sim.verify.programs import Program
from sim.verify.variants import LARGE

PROTOTYPE = ("linux-5.17-morsel",)
LOCK_FREE = ("linux-5.17-morsel-lock-free",)
_HERE, _THERE = MORSEL_AT, MORSEL_AT + LEAF


def _at_once(kind: str) -> Program:
    """Two threads map one morsel at two places and touch the same pages of it at the same time."""
    mapped = [[MapMorsel(1, _HERE)], [MapMorsel(1, _THERE)]]
    touched = [[Touch(range(at, at + 9))] for at in (_HERE, _THERE)]
    return Program(kind, "apart", [mapped, touched], machine=LARGE)


def _read_only(kind: str) -> Program:
    """A mapping that may be read is written."""
    return Program(
        kind,
        "alone",
        [[[MapMorsel(1, _HERE, READ), Touch([_HERE], write=False), Touch([_HERE]), Touch([_HERE + 1])]]],
        machine=LARGE,
    )


_IN_THE_RACE = [_at_once(PROTOTYPE[0])]

MUTANTS = (
    Mutant(
        "morsel-stores-without-comparing",
        "who comes second stores its own page over the winner's",
        [Edit(morsel_fault._add, "    if there is not None:\n", "    if False:\n")],
        PROTOTYPE,
        scenarios=("apart",),
        programs=_IN_THE_RACE,
    ),
    Mutant(
        "morsel-loser-keeps-its-page",
        "who comes second does not give its page back",
        [Edit(morsel_fault._add, "        yield from kernel.pages.free(cpu, frame)\n", "")],
        PROTOTYPE,
        scenarios=("apart",),
        programs=_IN_THE_RACE,
    ),
    Mutant(
        "morsel-page-not-zeroed",
        "a new page shows what was in its frame",
        [
            Edit(
                morsel_fault.new_page,
                "    if cpu.heard:\n        cpu.probe.frame_filled(cpu, frame, None)\n",
                "",
            )
        ],
        PROTOTYPE,
        scenarios=("alone",),
    ),
    Mutant(
        "morsel-reference-allows-all",
        "the entry that refers to a morsel allows more than the mapping",
        [
            Edit(
                morsel_maps.link,
                "Subtree(morsel.root, vma.rights, morsel)",
                "Subtree(morsel.root, 7, morsel)",
            )
        ],
        PROTOTYPE,
        programs=[_read_only(PROTOTYPE[0])],
    ),
    Mutant(
        "morsel-fault-without-lock-asks-no-rights",
        "a fault that takes no lock lets a write through that the mapping forbids",
        [
            Edit(
                morsel_fault.fault_without_lock,
                "    if found is None or not found.rights",
                "    if found is None or 0",
            )
        ],
        LOCK_FREE,
        programs=[_read_only(LOCK_FREE[0])],
    ),
    Mutant(
        "morsel-unmapped-without-a-flush",
        "munmap takes the entry out, and TLBs still show pages of the morsel",
        [
            Edit(
                morsel_maps.unlink_range,
                "            yield from mm.tlb.flush(cpu, range(vma.start, vma.end), freed_tables=True)\n",
                "",
            )
        ],
        PROTOTYPE,
        scenarios=("alone", "apart"),
    ),
    Mutant(
        "morsel-exit-leaves-its-entry",
        "the notifier does not hear of an exit",
        [Edit(morsel_maps.unlink_all, "        if vma.morsel is not None:\n", "        if False:\n")],
        PROTOTYPE,
        scenarios=("family",),
    ),
    Mutant(
        "morsel-not-for-a-child",
        "a child has the mapping and no entry for the morsel",
        [Edit(morsel_maps.copy_mapping, "    if vma.morsel is not None:\n", "    if False:\n")],
        PROTOTYPE,
        scenarios=("family",),
    ),
    Mutant(
        "morsel-cut-in-two",
        "munmap takes a part of a morsel's mapping away",
        [Edit(Vma.may_split, " and not self.of_morsel", "")],
        PROTOTYPE,
        programs=[
            Program(
                PROTOTYPE[0],
                "alone",
                [[[MapMorsel(1, _HERE), Munmap(_HERE + 5, 3)]]],
                machine=LARGE,
            )
        ],
    ),
    Mutant(
        "morsel-destroyed-in-part",
        "who takes a morsel apart forgets its last page",
        [Edit(morsel_calls._empty, "    for slot in range(SLOTS):\n", "    for slot in range(SLOTS - 1):\n")],
        PROTOTYPE,
        programs=[
            Program(
                PROTOTYPE[0],
                "alone",
                [[[MapMorsel(1, _HERE), Touch([_HERE + LEAF - 1])]]],
                machine=LARGE,
            )
        ],
    ),
)
