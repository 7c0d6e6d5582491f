"""Flushes of TLBs: shootdowns, lazy ones, and switches between address spaces."""

from __future__ import annotations

from sim.designs.cortenmm.mm import FreeAfterFlush
from sim.hardware.interrupts import InterruptController
from sim.mm import Fork, Ftruncate, LazyFlush, Mmap, MmapFile, Munmap, SynchronousFlush, Touch
from sim.mm.contexts import Contexts
from sim.mm.flush import BroadcastFlush
from sim.verify.kernels import BASE
from sim.verify.mutants.mutant import Edit, Mutant
from sim.verify.programs import OnFile, Onto, Program

BOTH = ("rw", "adv")
EVERY = ("linux", *BOTH)
SWITCHING = ("family", "processes")
MANY_UNMAPS = Program(
    "adv",
    "shared",
    [
        [[Mmap(1, BASE), Touch([BASE])], [Touch([BASE], write=False)]],
        [[Munmap(BASE, 1), Mmap(1, BASE), Touch([BASE])] * 8, [Touch([BASE], write=False)] * 4],
    ],
)
"""More lazy flushes than a cpu has records."""

COMES_BACK = Program(
    "linux",
    "family",
    [
        [
            (
                OnFile(MmapFile(None, 2, shared=True, at=BASE), 0),  # type: ignore[arg-type]
                Touch([BASE, BASE + 1]),
                Fork(),
                Touch([BASE, BASE + 1], write=False),
                Onto(1),
                OnFile(Ftruncate(None, 1), 0),  # type: ignore[arg-type]
                Onto(0),
            )
        ]
    ],
    machine={"tlb": {"pcid": True, "switch": "100 cycles"}},
)
"""A process loses a page while the cpu is in another one."""

MUTANTS = (
    Mutant(
        "no-flush",
        "no TLB is ever flushed",
        [
            Edit(
                SynchronousFlush.flush,
                "    yield from self._line.write(cpu, TLB_FLUSH)\n",
                "    return\n    yield from self._line.write(cpu, TLB_FLUSH)\n",
            )
        ],
        EVERY,
    ),
    Mutant(
        "flush-forgets-the-first-page",
        "a flush of a range begins one page too late",
        [
            Edit(
                SynchronousFlush.flush,
                "    generation = self.generation\n",
                "    generation, pages = self.generation, pages[1:]\n",
            )
        ],
    ),
    Mutant(
        "flush-forgets-the-last-page",
        "a flush of a range ends one page too early",
        [
            Edit(
                SynchronousFlush.flush,
                "    generation = self.generation\n",
                "    generation, pages = self.generation, pages[:-1]\n",
            )
        ],
    ),
    Mutant(
        "flush-waits-for-nobody",
        "the initiator sends interrupts and does not wait for their acknowledgements",
        [Edit(SynchronousFlush.flush, "    yield from interrupts.finish(round_)\n", "")],
        EVERY,
    ),
    Mutant(
        "flush-asks-all-but-one",
        "one of the cpus that have the space loaded is not interrupted",
        [
            Edit(
                SynchronousFlush.flush,
                "    if not targets or not self._ways.concurrent:",
                "    targets = targets[1:]\n    if not targets or not self._ways.concurrent:",
            )
        ],
        EVERY,
    ),
    Mutant(
        "flush-only-elsewhere",
        "the initiator does not flush its own TLB",
        [
            Edit(
                SynchronousFlush.flush,
                "    if self._ways.concurrent:\n        cpu.work(flush_here(cpu), TLB_FLUSH)\n",
                "",
            )
        ],
        EVERY,
    ),
    Mutant(
        "lazy-cpu-not-told-later",
        "a cpu that idles is skipped, and does not flush when it comes back",
        [Edit(SynchronousFlush._targets, "            other.tlb.stale = True\n", "")],
        EVERY,
    ),
    Mutant(
        "generation-off-by-one",
        "a target that is one flush behind believes to be up to date",
        [
            Edit(
                SynchronousFlush._flush_local,
                "    if seen >= self.generation:  # it",
                "    if seen >= self.generation - 1:  # it",
            )
        ],
        EVERY,
        resembles="mm.context.tlb_gen of x86 (Linux 94b1b03b519b), where a missed generation is a missed flush",
    ),
    Mutant(
        "range-flush-for-one-far-behind",
        "a target that has missed flushes drops the range of the last one and calls itself up to date",
        [
            Edit(
                SynchronousFlush._flush_local,
                "pages is not None and seen == generation - 1 == self.generation - 1",
                "pages is not None",
            ),
            Edit(
                SynchronousFlush._flush_local,
                "        self._active[cpu] = generation\n        if cpu.heard:\n",
                "        self._active[cpu] = self.generation\n        if cpu.heard:\n",
            ),
        ],
        EVERY,
        scenarios=("shared", "short histories", "apart"),
    ),
    Mutant(
        "entered-space-not-asked",
        "a cpu that loads a space does not set its bit: nobody interrupts it",
        [
            Edit(
                SynchronousFlush.loaded,
                "    self._active[cpu] = self.generation\n",
                "    self._active.pop(cpu, None)\n",
            )
        ],
        EVERY,
        scenarios=("family", "forking"),
    ),
    Mutant(
        "old-entries-of-an-asid-believed",
        "a space that comes back to its number believes its entries, flushed meanwhile or not",
        [Edit(Contexts._load, "    valid = seen >= space.valid_from\n", "    valid = seen >= 0\n")],
        EVERY,
        scenarios=SWITCHING,
        resembles="what tlb_gen is kept for with each PCID (Linux 10af6235e0d3)",
        programs=[COMES_BACK],
    ),
    Mutant(
        "asid-given-away-with-its-entries",
        "a space that gets another one's number begins with that one's entries",
        [
            Edit(
                Contexts._choose,
                "    self._slots[asid] = Context(space, _NOTHING_SEEN)\n    return asid, _NOTHING_SEEN\n",
                "    self._slots[asid] = Context(space, _NOTHING_SEEN)\n    return asid, space.valid_from\n",
            )
        ],
        EVERY,
        scenarios=SWITCHING,
    ),
    Mutant(
        "missed-flush-forgotten-at-a-switch",
        "a cpu that was skipped while it idled and switches forgets what it has missed",
        [Edit(Contexts.switch, "_NOTHING_SEEN if missed else seen", "seen")],
        EVERY,
        scenarios=("family", "forking"),
    ),
    Mutant(
        "broadcast-to-this-cpu-alone",
        "a flush by instruction reaches only the cpu that executes it",
        [
            Edit(
                BroadcastFlush.flush,
                "    for other, asid in self._asid_on.items():\n",
                "    for other, asid in [(cpu, cpu.tlb.asid)]:\n",
            )
        ],
        ("linux-6.15", "linux-6.13-invlpgb", "linux"),
    ),
    # -- LATR -----------------------------------------------------------------------------------------------
    Mutant(
        "latr-frees-without-a-flush",
        "munmap frees its pages and flushes nothing",
        [
            Edit(
                LazyFlush.flush_lazily,
                "    pages = pages_of(removed)\n",
                "    release(cpu)\n    return\n    pages = pages_of(removed)\n",
            )
        ],
        BOTH,
    ),
    Mutant(
        "latr-slot-freed-early",
        "a record is free, and its frames with it, before all cpus have swept it",
        [
            Edit(
                LazyFlush.flush_lazily,
                "self._swept_by_all(cpu, published)",
                "published",
            )
        ],
        BOTH,
        resembles="LATR (Kumar et al., ASPLOS 2018): a slot that is reused before all cpus have swept it",
        scenarios=("apart", "shared", "short histories"),
        programs=[MANY_UNMAPS],
    ),
    Mutant(
        "latr-frees-when-it-publishes",
        "frames are free as soon as the record is published",
        [
            Edit(
                LazyFlush.flush_lazily,
                "records.append(_Record(pages, removed, release, ",
                "release(cpu)\n    records.append(_Record(pages, removed, lambda _: None, ",
            )
        ],
        BOTH,
    ),
    Mutant(
        "latr-does-not-flush-here",
        "the publisher keeps its own translations, and never sweeps its own records",
        [Edit(LazyFlush.flush_lazily, "    cpu.tlb.invalidate(pages)\n", "")],
        BOTH,
        scenarios=("alone", "apart", "shared"),
    ),
    Mutant(
        "latr-sweeps-the-first-record-only",
        "a cpu looks at the first record of each other cpu",
        [
            Edit(
                LazyFlush.catch_up,
                "            for record in records:\n",
                "            for record in list(records)[:1]:\n",
            ),
            Edit(
                LazyFlush._recycle, "            loaded.tlb.invalidate(record.pages)\n", "            pass\n"
            ),
        ],
        BOTH,
    ),
    Mutant(
        "frames-freed-and-tables-forgotten",
        "what is freed after a lazy flush are the pages, and not the tables that were unlinked with them",
        [Edit(FreeAfterFlush.__call__, "self._tables", "[]")],
        BOTH,
    ),
    # -- interrupts -----------------------------------------------------------------------------------------
    Mutant(
        "flush-with-interrupts-off",
        "two cpus flush with interrupts off, and each waits for the other's acknowledgement",
        [
            Edit(
                SynchronousFlush.flush,
                "    interrupts = self._machine.interrupts\n",
                "    cpu.disable_interrupts()\n    interrupts = self._machine.interrupts\n",
            ),
            Edit(
                SynchronousFlush.flush,
                "    yield from interrupts.finish(round_)\n",
                "    yield from interrupts.finish(round_)\n    cpu.enable_interrupts()\n",
            ),
        ],
        EVERY,
        scenarios=("apart", "shared"),
        resembles="the FLUSH_OPS deadlock of Asterinas's TLB shootdown",
    ),
    Mutant(
        "acknowledged-before-it-is-done",
        "a target acknowledges a call and forgets to do it",
        [Edit(InterruptController._run, "round_.call(cpu)", "0")],
        EVERY,
        scenarios=("shared", "short histories", "apart"),
    ),
)
