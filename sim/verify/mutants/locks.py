"""Locks of sim/sync: missed wake-ups, looks in the wrong order, who is let in."""

from __future__ import annotations

from sim.sync import (
    BravoLock,
    CnaLock,
    GrantingRwSem,
    McsLock,
    Mutex,
    PercpuRwSem,
    PhaseFairLock,
    PthreadMutex,
    QueuedSpinLock,
    RwSem,
    TicketLock,
    WordRwLock,
    WordRwMutex,
    XaddRwSem,
)
from sim.sync.nodes import NodeQueue
from sim.sync.osq import SpinnerQueue
from sim.sync.rcu_sync import RcuSync
from sim.verify.mutants.mutant import Edit, Mutant

ON_LOCKS = ("locks",)
RWSEMS = ("lock rwsem", "lock impatient-rwsem", "lock rwsem-without-wait-lock")
BRAVOS = ("lock bravo", "lock eager-bravo")


def of_lock(
    name: str,
    breaks: str,
    *edits: Edit,
    on: tuple[str, ...],
    resembles: str | None = None,
    equivalent: str | None = None,
) -> Mutant:
    return Mutant(name, breaks, edits, on, resembles, ON_LOCKS, equivalent=equivalent)


MUTANTS = (
    # -- rwsem ----------------------------------------------------------------------------------------------
    of_lock(
        "rwsem-writer-wakes-nobody",
        "who releases a rwsem for writing does not look at the sleepers",
        Edit(RwSem._write_unlock, "    if self._waiters:\n        yield from self._wake(cpu)\n", ""),
        on=RWSEMS,
        resembles="'locking/rwsem: Fix (possible) missed wakeup' (Linux e158488be27b, 2018)",
    ),
    of_lock(
        "rwsem-last-reader-wakes-nobody",
        "the last reader does not look at the sleepers",
        Edit(RwSem._read_unlock, "            yield from self._wake(cpu)\n", "            pass\n"),
        on=RWSEMS,
        resembles="'locking/rwsem: Fix (possible) missed wakeup' (Linux e158488be27b, 2018)",
    ),
    of_lock(
        "rwsem-downgrade-wakes-no-readers",
        "who turns a write hold into a read hold leaves queued readers asleep; the next release wakes one",
        Edit(
            RwSem._write_downgrade, "    if self._waiters:\n        yield from self._wake_readers(cpu)\n", ""
        ),
        on=RWSEMS,
        equivalent="the next release wakes them, which is later and right",
    ),
    of_lock(
        "rwsem-downgrade-lets-a-writer-in",
        "who downgrades does not count as a reader",
        Edit(RwSem._write_downgrade, "    self.readers = 1\n", "    self.readers = 0\n"),
        Edit(RwSem._read_unlock, "    self.readers -= 1\n", "    self.readers = max(0, self.readers - 1)\n"),
        on=RWSEMS,
    ),
    of_lock(
        "rwsem-reader-steals-from-a-writer",
        "the slow path of a reader does not look whether a writer has the lock",
        Edit(
            RwSem._read_lock,
            "if self.writer is None and not self._handoff and not self.readers:",
            "if not self._handoff and not self.readers:",
        ),
        on=RWSEMS,
    ),
    of_lock(
        "rwsem-reader-on-its-way-not-counted",
        "a reader that has to sleep does not keep writers out until it is in the list",
        Edit(RwSem._join_under_lock, "    self._trying += 1\n", "    self._trying += 0\n"),
        Edit(
            RwSem._join_under_lock,
            "        self._trying -= 1\n        self.readers += 1\n",
            "        self.readers += 1\n",
        ),
        Edit(
            RwSem._join_under_lock,
            "    self._trying -= 1\n    woken: list[RwSemWaiter] = []\n",
            "    woken: list[RwSemWaiter] = []\n",
        ),
        on=RWSEMS[:2],
        equivalent="a reader that joins the list looks at the lock under wait_lock, and a release at the list: "
        "a writer overtakes it, and nobody is forgotten",
    ),
    of_lock(
        "rwsem-spinner-takes-without-a-second-look",
        "the spinner's cmpxchg succeeds whatever it finds",
        Edit(
            RwSem._spin_as_head,
            "            if apart:\n                yield from self.count.write(cpu, self.activity)\n            if self._is_free():\n",
            "            if apart:\n                yield from self.count.write(cpu, self.activity)\n            if True:\n",
        ),
        on=RWSEMS,
    ),
    of_lock(
        "rwsem-handoff-not-given-back",
        "a writer that has got the lock by hand-off leaves the flag set",
        Edit(RwSem._sleep_for_write, "    if waiter.handoff:\n        self._handoff = False\n", ""),
        on=RWSEMS[1:],
        resembles="'locking/rwsem: Make handoff bit handling more consistent' (Linux d257cc8cb8d5, 2021)",
    ),
    of_lock(
        "rwsem-grants-readers-beside-a-writer",
        "a waker gives the lock to queued readers though a writer was faster",
        Edit(RwSem._mark, "    if self.writer is None:\n", "    if True:\n"),
        on=RWSEMS,
    ),
    of_lock(
        "rwsem-spinner-never-told",
        "who writes the owner word pokes nobody",
        Edit(RwSem._tell_spinner, "    if self._osq.head is not None:\n", "    if False:\n"),
        on=RWSEMS,
    ),
    of_lock(
        "xadd-rwsem-wakes-nobody",
        "the older rwsem's release does not look at the sleepers",
        Edit(XaddRwSem._write_unlock, "        yield from self._wake_first(cpu)\n", "        pass\n"),
        on=("lock xadd-rwsem", "lock sleeping-rwsem"),
        resembles="'locking/rwsem: Fix (possible) missed wakeup' (Linux e158488be27b, 2018)",
    ),
    of_lock(
        "granting-rwsem-grants-a-held-lock",
        "a waker takes the lock in the first writer's name without a look whether somebody was faster",
        Edit(GrantingRwSem._grant, "        if not before & ACTIVE:\n", "        if True:\n"),
        on=("lock granting-rwsem",),
    ),
    of_lock(
        "granting-rwsem-forgets-itself",
        "a writer that comes to the queue just when the lock becomes free looks at nobody, not even at itself",
        Edit(
            GrantingRwSem._sleep, "    if count == WAITING:", "    if count == WAITING and not waiter.write:"
        ),
        on=("lock granting-rwsem",),
    ),
    # -- spin locks -----------------------------------------------------------------------------------------
    of_lock(
        "mcs-forgets-a-successor-that-links-itself",
        "who releases finds no successor, empties the lock, and does not look at the tail again",
        Edit(
            McsLock._release,
            "        if self._queue.leave(cpu):\n",
            "        if self._queue.leave(cpu) or True:\n",
        ),
        on=("lock mcs", "lock bravo", "lock phase-fair"),
    ),
    of_lock(
        "mcs-does-not-wait",
        "who finds a predecessor goes in beside it",
        Edit(McsLock._acquire, "    if not waits:\n", "    if True:\n"),
        on=("lock mcs",),
    ),
    of_lock(
        "queue-link-not-told",
        "who links itself behind a predecessor does not tell it, which may wait for the link",
        Edit(NodeQueue.join, "    previous.poke(self._lock, cpu.pending)  # it may wait for this link\n", ""),
        on=("lock mcs", "lock queued-spin", "lock cna"),
    ),
    of_lock(
        "qspinlock-pending-takes-a-held-lock",
        "the pending waiter does not wait for the holder",
        Edit(
            QueuedSpinLock._acquire,
            "            yield from spin_on(self.line, cpu, self, lambda: self.holder is not None)\n",
            "",
        ),
        on=("lock queued-spin",),
    ),
    of_lock(
        "qspinlock-head-overtakes-pending",
        "the head of the queue looks at the locked byte and not at the pending bit",
        Edit(
            QueuedSpinLock._await_word,
            "self.holder is not None or self._pending is not None",
            "self.holder is not None",
        ),
        on=("lock queued-spin",),
    ),
    of_lock(
        "qspinlock-newcomer-takes-a-wanted-lock",
        "who comes takes a free word though the pending bit or the queue is set",
        Edit(
            QueuedSpinLock._is_free,
            "return self.holder is None and self._pending is None and self._queue.tail is None",
            "return self.holder is None",
        ),
        on=("lock queued-spin",),
    ),
    of_lock(
        "osq-head-not-passed-on",
        "the head of the spinners leaves and tells nobody",
        Edit(SpinnerQueue.unlock, "        following.poke(self._lock, cpu.pending)\n", "        pass\n"),
        on=("lock mutex", "lock rwsem"),
        equivalent="whoever has the lock tells the head when it releases it, which is later and right",
    ),
    # -- BRAVO and phase-fair -------------------------------------------------------------------------------
    of_lock(
        "bravo-revocation-skips-a-slot",
        "a writer that scans the table skips the first slot of each line",
        Edit(
            BravoLock._await_signed_readers,
            "        for slot in slots:\n",
            "        for slot in slots[1:]:\n",
        ),
        on=BRAVOS,
    ),
    of_lock(
        "bravo-revocation-skips-every-second-line",
        "a writer scans half of the table",
        Edit(
            BravoLock._await_signed_readers,
            "zip(table.lines, table.slots_by_line(), strict=True)",
            "list(zip(table.lines, table.slots_by_line()))[1::2]",
        ),
        on=BRAVOS,
    ),
    of_lock(
        "bravo-reader-looks-once-at-the-bias",
        "a reader that has signed does not look at the bias again",
        Edit(BravoLock._sign, "    if self.bias:\n", "    if True:\n"),
        on=BRAVOS,
        resembles="BRAVO (Dice and Kogan, ATC 2019): the second look is what makes it right",
    ),
    of_lock(
        "bravo-writer-leaves-the-bias",
        "a writer waits for signed readers and leaves the bias set",
        Edit(BravoLock._write_lock, "        self.bias = False\n", ""),
        on=BRAVOS,
    ),
    of_lock(
        "bravo-reader-signs-over-another",
        "a reader signs a slot that another lock's reader has",
        Edit(BravoLock._sign, "    if table.slots[slot] is not None:\n        return False\n", ""),
        on=("lock crowded-bravo", *BRAVOS, "rw"),
    ),
    of_lock(
        "bravo-reader-out-tells-nobody",
        "a signed reader that leaves does not tell the writer that scans",
        Edit(BravoLock._erase, "    if self._revoker is not None:\n", "    if False:\n"),
        on=BRAVOS,
    ),
    of_lock(
        "phase-fair-writer-does-not-drain",
        "a writer does not wait for the readers that came before it",
        Edit(PhaseFairLock._write_lock, "    if self._left != earlier:\n", "    if False:\n"),
        on=("lock phase-fair", *BRAVOS),
    ),
    of_lock(
        "phase-fair-reader-does-not-wait",
        "a reader counts itself in and does not look at the writer's bits",
        Edit(PhaseFairLock._read_lock, "    if self._writer_present:\n", "    if False:\n"),
        on=("lock phase-fair", *BRAVOS),
    ),
    of_lock(
        "phase-fair-last-reader-tells-nobody",
        "the last reader that a writer waits for does not tell it",
        Edit(PhaseFairLock._read_unlock, "    if self._left == self._to_drain:\n", "    if False:\n"),
        on=("lock phase-fair", *BRAVOS),
    ),
    # -- others ---------------------------------------------------------------------------------------------
    of_lock(
        "mutex-handoff-to-nobody",
        "who releases with HANDOFF set does not name the next owner",
        Edit(Mutex._release, "        self._set_owner(cpu, first.task)\n", "        pass\n"),
        on=("lock mutex", "lock drowsy-mutex"),
    ),
    of_lock(
        "mutex-wakes-nobody",
        "who releases does not wake the first of the list",
        Edit(Mutex._release, "        self._scheduler.wake(cpu, first)\n", "        pass\n"),
        on=("lock mutex", "lock drowsy-mutex"),
    ),
    of_lock(
        "mutex-stolen-from-its-next-owner",
        "a lock that has been handed over may be taken by anybody",
        Edit(
            Mutex._may_take,
            "return self.holder is None or self.holder is cpu.current",
            "return self.holder is None or not self.holder.on_cpu",
        ),
        on=("lock mutex", "lock drowsy-mutex"),
    ),
    of_lock(
        "percpu-rwsem-writer-does-not-drain",
        "a writer does not wait until the counts of all cpus sum to zero",
        Edit(PercpuRwSem._write_lock, "    yield from self._drain(cpu)\n", ""),
        on=("lock percpu-rwsem",),
    ),
    of_lock(
        "percpu-rwsem-sums-all-but-one",
        "a writer does not look at the count of the last cpu",
        Edit(PercpuRwSem._drain, "enumerate(self._count_lines)", "enumerate(self._count_lines[1:], 1)"),
        on=("lock percpu-rwsem",),
    ),
    of_lock(
        "percpu-rwsem-reader-looks-first",
        "a reader looks at *block* before it counts itself",
        Edit(
            PercpuRwSem._try_read,
            "    yield from self._count(cpu, 1)\n    yield from self._block_line.read(cpu, self.activity)\n    if not self._blocked:\n        return True\n",
            "    yield from self._block_line.read(cpu, self.activity)\n    blocked = self._blocked\n"
            "    if cpu.pending:\n        yield cpu.take_pending()\n"
            "    yield from self._count(cpu, 1)\n    if not blocked:\n        return True\n",
        ),
        on=("lock percpu-rwsem",),
        resembles="the barriers of kernel/locking/percpu-rwsem.c ('A matches D')",
    ),
    of_lock(
        "percpu-rwsem-reader-out-tells-nobody",
        "a reader that leaves beside a writer does not wake it",
        Edit(PercpuRwSem._tell_writer, "    if self._draining is not None:\n", "    if False:\n"),
        on=("lock percpu-rwsem",),
    ),
    of_lock(
        "word-rwlock-writer-beside-readers",
        "a writer looks for a writer and not for readers",
        Edit(
            WordRwLock._write_lock, "if self.writer is None and not self.readers:", "if self.writer is None:"
        ),
        on=("lock word-rw",),
    ),
    of_lock(
        "ticket-drawn-twice",
        "two cpus that come at the same time draw the same ticket",
        Edit(
            TicketLock._acquire,
            "    yield from self.line.write(cpu, self.activity)  # fetch-and-add of next\n    ticket = self._next\n",
            "    ticket = self._next\n    yield from self.line.write(cpu, self.activity)\n    self._next = ticket\n",
        ),
        on=("lock ticket",),
    ),
    of_lock(
        "cna-set-aside-for-ever",
        "the end of the queue is left, and those that have been set aside are forgotten",
        Edit(
            CnaLock._wait_in_queue,
            "        if not queue.secondary:\n            queue.leave(cpu)\n            return\n        self._flush(cpu)\n",
            "        queue.leave(cpu)\n        return\n",
        ),
        on=("lock cna", "lock impatient-cna"),
    ),
    of_lock(
        "futex-released-without-a-wake",
        "who releases a mutex does not look whether others sleep for it",
        Edit(PthreadMutex._release, "    if before == AWAITED:\n", "    if False:\n"),
        on=("lock pthread-mutex",),
    ),
    of_lock(
        "rwmutex-last-reader-wakes-nobody",
        "the last reader of Asterinas's RwMutex does not wake a writer",
        Edit(WordRwMutex._read_unlock, "    if not self._readers:\n", "    if False:\n"),
        on=("lock word-rwmutex",),
    ),
    of_lock(
        "rcu-sync-waits-for-no-period",
        "a writer turns readers to the slow path and does not wait for those that are fast",
        Edit(RcuSync.enter, "    while self.state is GpState.ENTER:\n", "    while False:\n"),
        on=("lock percpu-rwsem",),
    ),
)
