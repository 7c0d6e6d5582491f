"""Fixtures that time runs of many operations, and the summary that shows operations a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

Run: TypeAlias = Callable[[], object]
"""A simulation that is built and ready: only calling it is timed."""

ROWS = pytest.StashKey[list[tuple[str, str, str]]]()
"""(group, contestant, result)."""


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[str, str, str], None]:
    """`report(group, contestant, result)` adds a line to the summary."""
    rows = request.config.stash.setdefault(ROWS, [])
    return lambda *row: rows.append(row)


@pytest.fixture
def rate(benchmark: BenchmarkFixture, report: Callable[[str, str, str], None]) -> Callable[..., None]:
    """`rate(group, contestant, operations, build)` times what *build* makes anew for each round."""

    def measure(group: str, contestant: str, operations: int, build: Callable[[], Run]) -> None:
        benchmark.group = group
        benchmark.pedantic(lambda run: run(), setup=lambda: ((build(),), {}), rounds=7, warmup_rounds=1)
        report(group, contestant, f"{operations / benchmark.stats['min']:,.0f}/s")

    return measure


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    terminalreporter.section("operations a second (the best round)")
    for title in dict.fromkeys(group for group, _, _ in rows):
        terminalreporter.write_line(title)
        for group, contestant, result in rows:
            if group == title:
                terminalreporter.write_line(f"    {contestant:<40}{result:>14}")
