"""Folios of several pages that a first write brings in: where they fit, what they cost, and where they go."""

from __future__ import annotations

from typing import Any

import pytest
from contents import Files
from kernels import BASE, LEAF, design
from pydantic import ValidationError

from sim.mm import READ, Fork, Madvise, Mmap, Mprotect, Munmap, Prepopulate, Touch


def folios(*sizes: str, **options: Any) -> Files:
    changes = {"huge_pages": {"folios": list(sizes), **options.pop("huge_pages", {})}}
    return Files(changes=changes, **options)


def present(files: Files) -> list[int]:
    """Offsets of the present pages from `BASE` on."""
    return [page - BASE for page, _ in files.space.root.present_entries()]


def blocks(files: Files) -> list[int]:
    """How many pages the folios have, in the order of their addresses."""
    in_use = files.space.pages.in_use
    heads = dict.fromkeys(in_use.head(entry.frame) for _, entry in files.space.root.present_entries())
    return [1 << in_use.orders.get(head, 0) for head in heads]


@pytest.mark.parametrize(
    ("sizes", "start", "end", "page", "found"),
    [
        (["64 KiB"], 0, 64, 21, range(16, 32)),
        (["64 KiB"], 0, 31, 21, range(21, 22)),  # the mapping ends before it would
        (["64 KiB"], 20, 64, 21, range(21, 22)),  # or begins inside it
        (["16 KiB", "64 KiB"], 0, 31, 21, range(20, 24)),
        (["16 KiB", "1 MiB"], 0, 256, 21, range(256)),
        ([], 0, 64, 21, range(21, 22)),
    ],
)
def test_is_the_largest_folio_taken_that_lies_in_the_mapping(
    sizes: list[str], start: int, end: int, page: int, found: range
) -> None:
    files = folios(*sizes)
    files.do(Mmap(end - start, BASE + start))
    files.run(files.write(page))
    assert present(files) == [*found]
    assert blocks(files) == [len(found)]
    assert files.space.stat.anon_pages == len(found)
    files.do(Munmap(BASE, LEAF))
    files.end()


def test_is_a_read_one_page_of_zeros_and_a_folio_smaller_where_something_is() -> None:
    files = folios("16 KiB", "64 KiB")
    files.do(Mmap(64, BASE))
    files.run(files.read(9), files.write(2), files.write(5))
    assert present(files) == [0, 1, 2, 3, 4, 5, 6, 7, 9]
    files.run(files.write(8))  # beside the page of zeros
    assert present(files)[8:] == [8, 9]
    assert blocks(files) == [4, 4, 1, 1]
    files.do(Munmap(BASE, 64))
    files.end()


def test_is_a_smaller_block_enough_where_memory_has_no_larger_one() -> None:
    files = folios(
        "16 KiB",
        "64 KiB",
        machine={"memory": {"size_per_socket": "4 MiB"}, "topology": {"sockets": 1, "numa_nodes": 1}},
    )
    files.do(Mmap(1000, BASE))
    files.run(*(files.write(page) for page in range(0, 992, 16)))
    assert blocks(files)[:40] == [16] * 40
    assert {*blocks(files)} == {16, 4}
    files.do(Munmap(BASE, 1000))
    files.end()


@pytest.mark.parametrize(
    ("who", "advice", "pages"),
    [("madvise", None, 1), ("madvise", "hugepage", 16), ("always", "nohugepage", 1)],
)
def test_which_memory_gets_folios(who: str, advice: Any, pages: int) -> None:
    files = folios("64 KiB", huge_pages={"folios_for": who})
    files.do(Mmap(64, BASE), *([Madvise(BASE, 64, advice)] if advice else []))
    files.run(files.write(7))
    assert len(present(files)) == pages
    files.do(Munmap(BASE, 64))
    files.end()


def test_is_memory_that_is_there_beforehand_in_folios_too() -> None:
    files = folios("64 KiB")
    files.do(Mmap(LEAF, BASE), Prepopulate(BASE, LEAF))
    assert present(files) == [*range(LEAF)]
    assert blocks(files) == [16] * (LEAF // 16)
    files.do(Munmap(BASE, LEAF))
    files.end()


def test_is_a_folio_free_when_its_last_page_has_gone() -> None:
    files = folios("64 KiB")
    files.do(Mmap(64, BASE), Touch([BASE + 3]))
    (head,) = {files.space.pages.in_use.head(entry.frame) for _, entry in files.space.root.present_entries()}
    files.do(Munmap(BASE, 9), Mprotect(BASE + 12, 2, READ), Madvise(BASE + 10, 2, "dontneed"))
    assert head in files.space.pages.in_use.orders
    assert present(files) == [9, 12, 13, 14, 15]
    files.do(Munmap(BASE, 64))
    assert head not in files.space.pages.in_use.orders
    files.end()


def test_is_a_shared_folio_copied_page_by_page() -> None:
    files = folios("64 KiB")
    files.do(Mmap(64, BASE), Touch([BASE + 3]))

    def fork(cpu: Any) -> Any:
        child = yield from files.space.perform(cpu, Fork())
        files.process.spaces.append(child)
        return child

    files.run(fork)
    files.run(files.write(4))
    assert sorted(blocks(files)) == [1, 16]
    assert len(present(files)) == 16
    files.end()


def test_is_the_fault_that_was_slower_on_the_same_folio_given_its_block_back() -> None:
    files = folios("64 KiB")
    files.do(Mmap(64, BASE))
    files.process.run({cpu: files.step(Touch([BASE + 3 + 9 * cpu])) for cpu in (0, 1)})
    assert present(files) == [*range(16)]
    assert blocks(files) == [16]
    files.do(Munmap(BASE, 64))
    files.end()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"huge_pages": {"folios": ["8 KiB"]}}, "16, 32, 64"),
        ({"huge_pages": {"folios": ["2 MiB"]}}, "16, 32, 64"),
        ({"huge_pages": {"folios": ["64 KiB", "64 KiB"]}}, "each size once"),
    ],
)
def test_which_sizes_there_are(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        design("linux", changes)
