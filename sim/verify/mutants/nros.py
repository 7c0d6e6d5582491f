"""NrOS: what its log, its replicas and its shootdowns promise each other."""

from __future__ import annotations

from sim.designs.nros import mprotect
from sim.designs.nros.log import Log
from sim.designs.nros.replica import Replica
from sim.designs.nros.shootdown import Shootdowns
from sim.designs.nros.vspace import VSpace
from sim.mm import Mmap, Touch
from sim.verify.kernels import BASE, LEAF
from sim.verify.mutants.mutant import Edit, Mutant
from sim.verify.programs import Program

NROS = ("nros-replicas",)
RACES = ("shared", "short histories", "apart")

BOTH_MAP = Program(
    "nros-replicas",
    "apart",
    [[[Mmap(24, BASE)], [Mmap(24, BASE + 8 * LEAF), Touch([BASE + 8 * LEAF])], [], []]],
)
"""Two threads of one replica map page after page, so that one has operations of the other in its batch."""

MUTANTS = (
    Mutant(
        "nros-answers-before-it-replays",
        "a map is answered when it is in the log, and the replica does not have it yet",
        [
            Edit(
                Replica._combine,
                "    yield from self.lock.write_lock(runner)\n    answers = ",
                "    early = [Answer(None, each.page, getattr(each, 'mapping', None)) for each in asked]\n"
                "    early = early if all(each.mapping for each in early) else []\n"
                "    if early:\n"
                "        yield from self._deliver(runner.cpu, batch, early)\n"
                "    yield from self.lock.write_lock(runner)\n    answers = ",
            ),
            Edit(
                Replica._combine,
                "    yield from self._deliver(runner.cpu, batch, answers)\n",
                "    if not early:\n        yield from self._deliver(runner.cpu, batch, answers)\n",
            ),
        ],
        NROS,
        programs=(BOTH_MAP,),
    ),
    Mutant(
        "nros-ctail-before-it-replays",
        "the completed tail moves before the entries have been replayed",
        [
            Edit(
                Log.replay,
                "    if replica.ltail == end:\n",
                "    self.ctail = max(self.ctail, end)\n    if replica.ltail == end:\n",
            )
        ],
        NROS,
        equivalent="readers and targets wait for more than they need, and for nothing else",
    ),
    Mutant(
        "nros-ltail-before-it-replays",
        "a replica says that it has replayed an entry when it begins to",
        [
            Edit(
                Log.replay,
                "        answer = yield from replica.vspace",
                "        replica.ltail = number + 1\n        answer = yield from replica.vspace",
            )
        ],
        NROS,
        scenarios=RACES,
    ),
    Mutant(
        "nros-reader-does-not-wait",
        "a fault looks at its replica without regard to what is completed elsewhere",
        [Edit(Replica._wait_for_tail, "    until = log.ctail\n", "    until = 0\n")],
        NROS,
        scenarios=RACES,
    ),
    Mutant(
        "nros-all-but-one-acknowledge",
        "an unmap goes on when one target is still missing",
        [
            Edit(Shootdowns._await, "    while shot.left:\n", "    while shot.left > 1:\n"),
            Edit(Shootdowns._await, "if shot.left and not", "if shot.left > 1 and not"),
            Edit(Shootdowns._acknowledge, "    if not shot.left:\n", "    if shot.left <= 1:\n"),
        ],
        NROS,
    ),
    Mutant(
        "nros-reuses-entries-too-soon",
        "the log wraps without regard to replicas that have not come so far",
        [Edit(Log._limit, "self.head + self._spec.entries - self._spec.reserve", "self.tail + 1")],
        NROS,
    ),
    Mutant(
        "nros-frees-before-all-acknowledge",
        "a frame is free before anybody else has been waited for",
        [
            Edit(
                Shootdowns.perform,
                "    if targets:\n        yield from self._await(runner, shot)\n    shot.gone = gone\n"
                "    if gone and not shot.undone:\n"
                "        yield from kernel.caches.put(runner, mapping.frame, mapping.order)\n",
                "    if gone:\n"
                "        yield from kernel.caches.put(runner, mapping.frame, mapping.order)\n"
                "    if targets:\n        yield from self._await(runner, shot)\n",
            )
        ],
        NROS,
    ),
    Mutant(
        "nros-frees-before-all-invalidate",
        "a frame is free when all have acknowledged, and some still have translations of it",
        [
            Edit(
                Shootdowns.perform,
                "    if gone and not shot.undone:\n",
                "    shot.gone = False\n    if gone:\n",
            )
        ],
        NROS,
    ),
    Mutant(
        "nros-targets-do-not-replay",
        "a target invalidates, and its replica still has the entry",
        [
            Edit(
                Shootdowns._process,
                "    yield from shot.space.replica_of(cpu).catch_up(runner)\n",
                "",
            )
        ],
        NROS,
        resembles="node-replicated-kernel at 38557a6, arch/x86_64/tlb.rs: Shootdown::process",
    ),
    Mutant(
        "nros-tells-its-own-node-alone",
        "an unmap asks the cores of its own replica",
        [
            Edit(
                Shootdowns.perform,
                "if cpu is not sender]",
                "if cpu is not sender and space.replica_of(cpu) is space.replica_of(sender)]",
            )
        ],
        NROS,
    ),
    Mutant(
        "nros-adjusts-without-a-shootdown",
        "rights are taken away, and TLBs and other replicas still have them",
        [Edit(mprotect._adjust, "    if answer.mapping is not None:\n", "    if False:\n")],
        NROS,
    ),
    Mutant(
        "nros-unmap-leaves-the-entry",
        "a mapping goes, and the page table still has it",
        [Edit(VSpace._unmap, "    yield from self._set(runner, table, page, None)\n", "")],
        NROS,
    ),
)
