"""The answer of a profile in words: which lock or line is the bottleneck, and why its holder is slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sim.analysis.tables import swept_columns
from sim.experiment import KEY, ObjectProfile
from sim.profile import ALL, HAND_OVER, LOCK_WAIT, OTHER, TRANSFER, WORK
from sim.terminal import TextTable

_LEAST = 0.01
"""What takes less of the time than this is not worth a word."""
_OFTEN = 0.1
"""A line is shared if so many of its accesses, or so much of their time, are not its own cpu's affair."""
_MOST_WHAT = 3
_HAND_OVER = "nobody (hand-over)"

_DOES: Mapping[str, str] = {
    "work": "work",
    "transfer": "fetching cache lines",
    "lock wait": "waiting for another lock",
    "flush": "sending IPIs and flushing its TLB",
    "flush wait": "waiting for acks of a flush",
    "zeroing": "zeroing or copying pages",
    "asleep": "asleep or switched out",
    "scheduling": "in the scheduler",
    "interrupt": "in interrupts",
    "other": "waiting for something else",
    "hand-over": "the hand-over, with nobody in the way",
}


class PointProfile:
    """One point of a profile: its rows of each table."""

    def __init__(self, profile: ObjectProfile, point: Mapping[Any, Any]) -> None:
        self.point = point
        self._names = [*KEY, *swept_columns(profile.points)]
        for name, table in profile.tables.items():
            setattr(self, name, self._mine(table))
        self.operation_ns = float(self._mine(profile.breakdown)["ns_per_op"].sum())

    locks: pd.DataFrame
    holds: pd.DataFrame
    operations: pd.DataFrame
    waits_for: pd.DataFrame
    root_causes: pd.DataFrame
    lines: pd.DataFrame

    def _mine(self, table: pd.DataFrame) -> pd.DataFrame:
        chosen = pd.Series(True, index=table.index)
        for name in self._names:
            chosen &= table[name] == self.point[name]
        return table[chosen]

    @property
    def label(self) -> str:
        """The point in words."""
        point, swept = self.point, [name for name in self._names if name not in KEY]
        placement = f" {point['placement']}" if point["placement"] else ""
        values = "".join(f", {name.rpartition('.')[2]} {point[name]}" for name in swept)
        return (
            f"{point['design']}, {point['workload']}{placement}, {point['threads']} threads on "
            f"{point['machine']}{values}"
        )

    @property
    def kinds(self) -> pd.DataFrame:
        """The kinds of locks, in each mode."""
        return self.locks[self.locks["scope"] == "kind"]


def point_profiles(profile: ObjectProfile) -> list[PointProfile]:
    """The points that could be profiled."""
    good = profile.points[profile.points["status"] == "ok"]
    return [PointProfile(profile, point) for point in good.to_dict("records")]


def answer(found: PointProfile, top: int = 3) -> list[str]:
    """What holds this point up, a sentence or two a line."""
    said = [f"{found.label}: an operation takes {_time(found.operation_ns)} of its threads"]
    waits = found.kinds.groupby("lock", sort=False)["wait_share"].sum().sort_values(ascending=False)
    slow = [str(lock) for lock, share in waits.head(top).items() if share >= _LEAST]
    if not slow:
        said.append(f"  no lock is waited for {_LEAST:.0%} of the time or more")
    for lock in slow:
        said += _lock(found, lock)
    return said + _bottom_line(found) + _lines(found)


def _lock(found: PointProfile, lock: str) -> list[str]:
    uses = _of(found.kinds, lock)
    locks, taken = uses["locks"].max(), uses["acquisitions"].sum()
    many = f", {locks:,} of them," if locks > 1 else ""
    per_operation = uses["wait_ns"].sum() / found.point["operations"]
    contended = f"; somebody had it {uses['contended'].sum() / taken:.0%} of {taken:,} times" if taken else ""
    share = uses["wait_share"].sum()
    said = [
        f"  {lock}{many} is waited for {share:.0%} of the time: {_time(per_operation)} of an operation"
        f"{_modes(uses)}{contended}"
    ]
    held = uses["hold_ns"].sum()
    for use in uses[uses["hold_ns"] >= _LEAST * held].to_dict("records") if held else ():
        mode = f" to {use['mode']}" if len(uses) > 1 else ""
        hold = _time(use["hold_ns"] / use["holds"])
        said.append(f"    who has it{mode} keeps it for {hold}: {_parts(found, use)}")
    whole = uses["wait_ns"].sum()
    pairs = _ranked(_of(found.operations, lock), ("waiter", "holder"))
    words = [
        f"{waiter} for {_HAND_OVER if holder == HAND_OVER else holder} {wait / whole:.0%}"
        for (waiter, holder), wait in pairs[:_MOST_WHAT]
        if wait >= _LEAST * whole
    ]
    said.append(f"    who waits for whom: {', '.join(words)}")
    roots = _ranked(_of(found.root_causes, lock), ("root", "holder_does"))
    words = [
        f"{wait / whole:.0%} {_at_the_root(root, does, lock)}"
        for (root, does), wait in roots[: _MOST_WHAT + 1]
        if wait >= _LEAST * whole
    ]
    said.append(f"    what for, at the end of the chain: {', '.join(words)}")
    return said


def _modes(uses: pd.DataFrame) -> str:
    """Which mode is wanted, where there are several."""
    if len(uses) == 1:
        return ""
    whole = uses["wait_ns"].sum()
    parts = [
        f"{use['wait_ns'] / whole:.0%} to {use['mode']}"
        for use in uses.to_dict("records")
        if use["wait_ns"] >= _LEAST * whole
    ]
    return f" ({', '.join(parts)})"


def _parts(found: PointProfile, use: Mapping[Any, Any]) -> str:
    """What holders in one mode do, the largest parts first."""
    holds = found.holds
    mine = holds[(holds["lock"] == use["lock"]) & (holds["mode"] == use["mode"])]
    parts = mine.groupby("part", sort=False)["share_of_hold"].sum().sort_values(ascending=False)
    return ", ".join(
        f"{share:.0%} {_DOES[part]}{_what(mine[mine['part'] == part], part)}"
        for part, share in zip(map(str, parts.index), parts, strict=True)
        if share >= _LEAST
    )


def _at_the_root(root: str, part: str, waited_for: str) -> str:
    if part == HAND_OVER:
        return _DOES[part] if root == waited_for else f"the hand-over of {root}"
    holder = "its holder" if root == waited_for else f"a holder of {root}"
    return f"{holder} {_doing(_DOES[part])}"


def _doing(does: str) -> str:
    return "at work" if does == "work" else does


def _what(rows: pd.DataFrame, part: str) -> str:
    """What the largest shares of a part are, if that says more than the part."""
    if part not in (WORK, TRANSFER, LOCK_WAIT, OTHER):
        return ""
    rows = rows[(rows["share_of_hold"] >= _LEAST) & (rows["what"] != "")].head(_MOST_WHAT)
    return (
        f" ({', '.join(f'{_shortened(str(row.what))} {row.share_of_hold:.0%}' for row in rows.itertuples())})"
        if len(rows)
        else ""
    )


def _bottom_line(found: PointProfile) -> list[str]:
    """Where all chains of waiting end, or the line that takes more time than all holders make others wait."""
    roots = found.root_causes[found.root_causes["lock"] == ALL]
    behind_holders = roots[roots["holder_does"] != HAND_OVER]["wait_ns"].sum()
    lines = found.lines[found.lines["scope"] == "kind"]
    if len(lines) and (line := lines.iloc[0])["time_ns"] > behind_holders:
        if line["time_share"] < _LEAST or not _is_shared(line):
            return []
        of = f", of {line['lock']}" if line["lock"] else ""
        return [
            f"  bottleneck: no holder, but the cache line {_shortened(line['line'])}{of}: its accesses take "
            f"{line['time_share']:.0%} of the time"
        ]
    if roots.empty:
        return []
    by_lock = roots.groupby("root", sort=False)["share_of_wait"].sum().sort_values(ascending=False)
    name, share = str(by_lock.index[0]), by_lock.iloc[0]
    does = roots[roots["root"] == name].iloc[0]
    return [
        f"  bottleneck: {share:.0%} of all waiting for locks ends at {name}, the largest part "
        f"({does['share_of_wait']:.0%}): {_DOES[does['holder_does']]}"
    ]


def _is_shared(line: pd.Series[Any]) -> bool:
    """Whether a line travels or is queued for: the accesses to one that stays in its cache are just work."""
    moved = sum(line[f"transfers_{place}"] for place in ("same_cluster", "same_socket", "other_socket"))
    often = moved > _OFTEN * (line["reads"] + line["writes"])
    return bool(often or line["queued_ns"] > _OFTEN * line["time_ns"])


def _lines(found: PointProfile) -> list[str]:
    lines = found.lines[found.lines["scope"] == "kind"]
    if lines.empty:
        return ["  no cache line was told of"]
    line = lines.iloc[0]
    queued = line["queued_ns"] / line["time_ns"] if line["time_ns"] else 0.0
    return [
        f"  hottest line: {_shortened(line['line'])}, {line['time_share']:.1%} of the time, {queued:.0%} "
        f"of it queueing; {line['cpus']} cpus use it: {line['top_users']}"
    ]


def _of(table: pd.DataFrame, lock: str) -> pd.DataFrame:
    rows: pd.DataFrame = table[table["lock"] == lock]
    return rows


def _ranked(table: pd.DataFrame, keys: tuple[str, str]) -> Sequence[tuple[tuple[str, str], float]]:
    """The sums of `wait_ns` over both modes, the largest first."""
    sums: Counter[tuple[str, str]] = Counter()
    for row in table.to_dict("records"):
        sums[row[keys[0]], row[keys[1]]] += row["wait_ns"]
    return sums.most_common()


def lock_name(locks: pd.DataFrame, lock: Mapping[Any, Any]) -> str:
    """The name of a lock, with the mode if it has several."""
    modes = locks[locks["lock"] == lock["lock"]]["mode"].nunique()
    return f"{lock['lock']} ({lock['mode']})" if modes > 1 else str(lock["lock"])


def _time(ns: float) -> str:
    for size, unit in ((1e6, "ms"), (1e3, "µs")):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns"


# -- tables for people --------------------------------------------------------------------------------------


def lock_table(found: PointProfile, top: int) -> TextTable:
    """The locks that are waited for longest, all of a kind in a row; how their holders spend the hold."""
    table = _table("locks: time waited, and what holders do", ("lock",))
    for heading in ("locks", "taken", "contended", "wait", "mean wait", "mean hold"):
        table.add_column(heading, justify="right")
    shown = ("work", "transfer", "lock wait", "flush wait", "asleep")
    for part in (*shown, "rest"):
        table.add_column(part, justify="right")
    for lock in found.kinds.head(top).to_dict("records"):
        tries = lock["acquisitions"] + lock["missed"]
        hold = lock["hold_ns"]
        parts = [lock[f"hold_{part.replace(' ', '_')}_ns"] for part in shown]
        shares = [f"{part / hold:.0%}" if hold else "-" for part in (*parts, max(0.0, hold - sum(parts)))]
        table.add_row(
            lock_name(found.locks, lock),
            f"{lock['locks']:,}",
            f"{lock['acquisitions']:,}",
            f"{lock['contended'] / lock['acquisitions']:.0%}" if lock["acquisitions"] else "-",
            f"{lock['wait_share']:.1%}",
            _time(lock["wait_ns"] / tries) if tries else "-",
            _time(hold / lock["holds"]) if lock["holds"] else "-",
            *shares,
        )
    return table


def line_table(found: PointProfile, top: int) -> TextTable:
    """The lines on which most time goes, all of a kind in a row; where they came from."""
    table = _table("cache lines: time of all accesses, transfers by distance", ("line",))
    headings = ("time", "queued", "reads", "writes", "cpus", "cluster", "socket", "other socket", "memory")
    for heading in headings:
        table.add_column(heading, justify="right")
    table.add_column("lock")
    for line in found.lines[found.lines["scope"] == "kind"].head(top).to_dict("records"):
        moved = [
            line[f"transfers_{place}"] for place in ("same_cluster", "same_socket", "other_socket", "memory")
        ]
        table.add_row(
            _shortened(line["line"]),
            f"{line['time_share']:.1%}",
            f"{line['queued_ns'] / line['time_ns']:.0%}" if line["time_ns"] else "-",
            f"{line['reads']:,}",
            f"{line['writes']:,}",
            f"{line['cpus']}",
            *(f"{count:,}" for count in moved),
            line["lock"],
        )
    return table


def _shortened(name: str) -> str:
    """A line's name with the first and the last of the fields that lie on it."""
    fields = name.split("+")
    return name if len(fields) < 3 else f"{fields[0]}+…+{fields[-1]}"


def _table(title: str, names: Sequence[str]) -> TextTable:
    table = TextTable(box=None, pad_edge=False, header_style="bold", title_justify="left", title=title)
    for name in names:
        table.add_column(name)
    return table
