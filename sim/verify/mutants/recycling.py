"""Pages that go round in one process without a flush, on Linux."""

from __future__ import annotations

from sim.designs.linux.recycling.recycler import RecycledFrames, Recycler
from sim.mm import Mmap, Munmap, Operation, Touch
from sim.verify.kernels import BASE, LEAF
from sim.verify.mutants.mutant import Edit, Mutant
from sim.verify.programs import Program
from sim.verify.variants import RECYCLING

_FPR = ("linux-6.13-fpr",)
_SHARED = ("apart", "shared", "processes", "forking")


def _goes_round(*after: Operation) -> Program:
    """Thread 0 unmaps what both have touched, and goes on with *after*; random programs seldom take a page of
    somebody else's, for their tables are there soon."""
    pages = range(BASE, BASE + 8)
    rounds: list[list[list[Operation]]] = [
        [[Mmap(8, BASE), Touch(pages)], []],
        [[], [Touch(pages, write=False)]],
        [[Munmap(BASE, 8), *after], []],
    ]
    return Program("linux", "shared", rounds, changes={"recycling": RECYCLING})


MUTANTS = (
    Mutant(
        "fpr-page-leaves-without-a-flush",
        "a page is given to somebody else while TLBs of the process that had it show it",
        [
            Edit(
                RecycledFrames.given_away,
                "yield from its[0].flush_all(cpu)",
                "yield from self.owner.pop(each)[2:]",
            )
        ],
        _FPR,
        scenarios=_SHARED,
        programs=[_goes_round(Mmap(1, BASE + 2 * LEAF), Touch([BASE + 2 * LEAF]))],
    ),
    Mutant(
        "fpr-maps-an-address-again",
        "something is mapped where a page was unmapped without a flush (the ABA problem)",
        [
            Edit(Recycler.find_room, "    if low is not None:\n", "    if False:\n"),
            Edit(Recycler.map_again, "    if any(", "    if False and any("),
        ],
        _FPR,
        scenarios=_SHARED,
        programs=[_goes_round(Mmap(8, BASE), Touch(range(BASE, BASE + 8)))],
    ),
    Mutant(
        "fpr-keeps-what-others-map",
        "a page that a child has, too, is unmapped without a flush",
        [Edit(Recycler.may_keep, "in_use.owners(frame) == 1 and ", "")],
        _FPR,
        scenarios=("forking", "family", "processes"),
    ),
)
