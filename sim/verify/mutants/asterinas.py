"""Asterinas: what its second level, the Vmar, does about locks, rights and pages."""

from __future__ import annotations

from sim.designs.asterinas import fault, mprotect
from sim.designs.asterinas.vmar import Vmar
from sim.verify.mutants.mutant import Edit, Mutant

ASTERINAS = ("asterinas-0.18",)
RACES = ("shared", "short histories", "apart", "forking")

MUTANTS = (
    Mutant(
        "asterinas-mprotect-without-flush",
        "rights are taken away, and TLBs still have them",
        [Edit(mprotect._protect_pages, "    if changed:\n", "    if False:\n")],
        ASTERINAS,
    ),
    Mutant(
        "asterinas-mprotect-gives-the-right-to-write",
        "a page that others have, too, becomes writable by mprotect",
        [Edit(mprotect._protect_pages, "        entry.copy_on_write = True\n", "        pass\n")],
        ASTERINAS,
        scenarios=("family", "forking", "alone"),
    ),
    Mutant(
        "asterinas-frees-without-a-flush",
        "unmapped pages are freed after a grace period, and no TLB is told",
        [Edit(Vmar.end_unmap, "    if removed or detached:\n", "    if False:\n")],
        ASTERINAS,
    ),
    Mutant(
        "asterinas-frees-without-a-grace-period",
        "unmapped pages are freed at once; the flush is over by then",
        [
            Edit(
                Vmar.free_later,
                "        yield from self.kernel.rcu.defer(cpu, FreePages(self, removed))\n",
                "        FreePages(self, removed)(cpu)\n        yield from ()\n",
            )
        ],
        ASTERINAS,
        equivalent="the flush is over by then, and nobody else can reach the pages",
    ),
    Mutant(
        "asterinas-faults-without-the-vmar-lock",
        "a fault looks for its mapping without the Vmar's lock",
        [
            Edit(Vmar.look, "    yield from self.vmar_lock.read_lock(cpu)\n", ""),
            Edit(
                Vmar.look,
                "    except (SegmentationFault, OutOfMemory):\n        yield from self.vmar_lock.read_unlock(cpu)\n        raise\n"
                "    yield from self.vmar_lock.read_unlock(cpu)\n",
                "    except (SegmentationFault, OutOfMemory):\n        raise\n",
            ),
        ],
        ASTERINAS,
        scenarios=RACES,
    ),
    Mutant(
        "asterinas-write-to-a-shared-page",
        "a write takes a page that somebody else has, too",
        [Edit(fault._let_write, "if mapping.shared or owners == 1:", "if True:")],
        ASTERINAS,
        scenarios=("family", "forking"),
    ),
)
