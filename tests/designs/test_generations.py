"""Does each switch of a kernel generation change what that release changed, and nothing else?"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from kernels import BASE, LEAF, Process, design
from machines import NS, small_machine
from pydantic import ValidationError

from sim.analysis.published import default_files, read_published
from sim.designs import DesignSpec
from sim.designs.linux.addresses import HIGHEST_PAGE
from sim.engine import Activity, Probe, Steps
from sim.engine.probe import CpuView, LockView, Mode
from sim.files import load_spec, presets
from sim.hardware import Cpu
from sim.mm import READ, Madvise, Mmap, MmapShared, Mprotect, Munmap, Rights

US = 1000 * NS
RB = {"vma_index": "rbtree", "vma_lock": "none"}
BROADCAST = {
    "tlb": {
        "pcid": True,
        "switch": "50 ns",
        "broadcast": {"issue": "20 ns", "pages_per_issue": 8, "sync": "600 ns"},
    }
}


class Takes(Probe):
    """How often locks were taken, by name and mode."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []

    def lock_acquired(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        self.taken.append((lock.name, mode))


def switched(cpus: int = 2, listeners: tuple[Probe, ...] = (), **switches: Any) -> Process:
    return Process("linux", cpus=cpus, changes={"switches": switches}, listeners=listeners)


# -- munmap_downgrade ----------------------------------------------------------------------------------


@pytest.mark.parametrize("downgrade", [True, False])
def test_does_a_fault_wait_for_the_zap_of_another_mapping_before_4_20(downgrade: bool) -> None:
    """Without VMA locks a fault needs mmap_lock for reading, which a zap under the write lock keeps."""
    process = Process(
        "linux", changes={**RB, "switches": {"munmap_downgrade": downgrade}, "costs": {"zap_page": "100 us"}}
    )
    process.do(("mmap", 4, BASE), ("mmap", 1, BASE + 8), *(("touch", BASE + page) for page in range(4)))
    ended: dict[str, int] = {}

    def unmaps(cpu: Cpu) -> Steps[None]:
        yield from process.space.perform(cpu, Munmap(BASE, 4))
        ended["munmap"] = cpu.now

    def faults(cpu: Cpu) -> Steps[None]:
        cpu.work(30 * US, Activity("user"))  # the zap has begun
        yield from process.space.access(cpu, BASE + 8)
        ended["fault"] = cpu.now

    process.run({0: unmaps, 1: faults})
    assert (ended["fault"] < ended["munmap"]) is downgrade


# -- dontneed_lock -------------------------------------------------------------------------------------


def test_do_discards_in_different_vmas_leave_mmap_lock_alone_since_6_17() -> None:
    for lock, in_reading in (("mmap", 2), ("vma", 0)):
        takes = Takes()
        process = switched(dontneed_lock=lock, listeners=(takes,))
        process.do(("mmap", 4, BASE), ("mmap", 4, BASE + 8), ("touch", BASE), ("touch", BASE + 8))
        takes.taken.clear()

        def discards(at: int, process: Process = process) -> Callable[[Cpu], Steps[None]]:
            def body(cpu: Cpu) -> Steps[None]:
                assert (yield from process.space.perform(cpu, Madvise(at, 4))) is None

            return body

        process.run({0: discards(BASE), 1: discards(BASE + 8)})
        assert not list(process.space.root.present_entries())
        assert takes.taken.count(("mmap_lock", "read")) == in_reading
        assert not any(mode == "write" for name, mode in takes.taken if name == "mmap_lock")


def test_does_a_discard_of_two_vmas_take_mmap_lock_after_all() -> None:
    takes = Takes()
    process = switched(dontneed_lock="vma", listeners=(takes,))
    process.do(("mmap", 4, BASE), ("mmap", 4, BASE + 8), ("touch", BASE), ("touch", BASE + 8))
    takes.taken.clear()
    process.do(("discard", BASE, 12))
    assert takes.taken.count(("mmap_lock", "read")) == 1
    assert not list(process.space.root.present_entries())


def test_does_munmap_wait_for_a_discard_that_holds_its_vma() -> None:
    """Whoever wants to detach the VMA waits for its lock, as he did for mmap_lock before."""
    process = Process(
        "linux", changes={"switches": {"dontneed_lock": "vma"}, "costs": {"zap_page": "100 us"}}
    )
    process.do(("mmap", 4, BASE), *(("touch", BASE + page) for page in range(4)))
    ended: dict[str, int] = {}

    def discards(cpu: Cpu) -> Steps[None]:
        yield from process.space.perform(cpu, Madvise(BASE, 4))
        ended["discard"] = cpu.now

    def unmaps(cpu: Cpu) -> Steps[None]:
        cpu.work(30 * US, Activity("user"))
        yield from process.space.perform(cpu, Munmap(BASE, 4))
        ended["munmap"] = cpu.now

    process.run({0: discards, 1: unmaps})
    assert ended["discard"] < ended["munmap"]
    assert not list(process.space.tree)


# -- anon_vma_early_check ------------------------------------------------------------------------------


@pytest.mark.parametrize("early", [True, False])
def test_which_faults_take_mmap_lock_as_a_whole_from_6_4_to_6_9(early: bool) -> None:
    """The first of a VMA, be it a read; not the second, and none since 6.10 but for making the anon_vma."""
    takes = Takes()
    process = switched(anon_vma_early_check=early, listeners=(takes,))
    process.do(("mmap", 4, BASE))
    counts = []
    for page, write in ((0, False), (0, True), (1, True)):
        takes.taken.clear()

        def touches(cpu: Cpu, page: int = page, write: bool = write) -> Steps[None]:
            yield from process.space.access(cpu, BASE + page, write=write)

        process.run({0: touches})
        counts.append(takes.taken.count(("mmap_lock", "read")))
    assert counts == ([1, 1, 0] if early else [0, 1, 0])


def test_does_a_fault_in_shared_memory_keep_its_vma_lock_all_the_same() -> None:
    """Its VMA needs no anon_vma."""
    takes = Takes()
    process = switched(anon_vma_early_check=True, listeners=(takes,))

    def maps_and_touches(cpu: Cpu) -> Steps[None]:
        at = yield from process.space.perform(cpu, MmapShared(4))
        yield from process.space.access(cpu, at)

    process.run({0: maps_and_touches})
    assert ("mmap_lock", "read") not in takes.taken


# -- thp_align -----------------------------------------------------------------------------------------


def placed(align: str, *sizes: int) -> list[int]:
    """Where mappings of these sizes begin, in pages below the top of the mmap area."""
    process = switched(thp_align=align)
    return [HIGHEST_PAGE - start for start in process.do(*(("mmap", size) for size in sizes))]


SKEW = HIGHEST_PAGE % LEAF
"""The mmap area does not end at a multiple of 2 MiB."""


@pytest.mark.parametrize(
    ("align", "sizes", "below"),
    [
        ("none", [LEAF], [LEAF]),
        ("none", [LEAF + 1, 1], [LEAF + 1, LEAF + 2]),
        ("multiple", [LEAF - 1], [LEAF - 1]),
        ("multiple", [LEAF + 1], [LEAF + 1]),
        ("multiple", [LEAF], [LEAF + SKEW]),
        # The room below an aligned mapping begins at a multiple too: the next one meets it.
        ("multiple", [LEAF, LEAF, 2 * LEAF], [LEAF + SKEW, 2 * LEAF + SKEW, 4 * LEAF + SKEW]),
        # Small ones go to the highest gap, which the aligned one has left.
        ("multiple", [LEAF, 1], [LEAF + SKEW, 1]),
        ("always", [LEAF - 1], [LEAF - 1]),
        # 2 MiB and a page: begins at a multiple, so the next one leaves a hole between.
        ("always", [LEAF + 1, LEAF + 1], [LEAF + SKEW, 3 * LEAF + SKEW]),
    ],
)
def test_where_do_anonymous_mappings_begin(align: str, sizes: list[int], below: list[int]) -> None:
    assert placed(align, *sizes) == below


def test_is_shared_memory_not_aligned() -> None:
    """It is a file of tmpfs, which looks for its own place."""
    process = switched(thp_align="always")
    found: list[int] = []

    def maps(cpu: Cpu) -> Steps[None]:
        found.append((yield from process.space.perform(cpu, MmapShared(LEAF))))

    process.run({0: maps})
    assert found == [HIGHEST_PAGE - LEAF]


def test_do_aligned_neighbours_merge() -> None:
    process = switched(thp_align="multiple")
    process.do(("mmap", LEAF), ("mmap", LEAF), ("mmap", 3 * LEAF))
    (vma,) = process.space.tree
    assert vma.pages == 5 * LEAF


def test_is_a_mapping_put_anywhere_if_there_is_no_room_to_align_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sim.designs.linux.space_locks.base.FIRST_PAGE", HIGHEST_PAGE - LEAF)
    assert placed("multiple", LEAF) == [LEAF]


# -- whole kernels -------------------------------------------------------------------------------------


def left_by(process: Process) -> list[tuple[int, int, Rights]]:
    """What four threads that map, touch, discard and unmap, each at a place of its own, leave mapped."""

    def body(cpu: Cpu) -> Steps[None]:
        at = BASE + 64 * cpu.id
        for turn in range(6):
            yield from process.space.perform(cpu, Mmap(16, at))
            for page in range(0, 16, 3):
                yield from process.space.access(cpu, at + page)
            yield from process.space.perform(cpu, Madvise(at, 4))
            yield from process.space.perform(cpu, Munmap(at + 4 * (turn % 3), 5))
        anywhere = yield from process.space.perform(cpu, Mmap(2 * LEAF))
        yield from process.space.access(cpu, anywhere)
        yield from process.space.perform(cpu, Munmap(anywhere, 2 * LEAF))
        yield from process.space.perform(cpu, Mprotect(at, 4, READ))

    process.run({cpu.id: body for cpu in process.cpus})
    return [(vma.start, vma.end, vma.rights) for vma in process.space.tree]


@pytest.fixture(scope="module")
def expected() -> list[tuple[int, int, Rights]]:
    """What a kernel for tests leaves, with all threads in turn."""
    return left_by(Process("linux", cpus=4))


@pytest.mark.parametrize("index", ["rbtree", "rbtree-mmap-cache"])
@pytest.mark.parametrize(
    "lock", ["rwsem", "rwsem-spinning-readers", "rwsem-xadd", "rwsem-xadd-sleeping", "rwsem-granting"]
)
@pytest.mark.parametrize("downgrade", [True, False])
def test_is_the_same_left_whatever_vmas_are_found_in_and_mmap_lock_is(
    index: str, lock: str, downgrade: bool, expected: list[tuple[int, int, Rights]]
) -> None:
    old = {"vma_index": index, "vma_lock": "none", "mmap_lock": lock}
    changes = {**old, "switches": {"munmap_downgrade": downgrade}}
    assert left_by(Process("linux", cpus=4, ties="shuffle", seed=3, changes=changes)) == expected


@pytest.mark.parametrize("name", [name for name in presets.names("design") if name.startswith("linux-")])
def test_does_every_kernel_on_board_leave_the_same(
    name: str, expected: list[tuple[int, int, Rights]]
) -> None:
    spec = cast(DesignSpec, load_spec("design", name).spec)
    machine = BROADCAST if spec.refuses(small_machine().spec) else {}
    assert left_by(Process("linux", cpus=4, ties="shuffle", seed=3, spec=spec, machine=machine)) == expected


def test_does_a_file_that_changes_nothing_say_so() -> None:
    """A release that is simulated as its neighbour is a file of its own, which says why."""
    for path in sorted(presets.folder("design").glob("linux-[0-9]*.yaml")):
        text = path.read_text()
        keys = set(yaml.safe_load(text)) - {"name", "title", "inherits", "release"}
        says_so = "Nothing that the model knows differs from" in text or "as the model\n# knows it" in text
        assert bool(keys) is not (says_so or "as the model knows it" in text), path.name


def test_has_every_kernel_that_was_measured_a_design() -> None:
    """Releases, and in the files about Linux what is no plain release; some lie beside their rows."""
    systems = {
        row.system
        for row in read_published(default_files())
        if re.fullmatch(r"linux-\d+\.\d+(\.\d+)?", row.system)
        or (row.system.startswith("linux-") and Path(row.file).name.startswith("linux_"))
    }
    beside = {path.stem for file in default_files() for path in Path(file).parent.glob("linux-*.yaml")}
    assert len(systems) > 5
    assert sorted(systems - set(presets.names("design")) - beside) == []


def test_is_a_search_without_mmap_lock_refused_in_a_tree_that_does_not_bear_it() -> None:
    with pytest.raises(ValidationError, match="without mmap_lock"):
        design("linux", {"vma_index": "rbtree"})


def test_are_calls_of_another_kernel_refused() -> None:
    with pytest.raises(ValidationError, match="in its own way"):
        design("linux", {"flush": {"calls": "sv6"}})


# -- limits.pcp_high_fraction, pcp_batch_scale -------------------------------------------------------------


def test_do_lists_of_free_pages_tune_themselves_since_6_7_and_in_no_release_before() -> None:
    for name in presets.files_of("design"):
        spec = cast(Any, load_spec("design", name).spec)
        if spec.family == "linux" and spec.page_allocator == "buddy":
            new = spec.release >= (6, 7)
            assert (spec.limits.pcp_high_fraction is not None, spec.limits.pcp_batch_scale > 0) == (
                new,
                new,
            ), name


# -- a fault under mmap_lock ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begins", "alone", "beside_a_reader"), [("load", "RW", "RW"), ("cmpxchg", "W", "WW")]
)
def test_does_a_fault_try_mmap_lock_before_it_waits_for_it(
    begins: str, alone: str, beside_a_reader: str
) -> None:
    """get_mmap_lock_carefully: a load and a cmpxchg, or up to 5.15 a cmpxchg, and another one where somebody
    reads. Then up_read."""
    changes = {**RB, "switches": {"prefetchw_mmap_lock": False}, "rwsem": {"read_trylock": begins}}
    process = Process("linux", cpus=3, changes=changes)
    process.do(("mmap", 4, BASE), ("touch", BASE))
    count = process.space.mmap_lock.count
    seen: list[str] = []

    def spied(kind: str, access: Callable[[Cpu, Activity], Steps[Any]]) -> object:
        def accessed(cpu: Cpu, activity: Activity) -> Steps[Any]:
            seen.append(kind)
            return access(cpu, activity)

        return staticmethod(accessed)

    spy = {"read_to_write": spied("R", count.read_to_write), "write": spied("W", count.write)}
    process.space.mmap_lock.count = cast(Any, type("Spied", (), spy)())
    process.do(("touch", BASE + 1))
    assert "".join(seen) == alone + "W"
    process.space.mmap_lock.readers += 1
    seen.clear()
    process.do(("touch", BASE + 2))
    process.space.mmap_lock.readers -= 1
    assert "".join(seen) == beside_a_reader + "W"
