"""Two laws of scaling, fitted to a curve: Amdahl's and Gunther's Universal Scalability Law.

    Amdahl    X(N) = λ N / (1 + σ (N - 1))
    USL       X(N) = λ N / (1 + σ (N - 1) + κ N (N - 1))

λ is what one thread does, σ the part of an operation that only one thread can do at a time (contention), κ
what each pair of threads costs (coherence). By USL a curve is highest at sqrt((1 - σ) / κ) threads.

Fits minimise the squares of ln(law / curve), so that one thread counts as much as hundreds; σ and κ are 0 or
more. Intervals are Student's t on the linearised law, with what the curve is off as its noise. A law is not
the truth: where the curve has a step that it cannot make, an interval is too narrow, and `error` says so.

Sources: Gunther, "Guerrilla Capacity Planning" (2007), chapters 4 to 6; Amdahl, AFIPS 1967.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.analysis.tables import student_t_95

LEAST_COUNTS = 5
"""Thread counts that a curve must have to be fitted: two more than USL has parameters."""
_NOTHING = 1e-6
"""What a term adds to an operation at the most threads below which it is none, but rounding."""


@dataclass(frozen=True)
class Estimate:
    """A parameter and its 95 % interval. It is *determined* if the interval does not reach what would say
    that it is not there: 0 for σ and κ, no end for the threads of the peak."""

    value: float
    low: float
    high: float
    determined: bool


@dataclass(frozen=True)
class Law:
    """A law fitted to a curve. *error* is the root mean square of ln(law / curve): 0.1 is about 10 %."""

    one: float
    sigma: Estimate
    kappa: Estimate | None
    error: float

    def at(self, threads: float) -> float:
        """The throughput that the law has at so many *threads*."""
        kappa = self.kappa.value if self.kappa else 0.0
        return self.one * threads / (1 + self.sigma.value * (threads - 1) + kappa * threads * (threads - 1))

    @property
    def most(self) -> float:
        """How many times one thread's throughput all threads together may reach; infinite without an end."""
        if self.kappa is not None and self.kappa.value > 0:
            return self.at(max(1.0, _peak(self.sigma.value, self.kappa.value))) / self.one
        return 1 / self.sigma.value if self.sigma.value > 0 else math.inf


@dataclass(frozen=True)
class Scaling:
    """Both laws for one curve, and the thread count at which USL is highest."""

    usl: Law
    amdahl: Law
    peak: Estimate


def fit_laws(threads: Sequence[float], throughput: Sequence[float]) -> Scaling | None:
    """Both laws for the curve of *throughput* (any unit, above 0) at *threads*, each count once.

    None for fewer than `LEAST_COUNTS` thread counts, or where they are no curve: some throughput is 0.
    """
    n, x = np.asarray(threads, dtype=float), np.asarray(throughput, dtype=float)
    if len(n) < LEAST_COUNTS or not (x > 0).all() or not np.isfinite(x).all():
        return None
    amdahl, _ = _fit(n, x, 2)
    usl, spread = _fit(n, x, 3)
    return Scaling(usl, amdahl, _peak_of(usl, spread, len(n)))


def _fit(n: Any, x: Any, parameters: int) -> tuple[Law, Any]:
    """The law with so many parameters for throughputs *x* at *n* threads, and the covariance of them."""
    from scipy.optimize import least_squares, nnls

    terms = np.stack([np.ones_like(n), n - 1, n * (n - 1)][:parameters], axis=1)

    def off(guess: Any) -> Any:
        return guess[0] + np.log(n) - np.log(terms[:, 1:] @ guess[1:] + 1) - np.log(x)

    def slopes(guess: Any) -> Any:
        return np.hstack([np.ones((len(n), 1)), -terms[:, 1:] / (terms[:, 1:] @ guess[1:] + 1)[:, None]])

    # N / X is linear in 1 / λ, σ / λ and κ / λ, which gives a start that is near.
    linear, _ = nnls(terms * (x / n)[:, None], np.ones_like(n))
    one = max(linear[0], 1e-6 * float(np.min(n / x)))
    start = np.concatenate([[-math.log(one)], linear[1:] / one])
    floor = np.concatenate([[-np.inf], np.zeros(parameters - 1)])
    scale = np.concatenate([[1.0], 1 / terms[-1, 1:]])
    found = least_squares(
        off, np.maximum(start, floor), slopes, bounds=(floor, np.inf), x_scale=scale, ftol=1e-14, xtol=1e-14,
        gtol=1e-14,
    )  # fmt: skip
    best = np.where(found.x < _NOTHING * scale, 0.0, found.x)
    best[0] = found.x[0]
    residuals = off(best)
    noise = float(residuals @ residuals) / (len(n) - parameters)
    spread = noise * np.linalg.pinv(slopes(best).T @ slopes(best))
    estimates = [
        _estimate(float(best[at]), math.sqrt(max(float(spread[at, at]), 0.0)), len(n) - parameters)
        for at in range(1, parameters)
    ]
    error = math.sqrt(float(np.mean(residuals**2)))
    kappa = estimates[1] if parameters == 3 else None
    return Law(math.exp(float(best[0])), estimates[0], kappa, error), spread


def _estimate(value: float, deviation: float, degrees: int) -> Estimate:
    """A parameter that is 0 or more."""
    half = student_t_95(degrees) * deviation
    return Estimate(value, max(0.0, value - half), value + half, value - half > 0)


def _peak(sigma: float, kappa: float) -> float:
    return math.sqrt(max(1 - sigma, 0.0) / kappa) if kappa > 0 else math.inf


def _peak_of(usl: Law, spread: Any, counts: int) -> Estimate:
    """Where *usl* is highest, from 1 thread on; its interval is that of its logarithm."""
    assert usl.kappa is not None
    sigma, kappa = usl.sigma.value, usl.kappa.value
    peak = _peak(sigma, kappa)
    if not usl.kappa.determined:
        least = _peak(usl.sigma.low, usl.kappa.high)
        return Estimate(peak, max(1.0, least), math.inf, determined=False)
    if peak <= 1:
        return Estimate(1.0, 1.0, max(1.0, _peak(usl.sigma.low, usl.kappa.low)), determined=True)
    slope = np.array([0.0, -0.5 / (1 - sigma), -0.5 / kappa])
    far = student_t_95(counts - 3) * math.sqrt(max(float(slope @ spread @ slope), 0.0))
    return Estimate(peak, max(1.0, peak * math.exp(-far)), peak * math.exp(min(far, 500.0)), determined=True)
