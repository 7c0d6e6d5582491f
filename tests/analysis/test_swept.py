"""Are points of a sweep kept apart in tables and figures?"""

from __future__ import annotations

import pandas as pd

from sim.analysis.tables import averaged, labelled, swept_columns


def test_is_a_swept_value_part_of_the_name_of_what_it_changes(make_points) -> None:
    frames = [
        make_points(threads=(1, 2)).assign(**{"machine.tlb.flush": value}) for value in ("1 ns", "2 ns")
    ]
    points = pd.concat(frames, ignore_index=True)
    assert swept_columns(points) == ["machine.tlb.flush"]
    machine = frames[0]["machine"].iloc[0]
    assert set(labelled(points)["machine"]) == {f"{machine}, flush 1 ns", f"{machine}, flush 2 ns"}
    assert set(averaged(labelled(points))["replicates"]) == {1}


def test_is_a_value_that_does_not_vary_left_out_of_names(make_points) -> None:
    points = make_points(threads=(1, 2)).assign(**{"machine.tlb.flush": "1 ns"})
    assert list(labelled(points)["machine"]) == list(points["machine"])
