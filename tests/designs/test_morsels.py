"""Morsels: a subtree of page tables as an object. What it has, who shares it, and what a crash would lose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kernels import BASE, LEAF, Process
from pydantic import ValidationError

from sim.designs.linux.spec import LinuxSpec
from sim.engine import Probe, Steps
from sim.engine.probe import CpuView
from sim.errors import ModelError
from sim.hardware import Cpu
from sim.mm import (
    READ,
    CreateMorsel,
    DestroyMorsel,
    Errno,
    Exit,
    Fork,
    Madvise,
    MapMorsel,
    Mprotect,
    Mremap,
    Munmap,
    SegmentationFault,
    Touch,
    frame_in,
    full_tables,
    has_meta,
    morsel_id,
    order_of,
    prebuilt_pages,
)

COSTS = dict.fromkeys(
    ("create", "map", "unmap", "fault", "level", "entry", "destroy", "destroy_slot"), "10 cycles"
)
PROTOTYPE = {"morsels": {"prebuilt": True, "fault_lock": "mmap_lock", "costs": COSTS}}
CONCEPT = {"morsels": {"prebuilt": False, "fault_lock": "none", "costs": COSTS}}
BOTH = pytest.mark.parametrize("changes", [PROTOTYPE, CONCEPT], ids=["prototype", "concept"])

Body = Callable[[Cpu], Steps[Any]]


class Driver(Process):
    """Processes on Linux with the driver, and what a thread in one of them gets as answers."""

    def __init__(self, changes: dict[str, Any] = PROTOTYPE, levels: int = 4, **options: Any) -> None:
        large = {"memory": {"size_per_socket": "4 GiB"}, "page_tables": {"levels": levels}}
        super().__init__("linux", changes=changes, machine=large, **options)

    def answers(self, *asked: Any, cpu: int = 0) -> list[Any]:
        found: list[Any] = []

        def body(cpu: Cpu) -> Steps[None]:
            for each in asked:
                kernel = isinstance(each, CreateMorsel | DestroyMorsel)
                found.append((yield from (self.kernel if kernel else self.space_of(cpu)).perform(cpu, each)))
                if isinstance(each, Fork):
                    self.spaces.append(found[-1])

        self.run({cpu: body})
        return found

    def create(self, order: int, **how: Any) -> int:
        (made,) = self.answers(CreateMorsel(order, **how))
        return int(made)

    def morsel(self, named: int) -> Any:
        return self.kernel.morsels.contents[frame_in(named)]

    @property
    def used(self) -> int:
        return len(self.kernel.memory.in_use)


class Zeroed(Probe):
    """How many pages have been zeroed."""

    pages = 0

    def frame_filled(self, cpu: CpuView, frame: int, source: int | None) -> None:
        self.pages += 1


@pytest.mark.parametrize("order", range(5))
def test_an_id_says_order_frame_and_meta(order: int) -> None:
    named = morsel_id(1 << 39 | 77, order, meta=order == 2)
    assert (order_of(named), frame_in(named), has_meta(named)) == (order, 1 << 39 | 77, order == 2)


def test_an_ordinary_entry_is_no_id() -> None:
    driver = Driver()
    assert order_of(77 << 12 | 0b111) is None
    assert driver.answers(MapMorsel(77 << 12 | 0b111), DestroyMorsel(7)) == [Errno.EINVAL, Errno.EINVAL]


@pytest.mark.parametrize(("order", "pages"), [(0, 1), (1, 1), (2, 1), (3, 513)])
def test_pages_of_a_new_morsel(order: int, pages: int) -> None:
    """Table 4.1 of the thesis; without upper tables from the beginning one page is enough for each order."""
    prototype, concept = Driver(), Driver(CONCEPT)
    assert len(list(prototype.morsel(prototype.create(order)).frames())) == pages == prebuilt_pages(order)
    assert len(list(concept.morsel(concept.create(order)).frames())) == 1


def test_tables_of_full_morsels() -> None:
    """Table 3.1 of the thesis: exact arithmetic, which one of order 1 and the tables of one of order 2 bear
    out."""
    assert [full_tables(order) for order in range(5)] == [0, 1, 513, 262_657, 134_480_385]
    assert prebuilt_pages(4) == 262_657
    driver = Driver()
    small, large = driver.create(1), driver.create(2)
    start, other = driver.answers(MapMorsel(small), MapMorsel(large))
    driver.answers(Touch(range(start, start + LEAF)), Touch(range(other, other + LEAF * LEAF, LEAF)))
    assert (driver.morsel(small).tables, driver.morsel(small).pages) == (1, LEAF)
    assert (driver.morsel(large).tables, driver.morsel(large).pages) == (513, LEAF)


@BOTH
def test_processes_share_pages_and_tables(changes: dict[str, Any]) -> None:
    """What one brings in the other has, at another address and with rights of its own."""
    driver = Driver(changes, processes=2)
    named = driver.create(2, meta=True)
    (mine,) = driver.answers(MapMorsel(named))
    (theirs,) = driver.answers(MapMorsel(named, 5 * LEAF * LEAF, READ), cpu=1)
    driver.answers(Touch([mine + 600]))
    first, second = driver.spaces
    assert second.present(theirs + 600).frame == first.present(mine + 600).frame
    assert [
        space.present(page).writable for space, page in ((first, mine + 600), (second, theirs + 600))
    ] == [
        True,
        False,
    ]
    with pytest.raises(SegmentationFault):
        driver.answers(Touch([theirs + 600]), cpu=1)
    assert all(table.level > 2 for space in driver.spaces for table in space.root.tables())


def test_the_meta_page_says_where() -> None:
    driver = Driver()
    named = driver.create(1, meta=True, fixed=7 * LEAF)
    assert driver.answers(MapMorsel(named), Munmap(7 * LEAF, LEAF), MapMorsel(named, LEAF)) == [
        7 * LEAF,
        None,
        LEAF,
    ]
    assert driver.answers(CreateMorsel(1, meta=True, fixed=3), CreateMorsel(1, fixed=LEAF)) == [
        Errno.EINVAL,
        Errno.EINVAL,
    ]


def test_it_is_mapped_as_a_whole() -> None:
    driver = Driver()
    named = driver.create(1)
    answers = driver.answers(
        MapMorsel(named, BASE + 1),
        MapMorsel(named, BASE),
        MapMorsel(named, BASE),
        Munmap(BASE + 5, 3),
        Mprotect(BASE, LEAF, READ),
        Madvise(BASE, LEAF),
        Mremap(BASE, LEAF, 2 * LEAF),
        Munmap(BASE, LEAF),
    )
    assert answers == [Errno.EINVAL, BASE, Errno.EEXIST, *4 * (Errno.EINVAL,), None]


def test_an_order_that_needs_five_levels() -> None:
    root = Driver().space.root.level
    driver = Driver(CONCEPT)
    named = driver.create(4)
    (answer,) = driver.answers(MapMorsel(named))
    assert (root, answer) == (4, Errno.EINVAL)


@pytest.mark.parametrize("levels", [4, 5])
def test_tables_that_are_built_from_the_beginning(levels: int) -> None:
    """They are there, looked at or not, until the morsel is destroyed; one of order 3 is below the root of
    four levels, and two levels below that of five."""
    driver = Driver(levels=levels)
    before = driver.used
    named = driver.create(3)
    start, _ = driver.answers(MapMorsel(named, 0), Touch([LEAF**2 * 3 + 7]))
    morsel = driver.morsel(named)
    assert (driver.space.root.level, start) == (levels, 0)
    assert (morsel.pages, morsel.tables) == (1, 513 + 1)
    driver.answers(Munmap(0, LEAF**3), DestroyMorsel(named))
    assert driver.used <= before + 5


def test_no_program_asks_for_an_address_above_128_tib() -> None:
    """Where one of order 4, which needs five levels, would have to lie."""
    driver = Driver(CONCEPT, levels=5)
    assert driver.answers(MapMorsel(driver.create(4), 0)) == [Errno.ENOMEM]


@BOTH
def test_it_outlives_those_who_map_it(changes: dict[str, Any]) -> None:
    """Exit of one who still maps it, as after a crash, takes its entry out; the rest finds all pages."""
    driver = Driver(changes, cpus=1)
    named = driver.create(1)
    start, child = driver.answers(MapMorsel(named), Fork())
    driver.answers(Touch([start + 3]), Exit())
    driver.run({0: lambda cpu: driver.load(cpu, child)})
    assert child.present(start + 3) is not None
    used = driver.used
    driver.answers(Munmap(start, LEAF), DestroyMorsel(named))
    assert driver.used < used
    driver.verify()


def test_unmapping_flushes_who_has_it_in_a_tlb() -> None:
    driver = Driver()
    named = driver.create(1)
    (start,) = driver.answers(MapMorsel(named))

    def touch(cpu: Cpu) -> Steps[None]:
        yield from driver.space.access(cpu, start + 1)

    def unmap(cpu: Cpu) -> Steps[None]:
        cpu.work(10_000_000, driver.machine.activity("wait"))
        yield cpu.take_pending()
        assert driver.cpus[1].tlb.peek(start + 1, driver.cpus[1].tlb.asid) is not None
        yield from driver.space.perform(cpu, Munmap(start, LEAF))
        assert driver.cpus[1].tlb.peek(start + 1, driver.cpus[1].tlb.asid) is None

    def idle(cpu: Cpu) -> Steps[None]:
        yield from touch(cpu)
        cpu.work(90_000_000, driver.machine.activity("wait"))
        yield cpu.take_pending()

    driver.run({0: unmap, 1: idle})


def test_destroyed_and_mapped_is_an_error_of_the_caller() -> None:
    driver = Driver()
    named = driver.create(1)
    with pytest.raises(ModelError, match="destroyed and mapped"):
        driver.answers(MapMorsel(named), DestroyMorsel(named))


def test_an_id_of_one_that_is_gone() -> None:
    driver = Driver()
    named = driver.create(1)
    with pytest.raises(ModelError, match="nothing lies in frame"):
        driver.answers(DestroyMorsel(named), MapMorsel(named))


@BOTH
def test_who_loses_the_race_goes_on_with_what_the_winner_has_stored(changes: dict[str, Any]) -> None:
    """Four threads populate the same pages at once: one page each, and no frame is lost."""
    zeroed = Zeroed()
    driver = Driver(changes, cpus=4, listeners=[zeroed])
    named = driver.create(2)
    (start,) = driver.answers(MapMorsel(named))
    used, zeroed.pages = driver.used, 0

    def touch(cpu: Cpu) -> Steps[None]:
        for page in range(20):
            yield from driver.space.access(cpu, start + page)

    driver.run(dict.fromkeys(range(4), touch))
    assert driver.morsel(named).pages == 20
    assert driver.used == used + 20 + 1
    assert zeroed.pages > 20 + 1, "nobody has lost a race"


class Freed(Probe):
    """At each free of one of *its* frames: which others are neither free nor linked any more."""

    def __init__(self) -> None:
        self.its: set[int] = set()
        self.linked: Callable[[], set[int]] = set
        self.gone: list[int] = []
        self.lost: list[set[int]] = []

    def frame_freed(self, cpu: CpuView, frame: int, order: int) -> None:
        if frame in self.its:
            linked = self.linked()
            assert frame not in linked, "a crash now would leave an entry that refers to a free frame"
            self.lost.append(self.its - linked - {*self.gone})
            self.gone.append(frame)


@pytest.mark.parametrize("meta", [False, True])
def test_a_crash_while_it_is_destroyed_loses_a_frame_at_most(meta: bool) -> None:
    """An entry is cleared, then its frame is free; what is left is whole, and smaller. With the root go the
    ID and, if there is one, the meta page."""
    freed = Freed()
    driver = Driver(cpus=1, listeners=[freed])
    named = driver.create(2, meta=meta)
    (start,) = driver.answers(MapMorsel(named))
    driver.answers(Touch([start, start + 1, start + LEAF]), Munmap(start, LEAF * LEAF))
    morsels = driver.kernel.morsels
    morsel = next(morsels.distinct())
    freed.linked = lambda: {*morsel.frames()} if morsels.contents else set()
    freed.its = freed.linked()
    driver.answers(DestroyMorsel(named))
    assert freed.lost == [{frame} for frame in freed.gone]
    assert len(freed.gone) == 6
    assert freed.gone[-1] == morsel.root.frame


def test_a_crash_while_it_is_populated_loses_a_frame_a_thread_at_most() -> None:
    driver = Driver(cpus=2)
    named = driver.create(2)
    (start,) = driver.answers(MapMorsel(named))
    in_use, morsel = driver.kernel.memory.in_use, driver.morsel(named)
    before = len(in_use) - len(list(morsel.frames()))
    lost: list[int] = []

    def body(cpu: Cpu) -> Steps[None]:
        for page in range(0, 3 * LEAF, 300):
            for step in driver.space.access(cpu, start + page):
                lost.append(len(in_use) - len(list(morsel.frames())) - before)
                yield step

    driver.run({0: body, 1: body})
    assert max(lost) <= 2
    assert min(lost) == 0


def test_objects_that_a_design_cannot_have() -> None:
    plain = Process("linux").kernel.spec.model_dump(by_alias=True)
    for objects, said in (({"kind": "morsel"}, "needs `morsels`"), ({"kind": "file"}, "shm")):
        with pytest.raises(ValidationError, match=said):
            LinuxSpec.model_validate({**plain, "objects": objects})
