"""Races for a lock."""

from __future__ import annotations

from sim.verify.explore.layout import Layout
from sim.verify.locks import Turn

_WRITER, _READER = Turn(1_000, True, 1_000), Turn(1_000, False, 1_000)
_LONG_READER = Turn(1_000, False, 20_000_000)
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
    Layout(
        "long-reader",
        "a reader that stays for 20 us and comes back as a writer, beside two writers, which lose patience",
        [],
        [[_LONG_READER, _WRITER], [_WRITER], [_WRITER]],
    ),
    Layout(
        "two-sockets",
        "writers of two sockets",
        [],
        [[_WRITER] * 2, [_WRITER], *([] for _ in range(6)), [_WRITER]],
    ),
)
