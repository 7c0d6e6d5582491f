"""Is a model with a bug in it caught, by programs drawn at random?

Each mutant leaves one thing out or does it in the wrong order (`sim/verify/mutants`). The right model is let
through by the same programs (`test_oracle`). `cortensim verify --mutants` does this for all of them.
"""

from __future__ import annotations

import pytest

from sim.errors import InputError, ModelError
from sim.sync import RwSem
from sim.verify import Budget, Hunt, found_mutants, hunt, scenarios
from sim.verify.checking import Run
from sim.verify.hunting import hunt_all
from sim.verify.mutants import MUTANTS, Edit, Mutant
from sim.verify.mutants.mutant import plain
from sim.verify.process import Process
from sim.verify.unchecked import run_unchecked

AT_ONCE = (
    *[
        "page-not-zeroed",
        "first-touch-without-second-look",
        "bulk-zap-overlooks-a-changed-entry",
        "tables-stay",
        "table-linked-over-another",
        "huge-split-mixes-up-frames",
        "userfault-answered-without-bytes",
        "userfault-overwrites-a-page",
        "mmap-under-a-read-lock",
        "fork-without-flush",
        "morsel-stores-without-comparing",
        "morsel-reference-allows-all",
        "adv-locks-nothing-below",
        "rw-lets-ancestors-go",
        "mark-skips-the-last-page",
        "last-owner-that-is-none",
        "shared-memory-copied-by-fork",
        "move-asks-not-whether-all-is-one-mapping",
        "locked-memory-forgets-it",
        "room-one-page-too-small",
        "swapped-out-and-not-written",
        "asterinas-frees-without-a-flush",
        "asterinas-write-to-a-shared-page",
        "nros-reader-does-not-wait",
        "nros-frees-before-all-acknowledge",
        "nros-targets-do-not-replay",
        "radix-core-not-in-the-set",
        "radix-lock-bit-not-copied",
        "refcache-forgets-whom-it-evicts",
        "no-flush",
        "flush-asks-all-but-one",
        "generation-off-by-one",
        "entered-space-not-asked",
        "acknowledged-before-it-is-done",
        "rwsem-writer-wakes-nobody",
        "rwsem-last-reader-wakes-nobody",
        "rwsem-downgrade-lets-a-writer-in",
        "rwsem-reader-steals-from-a-writer",
        "rwsem-spinner-takes-without-a-second-look",
        "rwsem-spinner-never-told",
        "xadd-rwsem-wakes-nobody",
        "mcs-forgets-a-successor-that-links-itself",
        "mcs-does-not-wait",
        "queue-link-not-told",
        "qspinlock-pending-takes-a-held-lock",
        "qspinlock-head-overtakes-pending",
        "qspinlock-newcomer-takes-a-wanted-lock",
        "bravo-reader-out-tells-nobody",
        "phase-fair-writer-does-not-drain",
        "phase-fair-reader-does-not-wait",
        "phase-fair-last-reader-tells-nobody",
        "mutex-handoff-to-nobody",
        "mutex-wakes-nobody",
        "mutex-stolen-from-its-next-owner",
        "percpu-rwsem-writer-does-not-drain",
        "percpu-rwsem-sums-all-but-one",
        "percpu-rwsem-reader-out-tells-nobody",
        "word-rwlock-writer-beside-readers",
        "ticket-drawn-twice",
        "cna-set-aside-for-ever",
        "futex-released-without-a-wake",
    ],
)
"""Those that a few programs catch."""
SOON = (
    *[
        "zero-page-writable",
        "cow-without-copy",
        "cow-without-flush",
        "cow-takes-a-changed-entry",
        "fault-asks-no-vma",
        "bulk-zap-without-flush",
        "process-madvise-forgets-to-flush",
        "madvise-skips-the-last-page",
        "tables-freed-with-a-neighbour-inside",
        "copy-of-something-else",
        "file-forgets-who-maps-it",
        "refcount-writer-waits-for-nobody",
        "refcount-last-reader-wakes-nobody",
        "gather-frees-before-the-flush",
        "fork-lets-the-parent-write",
        "cow-believes-to-be-alone",
        "fork-misses-the-last-page",
        "fork-duplicates-all-but-one-vma",
        "fork-lets-others-map-meanwhile",
        "exit-leaves-a-file-mapped",
        "morsel-exit-leaves-its-entry",
        "swap-slot-not-counted-by-a-child",
        "descriptor-never-given-back",
        "rw-covers-without-a-write-lock",
        "unmap-flushes-after-the-unlock-only-here",
        "unmap-goes-past-the-end",
        "discard-without-flush",
        "fork-without-flush-in-cortenmm",
        "asterinas-mprotect-without-flush",
        "asterinas-faults-without-the-vmar-lock",
        "nros-all-but-one-acknowledge",
        "nros-unmap-leaves-the-entry",
        "radix-set-of-cores-not-cleared",
        "radix-asks-nobody",
        "radix-frame-freed-before-the-flush",
        "radix-fork-lets-both-write",
        "flush-forgets-the-first-page",
        "flush-forgets-the-last-page",
        "lazy-cpu-not-told-later",
        "latr-frees-when-it-publishes",
        "numapte-asks-the-owner-only",
        "fpr-page-leaves-without-a-flush",
        "fpr-maps-an-address-again",
        "exclusive-mmap-lock-let-go-by-a-downgrade",
        "rwsem-handoff-not-given-back",
        "bravo-writer-leaves-the-bias",
        "rwmutex-last-reader-wakes-nobody",
        "rcu-sync-waits-for-no-period",
    ],
)
"""Those that some dozens catch."""
SILENT = ("NameError", "SyntaxError", "UnboundLocalError", "TypeError", "AttributeError", "ImportError")
"""What no bug of a protocol is: an edit that makes no sense."""


def hunted(name: str, executions: int, seconds: float = 60) -> Hunt:
    done = hunt(MUTANTS[name], Budget(seconds, executions), 0, shrinking=0)
    assert done.caught is not None, f"{executions} programs have not caught the mutant"
    assert not any(word in done.caught.check for word in SILENT), done.caught.found
    return done


@pytest.mark.parametrize("name", AT_ONCE)
def test_is_a_mutant_caught_at_once(name: str) -> None:
    hunted(name, 60)


@pytest.mark.ci
@pytest.mark.parametrize("name", SOON)
def test_is_a_mutant_caught_soon(name: str) -> None:
    hunted(name, 400)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in (*AT_ONCE, *SOON)])
def test_is_a_mutant_caught_in_the_end(name: str) -> None:
    """One that survives is told, and not removed: docs/verification.md says which, and what would see it."""
    done = hunt(MUTANTS[name], Budget(15), 0, shrinking=0)
    if done.caught is None:
        pytest.skip(f"survived {done.programs} programs")
    assert not any(word in done.caught.check for word in SILENT), done.caught.found


def test_are_there_enough_of_them_and_does_each_fit_the_model() -> None:
    assert len(MUTANTS) >= 60
    codes = {}
    for mutant in MUTANTS.values():
        assert mutant.edits, mutant.name
        assert mutant.breaks[-1] != ".", mutant.name
        for edit in mutant.edits:
            codes.setdefault(plain(edit.function), plain(edit.function).__code__)
        with mutant.applied():
            for edit in mutant.edits:
                assert plain(edit.function).__code__ is not codes[plain(edit.function)], mutant.name
        for edit in mutant.edits:
            assert plain(edit.function).__code__ is codes[plain(edit.function)], mutant.name


@pytest.mark.parametrize("old", ["nowhere to be found", "self"])
def test_is_an_edit_that_does_not_fit_told(old: str) -> None:
    """What is not there, and what is there several times."""
    mutant = Mutant("x", "x", [Edit(RwSem._read_unlock, old, "pass")])
    code = RwSem._read_unlock.__code__
    with pytest.raises(ModelError, match="times, not once"), mutant.applied():
        pass
    assert RwSem._read_unlock.__code__ is code


@pytest.mark.parametrize(
    "name",
    [
        "fork-lets-the-parent-write",
        "fork-without-flush",
        "cow-believes-to-be-alone",
        "exit-leaves-a-page",
        "last-owner-that-is-none",
        "discard-without-flush",
    ],
)
def test_does_the_model_alone_see_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The invariants of the kernel's state are not looked at, nor the rules while it runs."""
    monkeypatch.setattr(Process, "verify", lambda process: None)
    monkeypatch.setattr(Run, "rules_of_protocols", lambda run: ())
    assert "invariant" not in hunted(name, 1000).caught.check  # type: ignore[union-attr]


SURVIVE_UNCHECKED = (
    "no-flush",
    "page-not-zeroed",
    "fork-misses-the-last-page",
    "latr-frees-without-a-flush",
    "mark-skips-the-last-page",
    "phase-fair-writer-does-not-drain",
    "word-rwlock-writer-beside-readers",
)


@pytest.mark.parametrize("name", SURVIVE_UNCHECKED)
def test_does_a_mutant_survive_if_nobody_looks(name: str) -> None:
    """The honest negative: the very program that shows it runs to its end with all checks disabled."""
    mutant = MUTANTS[name]
    caught = hunted(name, 400).caught
    assert caught is not None
    with mutant.applied():
        run_unchecked(caught.program)
        with pytest.raises(Exception, match=r".*"):
            scenarios.SCENARIOS[caught.scenario].check(caught.program)


def test_is_time_shared_among_mutants_and_is_each_told() -> None:
    names = ["mcs-does-not-wait", "word-rwlock-writer-beside-readers"]
    done = list(hunt_all([MUTANTS[name] for name in names], 20, 0))
    assert [each.mutant.name for each in done] == names
    assert all(each.caught for each in done)
    (blind,) = hunt_all([MUTANTS[names[0]]], 0.1, 0, checked=False)
    assert blind.caught is None


def test_is_a_mutant_of_no_name_told() -> None:
    with pytest.raises(InputError, match="did you mean 'no-flush'"):
        found_mutants(["no-flash"])
