"""The report's sentences: what a reader would say after a minute with the curves."""

from __future__ import annotations

import math

from sim.analysis.report.facts import Curve, Interval, Panel
from sim.analysis.throughput import NOTABLE
from sim.analysis.wording import design_title, duration, plain_number, thread_count

_SCALES = 0.7
"""Share of linear speed-up from which on a curve is said to scale."""
_FLAT = 0.1
"""A last point within this share of the peak is no fall."""
_NAMED = 2
"""Activities that a sentence names."""
_LEAST = 0.1
"""Share of an operation's time that a named activity has at least."""


def sentences(panel: Panel) -> list[str]:
    """A sentence or two about each curve of *panel*."""
    return [
        f"{design_title(curve.design)} {_course(curve)}. {_reason(curve)}".strip() for curve in panel.curves
    ]


def headline(panel: Panel, baseline: str) -> str:
    """Who is ahead at the most threads, and by how much."""
    others = [curve for curve in panel.curves if curve.over_baseline is not None]
    if not others:
        only = max(panel.curves, key=lambda curve: curve.last.mean)
        return f"{design_title(only.design)}: {rate(only.last.mean)} with {thread_count(only.threads[-1])}"
    best = max(others, key=lambda curve: curve.over_baseline.mean if curve.over_baseline else 0.0)
    ratio = best.over_baseline
    assert ratio is not None
    sure = "" if not ratio.known else f" (95 %: {times(ratio.low)} to {times(ratio.high)})"
    if ratio.mean < 1:
        sure += "; no design is ahead of it"
    return (
        f"{design_title(best.design)} does {times(ratio.mean)} what {design_title(baseline)} does"
        f" with {thread_count(best.threads[-1])}{sure}"
    )


def rate(ops_per_us: float) -> str:
    """A throughput in words: `1.2 M operations/s`."""
    return f"{plain_number(ops_per_us * 1e6)} operations/s"


def times(ratio: float) -> str:
    """`1.5 times`, `1480 times`."""
    return f"{plain_number(ratio)} times"


def interval(value: Interval) -> str:
    """`0.51 ± 0.02`, or the mean alone for one replicate."""
    mean = plain_number(value.mean)
    return f"{mean} ± {plain_number(value.high - value.mean)}" if value.known else mean


def share_of(part: float) -> str:
    """`72 %`; what is nearly all is not called all of it."""
    return "more than 99 %" if 0.995 <= part < 1 else f"{100 * part:.0f} %"


def _course(curve: Curve) -> str:
    """How the curve goes."""
    first, last = curve.threads[0], curve.threads[-1]
    if first == last:
        return f"does {rate(curve.last.mean)} with {thread_count(last)}"
    at, peak = curve.peak
    gain = curve.speed_up / (last / first)
    if gain >= _SCALES:
        return f"scales to {thread_count(last)}: {times(curve.speed_up)} the rate of {thread_count(first)}"
    if curve.last.mean < (1 - _FLAT) * peak:
        fall = 1 - curve.last.mean / peak
        return (
            f"peaks with {thread_count(at)} at {rate(peak)} and loses {share_of(fall)} of that up to "
            f"{thread_count(last)}"
        )
    return (
        f"stops scaling at {thread_count(curve.knee)} and ends at {rate(curve.last.mean)} with "
        f"{thread_count(last)}, {times(curve.speed_up)} the rate of {thread_count(first)}"
    )


def _reason(curve: Curve) -> str:
    """What takes the time of an operation at the end, and whether the other throughput says otherwise."""
    named = [(name, share) for name, share in curve.groups[:_NAMED] if share >= _LEAST]
    text = ""
    if named:
        parts = " and ".join(f"{share_of(share)} {name}" for name, share in named)
        text = f"There an operation takes {duration(curve.time_ns)}, waiting included: {parts}."
    latency = curve.last_from_latency
    if not math.isnan(latency) and abs(latency / curve.last.mean - 1) > NOTABLE:
        text += f" Threads over mean latency, which some benchmarks report, would say {rate(latency)}."
    if curve.failed:
        text += f" {curve.failed} of its points failed."
    return text.strip()
