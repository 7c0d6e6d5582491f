"""Do the LRU lists hold frames that came in bulk as they hold those that came one by one?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sim.designs.linux.lru_lists import LruLists

ranges = st.tuples(st.integers(0, 59), st.integers(1, 20)).map(lambda x: range(x[0], min(60, x[0] + x[1])))
CHANGES = ["run", "one", "discard", "active", "isolate"]


@given(st.lists(st.tuples(st.sampled_from(CHANGES), ranges), max_size=20))
def test_stands_every_frame_on_one_list_whether_it_came_in_bulk_or_not(
    changes: list[tuple[str, range]],
) -> None:
    lists, plain = LruLists(1, 60), dict[int, str]()
    for change, numbers in changes:
        if change == "run" and plain.keys().isdisjoint(numbers):
            lists.add_run(numbers)
            plain |= dict.fromkeys(numbers, "inactive")
        elif change == "one":
            lists.update(numbers)
            plain = dict.fromkeys(numbers, "inactive") | plain
        elif change == "discard":
            lists.discard_all(lists.part(numbers))
            plain = {frame: which for frame, which in plain.items() if frame not in numbers}
        elif change == "active":
            for frame in numbers:
                lists.move(frame, "active")
            plain |= {frame: "active" for frame in numbers if frame in plain}
        elif change == "isolate":
            inactive = [frame for frame, which in plain.items() if which == "inactive"]
            taken = lists.isolate(0, "inactive", len(numbers))
            assert len(taken) == len(set(taken)) == min(len(numbers), len(inactive))
            assert set(taken) <= set(inactive)
            for frame in taken:
                del plain[frame]
        part = lists.part(numbers)
        flat = sorted(x for each in part for x in (each if isinstance(each, range) else (each,)))
        assert flat == sorted(plain.keys() & set(numbers))
        assert [lists.which(frame) for frame in range(60)] == [plain.get(frame) for frame in range(60)]
        for which in ("inactive", "active"):
            assert lists.count(0, which) == list(plain.values()).count(which)
