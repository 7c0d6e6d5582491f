"""RadixVM: sets of cores, locks of slots, page tables a core, and counts that cores keep back."""

from __future__ import annotations

from sim.designs.radixvm import fault, fork, mprotect, munmap
from sim.designs.radixvm.refcache import Refcache
from sim.designs.radixvm.tables import PerCoreTables, SharedTable
from sim.designs.radixvm.tree import RadixTree
from sim.designs.radixvm.vmap import Vmap
from sim.verify.mutants.mutant import Edit, Mutant

RADIX = ("radix",)
BOTH = ("radix", "radix-shared")
SHARED = ("radix-shared",)
RACES = ("shared", "apart", "short histories", "forking")

MUTANTS = (
    Mutant(
        "radix-set-of-cores-not-cleared",
        "cores are asked again for pages that they have not any more",
        [Edit(Vmap.take_pages, "        desc.cores = 0\n", "        pass\n")],
        RADIX,
        scenarios=("alone", "shared", "forking"),
    ),
    Mutant(
        "radix-core-not-in-the-set",
        "a core takes a page into its table, and the page's set does not have it",
        [Edit(PerCoreTables.insert, "    desc.cores |= cpu.bit\n", "")],
        RADIX,
    ),
    Mutant(
        "radix-set-before-the-entry",
        "a core is in the page's set before its table has the page",
        [
            Edit(
                PerCoreTables.insert,
                "    table = yield from self._table(cpu, page)\n",
                "    desc.cores |= cpu.bit\n    table = yield from self._table(cpu, page)\n",
            )
        ],
        RADIX,
        equivalent="whoever looks at the set has the lock of the page's slot, and the fault has it",
    ),
    Mutant(
        "radix-unlocks-before-the-flush",
        "munmap lets others map the page again while it is still in TLBs",
        [
            Edit(
                munmap.munmap,
                "    yield from mm.tlb.perform(cpu, others)\n    yield from mm.unlock(cpu, held)\n",
                "    yield from mm.unlock(cpu, held)\n    yield from mm.tlb.perform(cpu, others)\n",
            )
        ],
        BOTH,
        scenarios=RACES,
    ),
    Mutant(
        "radix-asks-nobody",
        "munmap clears its own table, and nobody else's",
        [Edit(munmap.munmap, "    yield from mm.tlb.perform(cpu, others)\n", "")],
        BOTH,
        scenarios=RACES,
    ),
    Mutant(
        "radix-lock-bit-not-copied",
        "a new node below a locked slot is not locked",
        [
            Edit(
                RadixTree._expand,
                "frame, home, cpu, value, holder)",
                "frame, home, cpu, value, None)",
            )
        ],
        BOTH,
    ),
    Mutant(
        "radix-waiter-stays-above",
        "who gets the bit of a slot that leads to a node by then keeps it, and does not go down",
        [Edit(RadixTree._lock, "if not isinstance(node.slots[slot], Node):", "if True:")],
        BOTH,
        scenarios=RACES,
    ),
    Mutant(
        "radix-clears-without-invlpg",
        "a core clears its table and keeps the translations",
        [Edit(PerCoreTables._clear, "        cpu.tlb.invalidate(gone)\n", "        pass\n")],
        RADIX,
    ),
    Mutant(
        "radix-shared-keeps-its-own-tlb",
        "who unmaps from the one page table flushes all TLBs but its own",
        [Edit(SharedTable.perform, "    if cpu in self.running:\n", "    if False:\n")],
        SHARED,
    ),
    Mutant(
        "radix-frame-freed-before-the-flush",
        "a frame is given back while other cores can reach it",
        [
            Edit(
                munmap.munmap,
                "    yield from mm.tlb.perform(cpu, others)\n",
                "    for each in gone:\n"
                "        yield from mm.kernel.refcache._free(cpu, each)\n"
                "    gone = []\n"
                "    yield from mm.tlb.perform(cpu, others)\n",
            )
        ],
        BOTH,
        scenarios=RACES,
    ),
    Mutant(
        "radix-mprotect-takes-nothing-away",
        "rights are taken from the descriptor, and tables still have them",
        [Edit(mprotect._protect, "if lower and desc.counted is not None:", "if False:")],
        BOTH,
    ),
    Mutant(
        "radix-fork-lets-both-write",
        "private pages are shared by parent and child, and written in place",
        [Edit(fork._copy, "desc.cow = True", "pass")],
        BOTH,
        scenarios=("family", "forking"),
    ),
    Mutant(
        "radix-copy-leaves-others-the-old-frame",
        "a page is copied for who writes it, and other cores go on with the old frame",
        [
            Edit(
                fault._bring_in,
                "        yield from mm.take_pages(cpu, page, page + 1, others, drop=False)\n",
                "",
            )
        ],
        BOTH,
        scenarios=("family", "forking"),
    ),
    Mutant(
        "refcache-forgets-whom-it-evicts",
        "two objects meet in a way, and the difference of one is taken for the other's",
        [Edit(Refcache._add, "        yield from self._evict(cpu, core, way)\n", "        yield from ()\n")],
        BOTH,
    ),
    Mutant(
        "refcache-frees-at-the-first-zero",
        "a count of zero is believed at the next review, whatever other cores keep back",
        [
            Edit(
                Refcache._bring,
                "core.epoch + self._spec.epochs + (0 if exact else 1)",
                "core.epoch",
            )
        ],
        BOTH,
        scenarios=("family", "forking"),
    ),
    Mutant(
        "refcache-reviews-what-lives",
        "what has references again when it is reviewed is freed all the same",
        [Edit(Refcache._review, "        if counted.count:\n", "        if False:\n")],
        BOTH,
        scenarios=("family", "forking"),
    ),
)
