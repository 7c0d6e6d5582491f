"""Does the point go first that will take longest, as far as anybody can know?"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from sim.experiment import Experiment
from sim.experiment.running.waiting import Waiting, waiting_for

Seconds = Callable[[Any], float]


def point(design: str, threads: int, *, workload: str = "w", amount: int = 1, replicate: int = 0) -> Any:
    """A point whose threads do *amount* requests each."""
    spec = SimpleNamespace(amount=lambda placement, threads: threads * amount)
    return SimpleNamespace(
        design=design, machine="m", workload=workload, placement="", threads=threads, replicate=replicate,
        workload_spec=spec,
    )  # fmt: skip


def taken(waiting: Waiting, seconds: Seconds) -> list[Any]:
    """The points one after the other, each learnt before the next one is taken."""
    order = []
    while waiting:
        order.append(waiting.take())
        waiting.learn(order[-1], seconds(order[-1]))
    return order


def makespan(
    take: Callable[[], Any], learn: Callable[[Any], None], points: int, workers: int, seconds: Seconds
) -> float:
    """When the last of so many *points* is over on so many *workers*."""
    running: list[tuple[float, int, Any]] = []
    now = 0.0
    for number in range(points):
        if len(running) == workers:
            now, _, finished = heapq.heappop(running)
            learn(finished)
        begun = take()
        heapq.heappush(running, (now + seconds(begun), number, begun))
    return max(end for end, _, _ in running)


def by_estimate(points: Sequence[Any], workers: int, seconds: Seconds) -> float:
    waiting = Waiting(points)
    return makespan(
        waiting.take, lambda point: waiting.learn(point, seconds(point)), len(points), workers, seconds
    )


def in_order(points: Sequence[Any], workers: int, seconds: Seconds) -> float:
    left = iter(points)
    return makespan(lambda: next(left), lambda point: None, len(points), workers, seconds)


def test_is_it_before_anybody_knows_the_one_with_most_to_do() -> None:
    points = [point("a", 1), point("a", 8), point("b", 2, amount=9), point("b", 8)]
    waiting = Waiting(points)
    assert [waiting.take() for _ in points] == [points[2], points[1], points[3], points[0]]
    with pytest.raises(IndexError, match="no point"):
        waiting.take()


def test_does_it_follow_the_times_of_points_that_are_over() -> None:
    """Nothing but the times says that the design b takes a hundred times as long."""
    points = [point(design, threads) for design in "ab" for threads in (1, 2, 4, 8)]
    order = taken(Waiting(points), lambda point: point.threads * (100 if point.design == "b" else 1))
    assert [(each.design, each.threads) for each in order] == [
        ("a", 8), ("b", 8), ("b", 4), ("b", 2), ("b", 1), ("a", 4), ("a", 2), ("a", 1)
    ]  # fmt: skip


def test_is_the_nearest_in_amount_asked_where_times_do_not_follow_the_amount() -> None:
    """Twice the threads take four times as long: what is known of many says little of few."""
    waiting = waiting_for(
        [point("a", 4), point("b", 4)],
        [(point("a", 64), 4096.0), (point("a", 8), 64.0), (point("b", 8), 70.0)],
    )
    assert waiting.take().design == "b"
    waiting = waiting_for([point("a", 32), point("b", 32)], [(point("a", 64), 4096.0), (point("b", 8), 70.0)])
    assert waiting.take().design == "a"


def test_is_a_design_that_nobody_knows_taken_for_one_like_others_on_its_workload() -> None:
    timed = [(point("a", 8, workload="slow"), 80.0), (point("a", 8, workload="fast"), 0.8)]
    new = [point("b", 8, workload="fast"), point("b", 4, workload="slow"), point("b", 2, workload="new")]
    waiting = waiting_for(new, timed)
    assert [waiting.take().workload for _ in new] == ["slow", "new", "fast"]


@pytest.mark.parametrize("seed", range(20))
def test_does_each_point_go_once_and_none_wait_for_long_at_the_end(seed: int) -> None:
    """No schedule is shorter than the work over the workers; this one exceeds it by a third of a point."""
    random = Random(seed)
    rates = {(design, workload): random.lognormvariate(0, 1) for design in "abc" for workload in "xyz"}
    points = [
        point(design, threads, workload=workload, replicate=replicate)
        for design, workload in rates
        for threads in (1, 2, 4, 8, 16, 32, 64, 128)
        for replicate in range(2)
    ]
    random.shuffle(points)

    def seconds(point: Any) -> float:
        return 0.2 + rates[point.design, point.workload] * point.threads**1.2

    order = taken(Waiting(points), seconds)
    assert sorted(map(id, order)) == sorted(map(id, points))
    for workers in (2, 4):
        least = sum(map(seconds, points)) / workers
        assert by_estimate(points, workers, seconds) <= least + max(map(seconds, points)) / 3


def test_is_the_end_shorter_than_with_most_threads_first() -> None:
    """One thread may have more to do than many: it was run alone at the end."""
    points = [point("a", 8 - number) for number in range(4)]
    points.append(point("b", 1, workload="long", amount=100))

    def seconds(point: Any) -> float:
        return 20.0 if point.workload == "long" else 5.0

    assert in_order(sorted(points, key=lambda point: -point.threads), 2, seconds) == 30
    assert by_estimate(points, 2, seconds) == 20


def test_do_real_points_have_something_to_do(pair: Experiment) -> None:
    """Before anything is known all of one workload go by their threads; equals in the order of the file."""
    waiting = Waiting(pair.points)
    order = [waiting.take() for _ in pair.points]
    assert not waiting
    assert order == sorted(pair.points, key=lambda point: -point.threads)
