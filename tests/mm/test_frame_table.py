"""Does a frame stay in use until its last owner has let it go?"""

from __future__ import annotations

import pytest

from sim.errors import ModelError
from sim.mm import FrameTable


def test_is_a_frame_free_when_its_last_owner_lets_go() -> None:
    table = FrameTable()
    table.add(7)
    table.get(7)
    table.get(7)
    assert (table.refcount[7], 7 in table, len(table)) == (3, True, 1)
    assert [table.put(7), table.put(7), table.put(7)] == [False, False, True]
    assert (7 in table, len(table)) == (False, 0)
    table.add(7)  # and may be given away again
    assert table.refcount == {7: 1}


def test_does_a_block_have_one_count_and_one_size() -> None:
    table = FrameTable()
    table.add(64, order=3)
    table.get(64)
    assert (table.refcount, table.orders) == ({64: 2}, {64: 3})
    assert [table.put(64, order=3), table.put(64, order=3)] == [False, True]
    assert (table.refcount, table.orders) == ({}, {})


def test_is_a_block_given_back_in_another_size_refused() -> None:
    table = FrameTable()
    table.add(64, order=3)
    with pytest.raises(ModelError, match="frame 64 is given back as 1 frames, not 8"):
        table.put(64)


def test_is_a_frame_with_owners_not_given_away() -> None:
    table = FrameTable()
    table.add(7)
    table.get(7)
    with pytest.raises(ModelError, match="frame 7 is given away and has 2 owners"):
        table.add(7)


def test_has_a_free_frame_no_owners_to_gain_or_lose() -> None:
    table = FrameTable()
    with pytest.raises(ModelError, match="frame 7 gets an owner and is free"):
        table.get(7)
    with pytest.raises(ModelError, match="frame 7 loses an owner and is free"):
        table.put(7)


def test_does_a_frame_that_is_being_freed_refuse_an_owner() -> None:
    table = FrameTable()
    assert not table.try_get(7)
    table.add(7)
    assert table.try_get(7)
    assert not table.put(7)
    assert table.put(7)
