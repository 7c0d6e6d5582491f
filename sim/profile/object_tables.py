"""The tables of `cortensim profile`: rows by column, of what `Objects` has counted. Times are in ns.

Shares are of the time of all cpus that are online in the measured part, unless they say of what. A row's
*scope* is `kind` for all locks or lines of a kind together and `one` for a single one, of which the table has
those with the most time. Rows come with the most time first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from sim.profile.objects import Book
from sim.profile.parts import PARTS
from sim.profile.uses import LineUse, LockUse
from sim.quantities import PS_PER_NS

Row = dict[str, Any]

SHOWN: Final = 200
"""Single locks, and single lines, that a table has at most for a point."""

_USERS: Final = 3
"""Users that a row names."""

DISTANCES: Final = ("same cpu", "same core", "same cluster", "same socket", "other socket")
ALL: Final = "(all)"
"""Instead of a lock: all waits, save for those inside of other waits."""


def _in_column(name: str) -> str:
    return name.replace(" ", "_").replace("-", "_")


HOLD_COLUMNS: Final = {part: f"hold_{_in_column(part)}_ns" for part in PARTS}
"""Part of a hold -> its column of `locks`; they sum to `hold_ns`."""

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "locks": (
        "scope",
        "lock",
        "mode",
        "activity",
        "locks",
        "acquisitions",
        "contended",
        "missed",
        "wait_ns",
        "wait_max_ns",
        "wait_share",
        "nested_wait_ns",
        "release_ns",
        "holds",
        "hold_ns",
        "hold_max_ns",
        *HOLD_COLUMNS.values(),
        *(f"hand_overs_{_in_column(distance)}" for distance in DISTANCES),
        "top_waiters",
    ),
    "holds": ("lock", "mode", "part", "what", "hold_ns", "share_of_hold"),
    "operations": ("lock", "mode", "waiter", "holder", "wait_ns", "share_of_wait"),
    "waits_for": ("lock", "mode", "while_holding", "wait_ns", "wait_share"),
    "root_causes": ("lock", "mode", "root", "holder_does", "wait_ns", "share_of_wait"),
    "lines": (
        "scope",
        "line",
        "lines",
        "reads",
        "writes",
        "atomics_on_own",
        "transfers_same_core",
        "transfers_same_cluster",
        "transfers_same_socket",
        "transfers_other_socket",
        "transfers_memory",
        "time_ns",
        "time_share",
        "queued_ns",
        "longest_ns",
        "cpus",
        "lock",
        "top_users",
    ),
}
"""Table -> its columns, without those that name a point."""


def tables(book: Book, shown: int = SHOWN) -> dict[str, list[Row]]:
    """All tables of what was counted; a single lock or line has a row if it is among the first *shown*."""
    time = book.span * book.cpus
    found = {
        "locks": _locks(book, time, shown),
        "holds": _holds(book),
        "operations": _operations(book),
        "waits_for": _waits_for(book, time),
        "root_causes": _root_causes(book),
        "lines": _lines(book, time, shown),
    }
    return {
        name: [dict(zip(COLUMNS[name], row, strict=True)) for row in rows] for name, rows in found.items()
    }


def _locks(book: Book, time: int, shown: int) -> list[tuple[Any, ...]]:
    kinds = sorted(book.kinds.items(), key=lambda item: (-item[1].wait, item[0]))
    singles = sorted(book.locks.values.items(), key=lambda item: (-item[1].wait, item[0]))[:shown]
    rows = [_lock("kind", *key, len(book.names[key]), use, time) for key, use in kinds]
    return rows + [_lock("one", *key, 1, use, time) for key, use in singles]


def _lock(
    scope: str, name: str, mode: str, activity: str, locks: int, use: LockUse, time: int
) -> tuple[Any, ...]:
    by_waiter: Counter[str] = Counter()
    for (waiter, holder), length in use.pairs.items():
        by_waiter[f"{waiter or '-'} waits for {holder or '-'}"] += length
    return (
        scope,
        name,
        mode,
        activity,
        locks,
        use.acquisitions,
        use.contended,
        use.missed,
        _ns(use.wait),
        _ns(use.wait_max),
        _share(use.wait, time),
        _ns(use.nested),
        _ns(use.release),
        use.holds,
        _ns(use.hold),
        _ns(use.hold_max),
        *(_ns(use.parts[part]) for part in PARTS),
        *(use.hand_overs[distance] for distance in DISTANCES),
        _top(by_waiter, use.wait),
    )


def _holds(book: Book) -> list[tuple[Any, ...]]:
    whole = _sums(book.holds, 2)
    return [(*key, _ns(time), _share(time, whole[key[:2]])) for key, time in _ranked(book.holds)]


def _operations(book: Book) -> list[tuple[Any, ...]]:
    pairs: Counter[tuple[str, ...]] = Counter()
    for (kind, mode, _), use in book.kinds.items():
        for pair, time in use.pairs.items():
            pairs[kind, mode, *pair] += time
    whole = _sums(pairs, 2)
    return [(*key, _ns(time), _share(time, whole[key[:2]])) for key, time in _ranked(pairs) if time]


def _waits_for(book: Book, time: int) -> list[tuple[Any, ...]]:
    return [(*key, _ns(wait), _share(wait, time)) for key, wait in _ranked(book.edges) if wait]


def _root_causes(book: Book) -> list[tuple[Any, ...]]:
    whole, everything = _sums(book.roots, 2), book.chains.total()
    rows = [
        (ALL, "", *key, _ns(time), _share(time, everything)) for key, time in _ranked(book.chains) if time
    ]
    return rows + [
        (*key, _ns(time), _share(time, whole[key[:2]])) for key, time in _ranked(book.roots) if time
    ]


def _lines(book: Book, time: int, shown: int) -> list[tuple[Any, ...]]:
    def rank(uses: Mapping[str, LineUse]) -> list[tuple[str, LineUse]]:
        return sorted(uses.items(), key=lambda item: (-item[1].time, item[0]))

    rows = [_line("kind", kind, len(book.line_names[kind]), use, time) for kind, use in rank(book.line_kinds)]
    return rows + [_line("one", name, 1, use, time) for name, use in rank(book.lines.values)[:shown]]


def _line(scope: str, name: str, lines: int, use: LineUse, time: int) -> tuple[Any, ...]:
    users = Counter(
        {f"{operation} ({activity})": length for (operation, activity), length in use.users.items()}
    )
    return (
        scope,
        name,
        lines,
        use.reads,
        use.writes,
        *(use.transfers[distance] for distance in (*DISTANCES, "memory")),
        _ns(use.time),
        _share(use.time, time),
        _ns(use.queued),
        _ns(use.longest),
        use.cpus.bit_count(),
        max(use.locks, key=lambda lock: (use.locks[lock], lock)) if use.locks else "",
        _top(users, use.time),
    )


def _top(users: Mapping[str, int], whole: int) -> str:
    """The first few users with their shares."""
    ranked = sorted(users.items(), key=lambda item: (-item[1], item[0]))[:_USERS]
    return "; ".join(f"{user} {time / whole:.0%}" for user, time in ranked if time and whole)


def _ranked(times: Mapping[Any, int]) -> list[tuple[Any, int]]:
    return sorted(times.items(), key=lambda item: (-item[1], item[0]))


def _sums(times: Mapping[Any, int], parts: int) -> Counter[Any]:
    """The sums over all keys that begin alike."""
    sums: Counter[Any] = Counter()
    for key, time in times.items():
        sums[key[:parts]] += time
    return sums


def _ns(time: int) -> float:
    return time / PS_PER_NS


def _share(time: int, whole: int) -> float:
    return time / whole if whole else 0.0
