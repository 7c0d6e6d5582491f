"""Is a history refused that no order explains, and one let through that another order does?"""

from __future__ import annotations

import pytest

from sim.mm import READ, READ_WRITE, Rights
from sim.verify.linearizability import Access, Call, Change, Rest, Search, begins, page


def unmap(begin: int, end: int, *, sure: bool = True) -> Change:
    return Change(begin, end, lambda rights: None, lambda rights: rights is not None, sure, "munmap")


def protect(begin: int, end: int, rights: Rights) -> Change:
    return Change(begin, end, lambda old: None if old is None else rights, lambda old: False, name="mprotect")


def discard(begin: int, end: int) -> Change:
    return Change(begin, end, lambda rights: rights, lambda rights: True, name="madvise")


def read(cpu: int, begin: int, end: int, version: int | None) -> Access:
    return Access(begin, end, cpu, False, version)


def write(cpu: int, begin: int, end: int, version: int | None) -> Access:
    return Access(begin, end, cpu, True, version)


def order(*calls: Call, rights: Rights | None = READ_WRITE, version: int = 7) -> list[Call] | None:
    """An order of *calls* on a page that holds *version* to begin with."""
    return Search(calls, page, begins(rights, version)).order()


def test_may_a_read_that_overlaps_a_write_be_put_before_it() -> None:
    """Its begin, its end and its place in the list are all behind those of the write's begin."""
    wrote, found = write(0, 0, 10, 8), read(1, 5, 12, 7)
    assert order(wrote, found) == [found, wrote]


def test_is_a_read_of_what_was_overwritten_before_refused() -> None:
    assert order(write(0, 0, 4, 8), read(1, 5, 12, 7)) is None
    assert order(write(0, 0, 4, 8), read(1, 5, 12, 8)) is not None


def test_are_two_reads_refused_that_see_two_writes_in_opposite_orders() -> None:
    """Each of the four values alone is possible; together no order explains them."""
    writes = write(0, 0, 9, 1), write(1, 0, 9, 2)
    first = read(2, 1, 2, 1), read(2, 3, 4, 2)
    assert order(*writes, *first, read(3, 3, 4, 1)) is not None
    assert order(*writes, *first, read(3, 5, 6, 1), read(3, 7, 8, 2)) is None


def test_is_old_memory_seen_until_a_munmap_returns_and_not_after() -> None:
    """Cpu 1 has lost the page, cpu 2 still translates it."""
    signal, found = read(1, 1, 2, None), read(2, 3, 4, 7)
    assert order(unmap(0, 9), signal, found) is not None
    assert order(unmap(0, 3), signal, read(2, 4, 5, 7)) is None


def test_does_a_cpu_that_has_the_new_page_never_see_the_old_one_again() -> None:
    new, old = read(1, 1, 2, 0), 7
    assert order(discard(0, 9), new, read(2, 3, 4, old)) is not None
    assert order(discard(0, 9), new, read(1, 3, 4, old)) is None


@pytest.mark.parametrize(("found", "fits"), [(0, True), (8, False)])
def test_is_a_write_through_an_old_translation_lost(found: int, fits: bool) -> None:
    """Cpu 1 has seen the zeros of the new page before cpu 2 writes to the old one."""
    calls = discard(0, 9), read(1, 1, 2, 0), write(2, 3, 4, 8), read(1, 5, 6, 0)
    assert (order(*calls, Rest(10, 10, READ_WRITE, found)) is not None) == fits


def test_are_rights_old_and_new_while_they_change_and_new_when_it_is_over() -> None:
    assert order(protect(0, 9, READ), write(1, 1, 2, None), write(2, 3, 4, 8)) is not None
    assert order(protect(0, 3, READ), write(2, 4, 5, 8)) is None
    assert order(protect(0, 3, READ), write(2, 4, 5, None), read(2, 6, 7, 7)) is not None


def test_may_what_was_refused_have_been_done_or_not() -> None:
    for version in (7, None):
        assert order(unmap(0, 3, sure=False), read(1, 4, 5, version)) is not None
    assert order(unmap(0, 3), read(1, 4, 5, 7)) is None


def test_is_the_rest_a_part_of_the_history() -> None:
    assert order(unmap(0, 3), Rest(5, 5, None, None)) is not None
    assert order(unmap(0, 3), Rest(5, 5, READ_WRITE, 7)) is None
    assert order(write(0, 0, 3, 8), Rest(5, 5, READ_WRITE, 7)) is None


def test_is_what_led_nowhere_not_tried_again() -> None:
    """Ten reads that anything explains, one that nothing does: to try all orders takes 10! steps."""
    reads = [read(each, 0, 9, 7) for each in range(10)]
    search = Search([*reads, read(10, 0, 9, 8)], page, begins(READ_WRITE, 7))
    assert search.order() is None
    assert search.states < 3000
