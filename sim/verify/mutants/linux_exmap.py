"""exmap on Linux: when a page is in the pool, who flushes, and which page stands where."""

from __future__ import annotations

from sim.designs.linux.exmap.calls import _insert_locked, _insert_one, _remove_one, exmap_free
from sim.verify.mutants.mutant import Edit, Mutant

EXMAP = ("linux-5.17-exmap",)
FLUSH_FIRST = ("linux-5.17-exmap-flush-first",)
ALONE = ("alone",)

MUTANTS = (
    Mutant(
        "linux-exmap-gives-before-the-flush",
        "a page is in the pool while TLBs show it, in a design that says it is not",
        [
            Edit(
                _remove_one,
                "    if exmap.gives_early:\n        exmap.is_out_early(freed[-1:])\n        yield from _give",
                "    if True:\n        yield from _give",
            ),
            Edit(
                exmap_free,
                "        else:\n            yield from _give(cpu, exmap.pool, interface, freed)\n",
                "",
            ),
        ],
        FLUSH_FIRST,
        resembles="tuhhosg/exmap at 6ea8f03, module/driver.c exmap_free, which does it on purpose",
        scenarios=ALONE,
    ),
    Mutant(
        "linux-exmap-frees-without-a-flush",
        "FREE clears entries and flushes nothing",
        [
            Edit(
                exmap_free, "        yield from mm.tlb.flush(cpu, range(0), whole=True)  # flush_tlb_mm\n", ""
            )
        ],
        EXMAP,
        resembles="tuhhosg/exmap at 6ea8f03, module/driver.c exmap_vma_cleanup, which flushes nothing",
        scenarios=ALONE,
    ),
    Mutant(
        "linux-exmap-maps-over-a-page",
        "ALLOC of several pages puts one where there is one",
        [
            Edit(
                _insert_locked,
                "        if table.get(slot) is not None:\n            continue\n",
                "",
            ),
            Edit(
                _insert_locked,
                "        if table.get(slot) is not None:  # by a single page, which takes no lock\n"
                "            yield from exmap.pool.push(cpu, interface.bundle, frame)\n"
                "            continue\n",
                "",
            ),
        ],
        EXMAP,
        scenarios=ALONE,
    ),
    Mutant(
        "linux-exmap-loses-the-page-it-did-not-need",
        "ALLOC of a page that is there takes one from the pool and keeps it from everybody",
        [Edit(_insert_one, "    yield from exmap.pool.push(cpu, interface.bundle, frame)\n", "")],
        EXMAP,
        resembles="tuhhosg/exmap at 6ea8f03, module/memory.c insert_pages, for several pages: EBUSY",
        scenarios=ALONE,
    ),
)
