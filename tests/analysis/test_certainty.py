"""Are costs ranked as arithmetic says, and do bands and conclusions say what their samples did?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from legible import stumbles

import sim
from sim.analysis.conclusions import Spot, as_it_is, asked, conclude, usual
from sim.analysis.screening import LARGEST_GROUP, Ends, Group, ends, groups_of, leaders, morris
from sim.analysis.sensitivity import Effort, Study, plan, study
from sim.analysis.sensitivity_report import write_tables
from sim.analysis.tornado import band_figure, tornado_figure
from sim.analysis.uncertainty import Uncertain
from sim.analysis.worlds import Cost, World, Worlds
from sim.errors import InputError
from sim.experiment import Experiment

WORKLOAD = """\
name: toy-workload
title: two computations, and one that is in another placement
requests: 4
window: {warm_up: 1 requests, length: 4 requests}
layout: {request: 4 KiB, stride: 2 MiB, order: own}
thread:
  - compute: {value: 80 us, quality: estimated, source: ME}
  - compute: {value: 10 us, quality: estimated, source: ME}
placements:
  plain: {}
  other:
    thread:
      - compute: {value: 50 us, quality: estimated, source: ME}
sources: {ME: a guess}
"""
EXPERIMENT = """\
name: toy
machine: epyc-9965-guest
designs: [linux-6.13, cortenmm-adv]
workloads: [./toy-workload.yaml]
placements: [plain]
threads: [1, 2]
"""


def cost(name: str, group: str = "a") -> Cost:
    uncertain = Uncertain((name,), "10 ns", 0.5, 2.0, name)
    return Cost(name, group, "estimated", "10 ns", "5 ns", "20 ns", uncertain)


def arithmetic(worlds: Sequence[World]) -> np.ndarray[Any, Any]:
    """An answer that is linear in two costs, has a product of two others, and knows nothing of `idle`."""
    rows = []
    for world in worlds:
        big, small, one, other = (world.get(name, 0.5) for name in ("big", "small", "one", "other"))
        rows.append([3 * big - small + 2 * one * other])
    return np.array(rows)


NAMES = ("idle", "small", "one", "other", "big")


def test_does_morris_rank_costs_as_arithmetic_says() -> None:
    costs = [cost(name) for name in NAMES]
    effects = {c.name: row[0] for c, row in zip(costs, morris(costs, arithmetic, 40, 2), strict=True)}
    assert (effects["big"].mu, effects["big"].mu_star) == pytest.approx((3, 3))
    assert (effects["small"].mu, effects["small"].mu_star) == pytest.approx((-1, 1))
    assert effects["big"].sigma == pytest.approx(0, abs=1e-9)
    assert effects["one"].mu == pytest.approx(1, abs=0.3)  # 2 x the mean of the other
    assert effects["one"].sigma > 0.3  # it depends on the other
    assert effects["idle"].mu_star == 0
    assert min(effects, key=lambda name: effects[name].mu_star) == "idle"
    assert effects["one"].interval > effects["big"].interval == pytest.approx(0, abs=1e-9)


def test_is_a_path_with_a_failure_left_out() -> None:
    def failing(worlds: Sequence[World]) -> np.ndarray[Any, Any]:
        answers = arithmetic(worlds)
        answers[0] = math.nan
        return answers

    effects = morris([cost(name) for name in NAMES], failing, 4, 1)
    assert effects[NAMES.index("big")][0].mu_star == pytest.approx(3)
    none = morris([cost("big")], lambda worlds: np.full((len(worlds), 1), math.nan), 3, 1)
    assert math.isnan(none[0][0].mu_star)


def test_are_ends_what_a_group_does_together() -> None:
    (moved,) = ends([[cost("big"), cost("small")]], arithmetic)
    assert moved == [Ends(-1.0, 1.0)]
    assert moved[0].size == 2.0
    assert Ends(math.nan, 0.5).size == 0.5


def test_are_long_sections_cut_and_only_what_fits_looked_into() -> None:
    groups = groups_of([*(cost(f"{at}", "long") for at in range(LARGEST_GROUP + 2)), cost("x", "short")])
    assert [(group.name, len(group.costs)) for group in groups] == [
        ("long 1/2", 5),
        ("long 2/2", 5),
        ("short", 1),
    ]
    effects = [[Ends(0, 0.1)], [Ends(0, 0.3)], [Ends(-0.2, 0)]]
    assert [group.name for group in leaders(groups, effects, 6)] == ["long 2/2", "short"]
    assert leaders([Group("a", (cost("a"),))], [[Ends(0, 0)]], 6) == []


PF = "pf low"
SPOTS = [Spot(PF, "linux-6.13", 8), Spot(PF, "cortenmm-adv", 8), Spot(PF, "cortenmm-adv", 4)]


def test_has_a_conclusion_the_share_of_samples_in_which_it_holds() -> None:
    own = np.log([[1.0, 2.0, 1.0]])
    samples = np.log([[1.0, 3.0, 1.0], [1.0, 0.5, 1.0], [1.0, 1.5, 1.0], [np.nan, 1.0, 1.0]])
    answers = [as_it_is(answer, SPOTS, own) for answer in usual(SPOTS)]
    (found,) = conclude(answers, SPOTS, own, samples)
    assert found.text == "cortenmm-adv beats linux-6.13 at 8 threads, pf low"
    assert (found.holds, found.samples, found.share) == (2, 3, pytest.approx(2 / 3))
    assert (found.ratio, found.low, found.high) == pytest.approx((2.0, 0.5, 3.0))


def test_is_a_conclusion_that_was_asked_for_not_turned_round() -> None:
    (answer,) = asked(["linux-6.13 > cortenmm-adv at 8"], SPOTS)
    (found,) = conclude([answer], SPOTS, np.log([[1.0, 2.0, 1.0]]), np.log([[1.0, 2.0, 1.0]]))
    assert (found.holds, found.samples) == (0, 1)
    assert asked(["cortenmm-adv < linux-6.13 at 8"], SPOTS) == [answer]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("linux is faster", "not a conclusion"),
        ("cortenmm-adv > linux-6.31 at 8", r"no design of these points.*linux-6.13"),
        ("cortenmm-adv > linux-6.13 at 4", "no place has both"),
    ],
)
def test_is_a_conclusion_about_nothing_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        asked([text], SPOTS)


def toy_experiment(folder: Path, more: str = "") -> Experiment:
    (folder / "toy-workload.yaml").write_text(WORKLOAD)
    (folder / "toy.yaml").write_text(EXPERIMENT + more)
    return sim.load(folder / "toy.yaml")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Study:
    experiment = toy_experiment(tmp_path_factory.mktemp("toy"))
    points = [point for point in experiment.points if point.design == "linux-6.13"]
    return study(plan(experiment, points, Effort(samples=2, costs=8, leaders=2, paths=2)))


def test_are_the_costs_of_a_point_ranked_as_its_time_is_made_up(toy: Study) -> None:
    (answer,) = toy.answers
    assert answer.name == "linux-6.13 at 2 threads, toy-workload plain"
    ranked = toy.ranked(0)
    assert [finding.cost.name.partition(" ")[2] for finding in ranked[:2]] == [
        "thread[0].compute",
        "thread[1].compute",
    ]
    long, short = ranked[:2]
    # an operation takes 90 us and little else: X is as 1 / (80 f + 10)
    assert long.ends[0].low == pytest.approx(-math.log((80 / 1.3 + 10) / 90), rel=0.02)
    assert long.ends[0].high == pytest.approx(-math.log((80 * 1.3 + 10) / 90), rel=0.02)
    assert short.ends[0].high == pytest.approx(-math.log((80 + 10 * 1.3) / 90), rel=0.02)
    assert long.effects[0].mu_star == pytest.approx(long.ends[0].size, rel=0.1)
    (idle,) = (ends for group, ends, _ in toy.groups if group.name == "toy-workload placements")
    assert idle == (Ends(0.0, 0.0),)


@pytest.mark.ci
def test_does_morris_rank_the_costs_of_a_point_as_its_time_is_made_up(tmp_path: Path) -> None:
    experiment = toy_experiment(tmp_path)
    worlds = Worlds(experiment, [0])
    mine = [one for one in worlds.costs if one.name.startswith("toy-workload ")]

    def evaluate(several: Sequence[World]) -> np.ndarray[Any, Any]:
        return np.log([[outcomes[0].throughput] for outcomes in worlds.simulate(several, [0])])

    effects = morris(mine, evaluate, 3, 1)
    stars = {one.name.partition(" ")[2]: row[0].mu_star for one, row in zip(mine, effects, strict=True)}
    assert sorted(stars, key=lambda name: -stars[name]) == [
        "thread[0].compute", "thread[1].compute", "placements.other.thread[0].compute",
    ]  # fmt: skip
    width = 2 * math.log(1.3)
    assert stars["thread[0].compute"] == pytest.approx(width * 80 / 90, rel=0.05)
    assert stars["thread[1].compute"] == pytest.approx(width * 10 / 90, rel=0.25)
    assert stars["placements.other.thread[0].compute"] == 0


def test_are_bands_as_wide_as_the_samples_went(toy: Study) -> None:
    assert list(toy.bands["threads"]) == [1, 2]
    assert (toy.bands["low"] < toy.bands["throughput_ops_per_us"]).all()
    assert (toy.bands["high"] / toy.bands["low"] < 1.3**2).all()
    assert set(toy.bands["samples"]) == {2}
    assert toy.conclusions == ()  # of one design


def test_is_a_swept_cost_left_where_the_sweep_has_put_it(tmp_path: Path) -> None:
    sweep = 'sweep: {"workload.thread[1].compute": [5 us, 20 us]}\n'
    experiment = toy_experiment(tmp_path, sweep)
    places = range(len(experiment.points))
    worlds = Worlds(experiment, places)
    names = {one.name for one in worlds.costs}
    assert "toy-workload thread[0].compute" in names
    assert "toy-workload thread[1].compute" not in names
    assert [point.id for point in worlds.points({}, places)] == [point.id for point in experiment.points]
    world = {"toy-workload thread[0].compute": 1.0}
    (five, *_, twenty) = worlds.simulate([world], [0, len(places) - 2])[0]
    assert five.throughput / twenty.throughput == pytest.approx((104 + 20) / (104 + 5), rel=0.02)


def test_is_too_little_effort_refused() -> None:
    with pytest.raises(InputError, match="samples must be 2 or more"):
        Effort(samples=0)


@pytest.mark.ci
def test_can_figures_be_read_and_are_tables_the_same_twice(toy: Study, tmp_path: Path) -> None:
    tornado = tornado_figure(toy, "a toy: what the costs do")
    bands = band_figure(toy, "a toy: how far the costs may be off")
    assert tornado is not None
    assert bands is not None
    assert (stumbles(tornado), stumbles(bands)) == ([], [])
    (ax,) = tornado.axes
    widths = [bar.get_width() for bar in ax.patches]
    assert max(map(abs, widths)) == pytest.approx(100 * math.expm1(toy.ranked(0)[0].ends[0].low))
    written = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        written.append([path.read_bytes() for path in write_tables(toy, tmp_path / name)])
    assert written[0] == written[1]
    costs = pd.read_csv(tmp_path / "one" / "costs.csv")
    assert costs["cost"].iloc[0] == "toy-workload thread[0].compute"
    assert list(costs["rank"]) == list(range(1, len(costs) + 1))
