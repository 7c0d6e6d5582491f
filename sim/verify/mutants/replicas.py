"""Page tables of each node on Linux."""

from __future__ import annotations

from sim.designs.linux.replicas.leaf import SharedLeaf
from sim.designs.linux.replicas.trees import NodeTrees
from sim.verify.mutants.mutant import Edit, Mutant

_NUMAPTE, _MITOSIS = ("linux-6.13-numapte",), ("linux-6.13-mitosis",)
_SHARED = ("apart", "shared", "short histories")

MUTANTS = (
    Mutant(
        "numapte-asks-the-owner-only",
        "a flush asks the node of the mapping, and not those that have copied its entries",
        [Edit(SharedLeaf.nodes, "sum(1 << node for node in self.copies)", "1 << self.owner")],
        _NUMAPTE,
        scenarios=_SHARED,
    ),
    Mutant(
        "numapte-changes-the-owners-entry-only",
        "entries that other nodes have copied stay as they are",
        [Edit(SharedLeaf.set, "in self.copies.values():", "in (self.copies[self.owner],):")],
        _NUMAPTE,
        scenarios=_SHARED,
    ),
    Mutant(
        "numapte-copies-under-no-lock",
        "a fault copies the owner's entry while others may clear it",
        [
            Edit(
                NodeTrees.copy_in,
                "    copy = leaf.copies[node]\n    yield from lock.acquire(cpu)\n",
                "    copy = leaf.copies[node]\n",
            ),
            Edit(
                NodeTrees.copy_in, "    yield from lock.release(cpu)\n    return True\n", "    return True\n"
            ),
        ],
        _NUMAPTE,
        resembles="julianw1010/hydra-v4.17.0-fork at b1f46cd, mm/memory.c try_lazy_repl: it holds the lock of "
        "its own table, and who clears the owner's entry holds that of the owner's",
        scenarios=_SHARED,
    ),
    Mutant(
        "replicas-outlive-the-mapping",
        "the tables of all nodes but one stay when nothing is mapped there any more",
        [Edit(NodeTrees.unlink, "in self.roots.items():", "in [*self.roots.items()][:1]:")],
        (*_NUMAPTE, *_MITOSIS),
        scenarios=_SHARED,
    ),
    Mutant(
        "mitosis-makes-tables-for-the-owner-only",
        "a table is not there for all nodes at once",
        [
            Edit(
                NodeTrees._make,
                "    if self.eager:\n        nodes += [node for node in self.roots if node != owner]\n",
                "",
            )
        ],
        _MITOSIS,
        scenarios=_SHARED,
    ),
)
