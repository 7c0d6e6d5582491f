"""Rule 9: the same seed gives the same run. Ties and random draws never depend on anything else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sim.engine import Engine, ScheduleName


def order_of_threads(ties: ScheduleName, seed: int = 0, *, draws: int = 0) -> list[tuple[int, int]]:
    """In which order eight threads run that are always ready at the same time."""
    engine = Engine(seed=seed, schedule=ties)
    order = []

    def thread(number: int) -> Iterator[int]:
        for time in range(4):
            order.append((time, number))
            yield 10

    for _ in range(draws):
        engine.stream("something else").random()
    for number in range(8):
        engine.process(thread(number))
    engine.run()
    return order


def test_does_fifo_break_ties_in_creation_order() -> None:
    assert order_of_threads("fifo") == [(time, number) for time in range(4) for number in range(8)]


def test_does_shuffle_give_the_same_order_for_the_same_seed() -> None:
    assert order_of_threads("shuffle", seed=1) == order_of_threads("shuffle", seed=1)


def test_does_shuffle_give_another_order_for_another_seed() -> None:
    orders = {tuple(order_of_threads("shuffle", seed=seed)) for seed in range(20)}
    assert len(orders) == 20


def test_does_shuffle_keep_time_in_order_and_mix_within_it() -> None:
    order = order_of_threads("shuffle", seed=3)
    assert [time for time, _ in order] == sorted(time for time, _ in order)
    assert len({tuple(number for at, number in order if at == time) for time in range(4)}) == 4


def test_are_ties_independent_of_the_draws_of_the_model() -> None:
    assert order_of_threads("shuffle", seed=5) == order_of_threads("shuffle", seed=5, draws=100)


def test_is_every_thread_equally_likely_to_be_first() -> None:
    firsts = [order_of_threads("shuffle", seed=seed)[0][1] for seed in range(400)]
    assert all(20 <= firsts.count(number) <= 90 for number in range(8))  # 50 expected, sd 6.6


def test_are_named_streams_independent_of_each_other() -> None:
    alone = Engine(seed=1)
    expected = [alone.stream("interrupts").random() for _ in range(5)]
    together = Engine(seed=1)
    seen = []
    for _ in range(5):
        together.stream("workload").random()
        seen.append(together.stream("interrupts").random())
    assert seen == expected


def test_does_a_stream_depend_on_the_seed_and_the_name() -> None:
    draws = {Engine(seed=seed).stream(name).random() for seed in range(10) for name in ("a", "b", "1/a")}
    assert len(draws) == 30


def test_is_a_stream_one_object_a_name() -> None:
    engine = Engine()
    assert engine.stream("a") is engine.stream("a")
    assert engine.stream("a") is not engine.stream("b")


@pytest.mark.slow
def test_is_the_order_the_same_under_another_hash_seed() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_ties_and_streams import order_of_threads\n"
        "print(order_of_threads('shuffle', seed=7))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, os.path.dirname(__file__)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "2")
    }
    assert len(outputs) == 1
