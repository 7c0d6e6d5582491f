"""Locks in the place of mmap_lock: those of ranges (interval VM, the list of held ranges), and one without readers."""

from __future__ import annotations

from sim.designs.linux.space_locks.exclusive import ExclusiveSpace
from sim.designs.linux.space_locks.ranges import RangeSpace
from sim.designs.linux.vma_indexes import IntervalSkipList
from sim.designs.linux.vma_locks.interval import IntervalNode, IntervalVmaLocks
from sim.mm import READ, READ_WRITE, Mmap, Mprotect, Munmap, Touch
from sim.sync import ExclusiveRw, RangeLock, ShardedRwSem
from sim.verify.kernels import BASE
from sim.verify.mutants.locks import of_lock
from sim.verify.mutants.mutant import Edit, Mutant
from sim.verify.programs import Program

_RANGE_LOCK = ("lock range-lock",)
_DESIGN = ("interval-vm-6.8",)
_CNA = ("linux-6.13-cna-mmap",)
_RACES = ("shared", "short histories", "forking", "apart")
_ALL, _BUT_ONE = "for shard in self.shards:", "for shard in self.shards[1:]:"

MUTANTS = (
    Mutant(
        "interval-locked-and-not-looked-at-again",
        "who has locked the nodes of a range does not look whether they still are those",
        [
            Edit(
                IntervalSkipList._lock_from,
                "good = self._is_before(before, start, start) and self._entered_well(crossing)",
                "good = True",
            ),
            Edit(
                IntervalSkipList._lock_from,
                "good = not after.invalid and node.next[0] is after",
                "good = True",
            ),
        ],
        _DESIGN,
        scenarios=_RACES,
    ),
    Mutant(
        "interval-gap-without-its-predecessor",
        "who maps in a gap does not lock the node before it",
        [
            Edit(
                IntervalSkipList._lock_from,
                "    yield from before.mutex.acquire(cpu)\n    held = [before]\n",
                "    held = []\n",
            )
        ],
        _DESIGN,
        scenarios=_RACES,
    ),
    Mutant(
        "interval-node-not-marked",
        "who changes a VMA does not mark its node invalid",
        [Edit(IntervalNode.start_write, "    self.invalid = True\n", "")],
        _DESIGN,
        scenarios=_RACES,
    ),
    Mutant(
        "interval-node-freed-without-a-grace-period",
        "a node that was replaced is given out again at once",
        [
            Edit(
                IntervalSkipList.renew,
                "self._cache.release(cpu, old.memory)",
                "self._cache.release(cpu, old.memory, now=True)",
            )
        ],
        _DESIGN,
        scenarios=_RACES,
    ),
    Mutant(
        "interval-fault-without-a-second-look",
        "a fault without a lock does not look again under the lock of the page table",
        [
            Edit(
                IntervalVmaLocks.still_valid,
                "return not node.invalid and node.version == version",
                "return True",
            )
        ],
        _DESIGN,
        scenarios=_RACES,
        programs=[
            Program(
                "interval-vm-6.8",
                "shared",
                [
                    [[Mmap(8, BASE), Touch([BASE])]],
                    [
                        [Touch([BASE + page]) for page in range(1, 8)],
                        [Mprotect(BASE, 8, READ), Mprotect(BASE, 8, READ_WRITE), Munmap(BASE, 8)],
                    ],
                ],
                ties="shuffle",
                seed=seed,
                delays=0.1,
            )
            for seed in range(40)
        ],
    ),
    Mutant(
        "interval-all-shards-but-one",
        "who locks all of a space leaves out the first cpu's shard",
        [
            Edit(verb, _ALL, _BUT_ONE)
            for verb in (
                ShardedRwSem.read_lock,
                ShardedRwSem.read_unlock,
                ShardedRwSem.write_lock,
                ShardedRwSem.write_unlock,
                ShardedRwSem.write_downgrade,
            )
        ],
        _DESIGN,
        scenarios=_RACES,
    ),
    # -- the list of held ranges ----------------------------------------------------------------------------
    of_lock(
        "range-reader-looks-not-behind-itself",
        "a reader that has come into the list does not look at the writers behind it",
        Edit(
            RangeLock._clear_of_writers,
            "    while other is not None and other.start < node.end:\n",
            "    while False:\n",
        ),
        on=_RANGE_LOCK,
    ),
    of_lock(
        "range-writer-looks-not-again",
        "a writer that has come into the list does not look for readers that came in in front of it",
        Edit(
            RangeLock._clear_of_readers,
            "    while other is not None and other is not node:\n",
            "    while False:\n",
        ),
        on=_RANGE_LOCK,
    ),
    of_lock(
        "range-linked-over-another",
        "who links his range does not look whether another one has come in between",
        Edit(
            RangeLock._enter,
            "if self._after(before) is not here or (before is not None and before.marked):\n"
            "            return False\n"
            "        node.next = here\n",
            "if before is not None and before.marked:\n            return False\n        node.next = here\n",
        ),
        on=_RANGE_LOCK,
    ),
    of_lock(
        "range-release-tells-nobody",
        "who marks a range does not wake those who spin for it",
        Edit(RangeLock._mark, "    self._tell(cpu, node)\n", ""),
        on=_RANGE_LOCK,
    ),
    Mutant(
        "mprotect-of-a-part-without-a-second-look",
        "mprotect does not look whether its VMA is as it was once it has its range",
        [
            Edit(
                RangeSpace.lock_to_protect,
                "if self.sequence == sequence and self._part_to_change(start, end, rights) == part:",
                "if True:",
            )
        ],
        ("linux-4.9-range-lock",),
        scenarios=_RACES,
    ),
    Mutant(
        "exclusive-mmap-lock-let-go-by-a-downgrade",
        "munmap gives the lock away and goes on",
        [
            Edit(
                ExclusiveRw.write_downgrade,
                "    return\n    yield\n",
                "    yield from self.inner.release(cpu)\n",
            )
        ],
        _CNA,
        scenarios=_RACES,
    ),
    Mutant(
        "exclusive-mmap-lock-not-waited-for",
        "a fault that does not get the lock at once goes on without it",
        [
            Edit(
                ExclusiveSpace.begin_fault,
                "    if not taken:\n        yield from self.mmap_lock.read_lock(cpu)\n",
                "",
            )
        ],
        _CNA,
        scenarios=_RACES,
    ),
)
