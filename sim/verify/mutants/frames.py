"""Page allocators: LLFree's counts and bits, and lists of frames."""

from __future__ import annotations

from sim.designs.cortenmm.pooled_frames import PooledFrames
from sim.mm.allocators.lists import CasList
from sim.mm.allocators.llfree.lower import Lower
from sim.mm.allocators.llfree.trees import Trees
from sim.verify.mutants.mutant import Edit, Mutant

TREES = ("linux-trees",)
LISTS = ("linux-list-cas",)

MUTANTS = (
    Mutant(
        "llfree-bit-not-set",
        "a frame is given away whose bit stays zero",
        [
            Edit(
                Lower._set,
                "        self.bits[area] = self.bits.get(area, 0) | ((1 << (1 << order)) - 1) << at\n",
                "        pass\n",
            )
        ],
        TREES,
    ),
    Mutant(
        "llfree-entry-not-counted-up",
        "a frame is given back and the entry of its area does not say so",
        [Edit(Lower.put, "    self.entries[area] += 1 << order\n", "    pass\n")],
        TREES,
    ),
    Mutant(
        "llfree-foreign-free-to-own-tree",
        "a core counts whatever it gives back as free in the tree that it has reserved",
        [
            Edit(
                Trees.put,
                "    if local.tree == tree:\n        local.free += pages\n",
                "    if True:\n        local.free += pages\n",
            )
        ],
        TREES,
    ),
    Mutant(
        "list-cas-does-not-compare",
        "the head is swapped whoever has changed it meanwhile",
        [
            Edit(
                CasList.get,
                "        if self._changes == seen:\n            break\n",
                "        self._stacks[order][-1] = frame\n        break\n",
            )
        ],
        LISTS,
        resembles="the ABA problem of lists without locks (IBM System/370 Principles of Operation, 1983)",
    ),
    Mutant(
        "cortenmm-backlog-twice",
        "a frame of the backlog is given to its allocator and kept",
        [Edit(PooledFrames.settle, "backlog.pop()", "backlog[-1]")],
        ("adv-trees",),
    ),
)
