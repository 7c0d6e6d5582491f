"""Are runs of frames the same as a dictionary and a set of them?"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.errors import ModelError
from sim.mm import FrameSet, FrameTable
from sim.mm.runs import Runs

ranges = st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda pair: range(pair[0], sum(pair)))
changes = st.lists(
    st.tuples(st.sampled_from(["add", "cut", "count"]), ranges, st.integers(1, 3)), max_size=25
)


def as_dict(runs: Runs) -> dict[int, int]:
    return {number: run.value for run in runs for number in range(run.start, run.end)}


@given(changes)
def test_do_runs_hold_what_a_dictionary_holds(changes: list[tuple[str, range, int]]) -> None:
    runs, plain = Runs(), {}
    for change, numbers, value in changes:
        there = {number: plain[number] for number in numbers if number in plain}
        assert as_dict(_of(runs.within(numbers.start, numbers.stop))) == there
        if change == "add" and not there:
            runs.add(numbers.start, numbers.stop, value)
            plain |= dict.fromkeys(numbers, value)
        elif change == "cut":
            assert as_dict(_of(runs.cut(numbers.start, numbers.stop))) == there
            plain = {number: plain[number] for number in plain if number not in numbers}
        elif change == "count":
            runs.count(numbers.start, numbers.stop)
            plain |= {number: plain.get(number, 0) + 1 for number in numbers}
        assert as_dict(runs) == plain
        assert runs.total == len(plain)
        assert all(one.end <= two.start and one[1:] != (two.start, two.value) for one, two in pairwise(runs))
        assert [runs.value(number) for number in range(60)] == [plain.get(number) for number in range(60)]


def _of(runs: list[tuple[int, int, int]]) -> Runs:
    made = Runs()
    for start, end, value in runs:
        made.add(start, end, value)
    return made


frames = st.lists(st.tuples(st.sampled_from(["add", "get", "put"]), ranges, st.booleans()), max_size=25)


@given(frames)
def test_does_a_frame_table_count_many_frames_as_one_after_the_other(
    asked: list[tuple[str, range, bool]],
) -> None:
    table, plain = FrameTable(), FrameTable()
    for change, numbers, together in asked:
        legal = [(frame in plain) != (change == "add") for frame in numbers]
        if not all(legal):
            continue
        if together:
            gone = getattr(table, f"{change}_run")(numbers)
        else:
            gone = [range(frame, frame + 1) for frame in numbers if getattr(table, change)(frame)]
        expected = [frame for frame in numbers if getattr(plain, change)(frame)]
        assert [frame for part in gone or () for frame in part] == expected
        assert [table.owners(frame) for frame in range(60)] == [plain.owners(frame) for frame in range(60)]
        assert len(table) == len(plain)


def test_is_a_frame_given_away_twice_in_bulk_refused() -> None:
    table = FrameTable()
    table.add_run(range(8, 16))
    with pytest.raises(ModelError, match="frame 9 is given away and has 1 owners"):
        table.add(9)
    with pytest.raises(ModelError, match="some of frames 15 to 19 are given away"):
        table.add_run(range(15, 20))
    with pytest.raises(ModelError, match="frame 16 loses an owner and is free"):
        table.put_run(range(12, 17))


@given(st.lists(st.tuples(st.sampled_from(["run", "one", "discard", "part"]), ranges), max_size=20))
def test_is_a_set_with_runs_a_set(changes: list[tuple[str, range]]) -> None:
    found, plain = FrameSet(), set[int]()
    for change, numbers in changes:
        if change == "run" and plain.isdisjoint(numbers):
            found.add_run(numbers)
            plain |= set(numbers)
        elif change == "one":
            found.update(number for number in numbers if number not in found)
            plain |= set(numbers)
        elif change == "discard":
            found.discard_all(found.part(numbers))
            plain -= set(numbers)
        part = found.part(numbers)
        flat = sorted(x for each in part for x in (each if isinstance(each, range) else (each,)))
        assert flat == sorted(plain & set(numbers))
        assert [number in found for number in range(60)] == [number in plain for number in range(60)]
