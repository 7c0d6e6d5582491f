"""LATR on Linux: what is published, who sweeps it, what is kept until then."""

from __future__ import annotations

from sim.designs.linux.latr.gather import LatrGather
from sim.designs.linux.latr.kept import KeptMemory
from sim.designs.linux.latr.lazy_flush import LatrFlush, LatrRings, SweepingMm
from sim.verify.mutants.mutant import Edit, Mutant

LATR = ("linux-4.10-latr",)
SHARED = ("apart", "shared", "short histories")
RELEASED = "sslab-gatech/latr at efad1a1: CONFIG_LAZY_MEM_FREE is off, so pages are free when their flush is published"

MUTANTS = (
    Mutant(
        "linux-latr-keeps-no-pages",
        "munmap publishes its flush and frees the pages at once",
        [
            Edit(
                LatrGather.flush,
                "    kept = yield from self._kept.keep_pages(cpu, record, frames, tables)\n",
                "    kept, record = False, None\n",
            )
        ],
        LATR,
        resembles=RELEASED,
        scenarios=SHARED,
    ),
    Mutant(
        "linux-latr-sweep-clears-the-bit-only",
        "a cpu says that it has flushed what it has not",
        [Edit(LatrFlush.sweep, "        cpu.tlb.invalidate(record.pages)\n", "")],
        LATR,
        scenarios=SHARED,
    ),
    Mutant(
        "linux-latr-forgets-idle-cpus",
        "cpus that idle are not in the mask, and flush nothing when they come back",
        [
            Edit(
                LatrFlush.flush_lazily,
                "        if other is not cpu:\n",
                "        if other is not cpu and not other.in_kernel_wait:\n",
            )
        ],
        LATR,
        scenarios=SHARED,
    ),
    Mutant(
        "linux-latr-overwrites-a-full-ring",
        "a slot is used again whose flush not all have done",
        [
            Edit(
                LatrRings.publish,
                "    if len(ring.records) >= self._slots - 1:\n        return None\n",
                "    if len(ring.records) >= self._slots - 1:\n        ring.records.popleft().mask = 0\n",
            )
        ],
        ("linux",),
        resembles="LATR (Kumar et al., ASPLOS 2018): a slot that is reused before all cpus have swept it",
        scenarios=SHARED,
    ),
    Mutant(
        "linux-latr-frees-what-is-shown",
        "pages are free when their time has come, whoever may still translate to them",
        [
            Edit(
                KeptMemory.free_due,
                " and not self._pages[0].shown",
                "",
            )
        ],
        ("linux",),
        scenarios=SHARED,
    ),
    Mutant(
        "linux-latr-switches-without-a-sweep",
        "a thread that comes back to an idle cpu goes on with the translations of before",
        [Edit(SweepingMm.give_back, "    yield from self._rings.sweep_at_switch(cpu)\n", "")],
        LATR,
        equivalent="the next tick sweeps, and until then the frames are kept, as for any other cpu",
    ),
)
