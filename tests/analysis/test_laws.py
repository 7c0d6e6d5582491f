"""Do fits of the scaling laws find what a curve was made of, and say what it does not tell?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.analysis import fit_laws

COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)


def usl(threads: float, one: float, sigma: float, kappa: float) -> float:
    return one * threads / (1 + sigma * (threads - 1) + kappa * threads * (threads - 1))


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 100), st.floats(1e-3, 0.9), st.floats(1e-6, 1e-2))
def test_are_the_parameters_of_a_curve_found_within_two_percent(
    one: float, sigma: float, kappa: float
) -> None:
    found = fit_laws(COUNTS, [usl(count, one, sigma, kappa) for count in COUNTS])
    assert found is not None
    assert found.usl.kappa is not None
    assert found.usl.one == pytest.approx(one, rel=0.02)
    assert found.usl.sigma.value == pytest.approx(sigma, rel=0.02)
    assert found.usl.kappa.value == pytest.approx(kappa, rel=0.02)
    assert found.peak.value == pytest.approx(max(1.0, math.sqrt((1 - sigma) / kappa)), rel=0.02)
    assert found.usl.at(48) == pytest.approx(usl(48, one, sigma, kappa), rel=0.02)


def test_does_the_interval_hold_the_truth_as_often_as_it_says() -> None:
    draws, held = np.random.default_rng(7), 0
    for _ in range(60):
        noise = np.exp(0.03 * draws.standard_normal(len(COUNTS)))
        curve = [usl(count, 2.0, 0.05, 1e-3) * off for count, off in zip(COUNTS, noise, strict=True)]
        found = fit_laws(COUNTS, curve)
        assert found is not None
        held += found.usl.sigma.low <= 0.05 <= found.usl.sigma.high
    assert 52 <= held <= 60


def test_is_amdahls_law_the_one_without_kappa() -> None:
    found = fit_laws(COUNTS, [usl(count, 2.0, 0.25, 0) for count in COUNTS])
    assert found is not None
    assert found.amdahl.sigma.value == pytest.approx(0.25)
    assert found.amdahl.most == pytest.approx(4)
    assert found.amdahl.kappa is None


def test_does_a_curve_without_an_end_say_that_its_peak_is_not_determined() -> None:
    draws = np.random.default_rng(3)
    curve = [usl(count, 1.0, 0.02, 0) * (1 + 0.01 * draws.standard_normal()) for count in COUNTS]
    found = fit_laws(COUNTS, curve)
    assert found is not None
    assert found.usl.kappa is not None
    assert not found.usl.kappa.determined
    assert not found.peak.determined
    assert found.peak.high == math.inf
    assert found.peak.low > 128  # it is known not to be among the points


def test_does_a_linear_curve_say_that_nothing_is_determined() -> None:
    found = fit_laws(COUNTS, [3.0 * count for count in COUNTS])
    assert found is not None
    assert (found.usl.sigma.value, found.usl.sigma.determined) == (0.0, False)
    assert (found.peak.value, found.peak.determined) == (math.inf, False)
    assert found.usl.most == math.inf


def test_is_the_peak_of_a_curve_that_falls_at_once_one_thread() -> None:
    found = fit_laws(COUNTS, [usl(count, 1.0, 2.0, 0.05) for count in COUNTS])
    assert found is not None
    assert (found.peak.value, found.usl.most) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("counts", "curve"),
    [((1, 2, 4, 8), (1.0, 2.0, 3.0, 4.0)), ((1, 2, 4, 8, 16), (1.0, 2.0, 0.0, 4.0, 5.0))],
)
def test_is_too_little_not_fitted(counts: tuple[int, ...], curve: tuple[float, ...]) -> None:
    assert fit_laws(counts, curve) is None
