"""Races for a lock."""

from __future__ import annotations

from sim.verify.explore.layout import Layout
from sim.verify.locks import Turn

_WRITER, _READER = Turn(1_000, True, 1_000), Turn(1_000, False, 1_000)
_DOWNGRADER = Turn(1_000, True, 1_000, downgrades=True)

OF_LOCKS = (
    Layout("two-writers", "two writers, twice each", [], [[_WRITER] * 2, [_WRITER] * 2]),
    Layout("three-writers", "three writers", [], [[_WRITER], [_WRITER], [_WRITER]]),
    Layout("writer-reader", "a writer beside a reader, twice each", [], [[_WRITER] * 2, [_READER] * 2]),
    Layout("reader-writer-reader", "a writer beside two readers", [], [[_READER], [_WRITER], [_READER]]),
    Layout(
        "downgrade",
        "a writer that downgrades beside a writer and a reader",
        [],
        [[_DOWNGRADER], [_WRITER], [_READER]],
    ),
    Layout("writers-reader", "two writers beside a reader", [], [[_WRITER], [_READER], [_WRITER]]),
    Layout(
        "readers-writer",
        "two readers, twice each, beside a writer",
        [],
        [[_READER] * 2, [_READER] * 2, [_WRITER]],
    ),
)
