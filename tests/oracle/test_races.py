"""Is what threads may see of each other little enough: old until an operation ends, new once it begins?"""

from __future__ import annotations

import pytest
from kernels import BASE

from sim.designs import Rules
from sim.mm import READ, READ_WRITE, Madvise, Mmap, Mprotect, Munmap, Operation
from sim.verify.races import History

RULES = Rules(zero_page=True, holes_end_mprotect=True, frees_tables=True, kernel_dirties=True)


def history() -> History:
    """One page, mapped, with version 1 in it."""
    past = History(RULES)
    past.end(past.begin(Mmap(1, BASE)), sure=True)
    write(past, 1)
    return past


def write(past: History, version: int) -> None:
    past.accessed(BASE, past.now(), write=True, version=version)


def readable(past: History) -> set[int]:
    now = past.now()
    return past.pages[BASE].versions(now, now)


def states(past: History) -> set[int | None]:
    now = past.now()
    return past.pages[BASE].states(now, now)


def test_is_the_last_write_read_and_nothing_else() -> None:
    past = history()
    write(past, 2)
    assert readable(past) == {2}
    with pytest.raises(AssertionError, match=r"reads version 1, and may read \[2\]"):
        past.accessed(BASE, past.now(), write=False, version=1)


@pytest.mark.parametrize("operation", [Madvise(BASE, 1), Mmap(1, BASE)])
def test_are_old_contents_read_until_a_discard_ends_and_never_again(operation: Operation) -> None:
    past = history()
    events = past.begin(operation)
    assert readable(past) == {0, 1}
    past.end(events, sure=True)
    assert readable(past) == {0}


def test_may_a_write_beside_a_discard_be_lost_or_stay() -> None:
    past = history()
    events = past.begin(Madvise(BASE, 1))
    write(past, 2)
    past.end(events, sure=True)
    assert readable(past) == {0, 2}
    write(past, 3)
    assert readable(past) == {3}


def test_are_rights_old_and_new_while_they_change() -> None:
    past = history()
    events = past.begin(Mprotect(BASE, 1, READ))
    assert states(past) == {READ, READ_WRITE}
    assert readable(past) == {1}
    past.end(events, sure=True)
    assert states(past) == {READ}
    with pytest.raises(AssertionError, match="is let through"):
        write(past, 2)


def test_is_a_signal_wrong_where_the_page_is_mapped_all_the_time() -> None:
    past = history()
    past.end(past.begin(Mmap(1, BASE)), sure=True)
    with pytest.raises(AssertionError, match="got a signal"):
        past.accessed(BASE, past.now(), write=True, version=None)
    past.begin(Munmap(BASE, 1))
    past.accessed(BASE, past.now(), write=True, version=None)


def test_may_a_refused_operation_have_done_its_work_or_not() -> None:
    past = history()
    past.end(past.begin(Mprotect(BASE, 1, READ)), sure=False)
    assert states(past) == {READ, READ_WRITE}
    past.drop(past.begin(Munmap(BASE, 1)))
    assert states(past) == {READ, READ_WRITE}


def test_has_a_child_what_was_there_while_the_fork_ran() -> None:
    past = history()
    begin = past.now()
    write(past, 2)
    end = past.now()
    write(past, 3)
    past.was(BASE, READ_WRITE, 1, begin, end)
    past.was(BASE, READ_WRITE, 2, begin, end)
    with pytest.raises(AssertionError, match=r"is version 3, and may be \[1, 2\]"):
        past.was(BASE, READ_WRITE, 3, begin, end)
    with pytest.raises(AssertionError, match=r"is version 1, and may be \[2\]"):
        past.was(BASE, READ_WRITE, 1, end, end)
    with pytest.raises(AssertionError, match="has rights 1"):
        past.was(BASE, READ, 2, begin, end)


def test_does_a_page_at_rest_begin_anew() -> None:
    past = history()
    past.end(past.begin(Mprotect(BASE, 1, READ)), sure=False)
    past.rests(BASE, READ, 1)
    assert states(past) == {READ}
    with pytest.raises(AssertionError, match="ends with rights"):
        past.rests(BASE, None, None)
    with pytest.raises(AssertionError, match="ends as version 7"):
        past.rests(BASE, READ, 7)
