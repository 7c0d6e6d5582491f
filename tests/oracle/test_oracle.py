"""Do random programs leave exactly what a plain dictionary of pages predicts, on every design?

pytest -n auto -m slow tests/oracle     100,000 programs, about a quarter of an hour on two cores
"""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import BASE, KINDS, VARIANTS
from swapping import corten_swap

from sim.mm import (
    NOTHING,
    READ,
    READ_WRITE,
    Fork,
    Madvise,
    Mlock,
    Mmap,
    MmapFile,
    Mprotect,
    Munmap,
    Operation,
    Prepopulate,
    Touch,
    UffdCopy,
    UffdRegister,
    performer,
)
from sim.verify import InLast, OnFile, Program, Reclaim, check, draw_program, failure, shipped, shrunk
from sim.verify.drawing import DRAWN, NOT_DRAWN
from sim.verify.variants import LATR, PCID, offered

EVERY_KIND = pytest.mark.parametrize("kind", [*KINDS, *VARIANTS, "asterinas-0.18"])


@st.composite
def programs(draw: Any, kinds: list[str]) -> Program:
    return draw_program(lambda things: draw(st.sampled_from(things)), kinds)


@given(program=programs([*KINDS, *VARIANTS]))
@settings(max_examples=60)
def test_do_programs_leave_what_the_model_predicts(program: Program) -> None:
    check(program)


def agree(seeds: range, kinds: list[str], *, huge: bool = False) -> None:
    """The programs of *seeds* agree with the model; one that does not is shown in its smallest form."""
    for seed in seeds:
        program = draw_program(Random(seed).choice, kinds, huge=huge)
        if failure(program) is not None:
            check(shrunk(program))
            check(program)


@EVERY_KIND
def test_is_every_operation_of_a_design_known_to_the_oracle(kind: str) -> None:
    """A new one needs a function in `effects` and one in `programs` (docs/model.md, The oracle)."""
    assert offered(kind) - NOT_DRAWN == offered(kind) & DRAWN.keys()


@EVERY_KIND
@pytest.mark.slow
def test_do_some_hundred_programs_agree(kind: str) -> None:
    agree(range(80 if kind in KINDS else 25), [kind])


def test_do_programs_on_huge_pages_agree() -> None:
    agree(range(25), ["linux"], huge=True)


def test_do_shipped_designs_agree() -> None:
    agree(range(1000, 1040), shipped())


@EVERY_KIND
def test_does_a_page_that_a_populating_mmap_copies_keep_its_dirty_bit(kind: str) -> None:
    """Another thread writes to the page before mmap comes to populate it, and forks: so mmap copies it."""
    opening = [Mmap(1, BASE - 1), Touch([BASE - 1])]
    maps = [Fork(), Mmap(1, BASE + 1, populate=True)]
    writes = [Mprotect(BASE - 1, 1, READ_WRITE), Touch(range(BASE - 1, BASE + 2)), Fork()]
    check(Program(kind, "forking", [[opening], [maps, writes]]))


@pytest.mark.parametrize("kind", ["rw", "adv"])
def test_is_a_page_that_children_have_swapped_out_written_although_reclaim_goes_on(kind: str) -> None:
    """The hand of reclaim comes by between the faults of a write, if that needs more than one."""
    opening = [Mmap(6, BASE - 3)]
    writes = [Fork(), Fork(), Mprotect(BASE + 1, 1, NOTHING), Touch([BASE + 2])]
    takes = [Mlock(BASE - 1, 1), Reclaim()]
    rounds = [[opening], [[Touch([BASE - 2])], [Touch([BASE + 2], write=False)]], [writes, takes]]
    changes = {"va_allocator": "global", "munmap_flush": "synchronous", **corten_swap()}
    check(Program(kind, "forking", rounds, seed=803, changes=changes, machine=PCID))


@EVERY_KIND
def test_is_a_page_of_a_file_that_is_mapped_where_it_was_before_the_same_page(kind: str) -> None:
    """A lazy flush of the first mapping is still to come; what is written is written to the second one."""
    unknown: Any = None

    def maps(pages: int, offset: int, **how: bool) -> list[Operation]:
        return [OnFile(MmapFile(unknown, pages, offset, True, BASE + 4 - pages, **how), 1)]

    check(Program(kind, "apart", [[maps(1, 3, populate=True), []], [maps(3, 1)], [[Touch([BASE + 3])]]]))


@pytest.mark.parametrize("kind", ["rw", "adv"])
def test_is_a_private_copy_that_is_swapped_out_left_there_by_a_fault_on_its_neighbour(kind: str) -> None:
    unknown: Any = None
    maps = OnFile(MmapFile(unknown, 3, 0, False, BASE + 5), 1)
    reads = Touch([BASE + 6, BASE + 7], write=False)
    rounds = [[[maps, Touch([BASE + 7]), Reclaim(), reads]]]
    check(Program(kind, "alone", rounds, changes=corten_swap()))


BLOCK = 1000
PROGRAMS = 100_000


@pytest.mark.slow
@pytest.mark.parametrize("block", range(PROGRAMS // BLOCK))
def test_do_a_hundred_thousand_programs_agree(block: int) -> None:
    """Many on Linux with its switches thrown at random, a tenth of all with huge pages, the others on all
    designs that are shipped."""
    seeds = range(block * BLOCK, (block + 1) * BLOCK)
    agree(seeds, [*6 * ["linux"], *2 * ["rw", "adv"], *VARIANTS, *shipped()], huge=block % 10 == 9)


def test_is_a_page_that_a_huge_one_has_brought_not_filled_by_a_userfaultfd() -> None:
    """The fault on another page of the 2 MiB was before anybody registered this one."""
    start = BASE - 1024
    fills = [Touch([start + 87]), UffdRegister(start + 415, 1), UffdCopy(start + 415, start + 328, 1)]
    check(Program("linux-6.12-thp-always-aligned", "alone", [[[Mmap(700, start)]], [fills]]))


def test_are_the_pages_of_a_split_huge_page_flushed_lazily_in_several_parts() -> None:
    """LATR keeps each page of it for itself, and its first one may be in another part."""
    start = BASE - BASE % 512
    changes = {
        "huge_pages": {"thp": "always", "use_zero_page": False},
        "limits": {"gather_pages": 100},
        "latr": {**LATR, "slots": 256},
    }
    split = [Touch([start + 3]), Mprotect(start + 7, 1, READ)]
    rounds = [[[Mmap(512, start), *split], []], [[], [Touch([start + 300])]], [[Munmap(start, 512)], []]]
    check(Program("linux", "shared", rounds, changes=changes))


@pytest.mark.parametrize("asked", [Prepopulate, partial(Madvise, advice="populate_write"), Mlock])
def test_is_memory_populated_that_another_thread_makes_zeros_meanwhile(asked: Any) -> None:
    """It reads another page of the same 2 MiB: whoever comes second finds the huge page of zeros."""
    start = BASE - BASE % 512
    reads = [Touch([start + 190], write=False)]
    rounds = [[[Mmap(512, start)], []], [[asked(start, 3)], reads]]
    changes = {"huge_pages": {"thp": "always"}}
    for seed in range(8):
        check(Program("linux", "apart", rounds, ties="shuffle", seed=seed, changes=changes, delays=0.2))


def test_can_a_program_that_failed_be_pasted_and_run_again() -> None:
    found: list[Program] = []
    names: dict[str, Any] = {}
    exec("from sim.mm import *; from sim.verify import *", names)
    for seed in range(30):
        written = str(draw_program(Random(seed).choice))
        exec(written, {**names, "check": found.append})
        assert str(found[-1]) == written


def test_is_a_failing_program_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant refuses mprotect of page BASE + 2 alone; what else the program does goes."""
    from sim.designs.linux.space import LinuxSpace

    handler: Any = LinuxSpace.operations[Mprotect]

    def forgets(mm: Any, cpu: Any, asked: Mprotect) -> Any:
        if asked.at <= BASE + 2 < asked.at + asked.pages:
            return None
        return (yield from handler(mm, cpu, asked))

    monkeypatch.setattr(performer, "_OFFERED", {})
    monkeypatch.setattr(LinuxSpace, "operations", {**LinuxSpace.operations, Mprotect: forgets})
    part = [
        Mmap(8, BASE),
        Touch(range(BASE, BASE + 8)),
        InLast(Munmap(0, 1)),
        Mprotect(BASE, 8, READ),
        Mprotect(BASE + 4, 2, READ_WRITE),
    ]
    program = Program("linux", "alone", [[[Mmap(3, BASE + 100)]], [part]], ties="shuffle", seed=3)
    small = shrunk(program)
    (threads,) = small.rounds
    (operations,) = threads
    assert operations == [Mprotect(BASE + 2, 1, READ)]  # of a hole
    error = failure(small)
    assert error is not None
    assert str(small) in "\n".join(error.__notes__)
