"""Activities gathered into a few groups that a reader can tell apart in one chart.

The model decides which activities exist; a chart shows at most `MOST_GROUPS`. Known activities have a fixed
group; an unknown lock joins the other locks, and any other unknown activity stands for itself until the
chart is full, when the smallest groups become `OTHER`. A group has the same colour in every figure.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from zlib import crc32

import pandas as pd

MOST_GROUPS = 11
OTHER = "other"
_OTHER_LOCKS = "other locks"
_LOCK_PREFIX = "lock: "

# Group -> (colour, its activities), in the order of the stack. Work is blue and green, shared lines yellow
# and brown, locks (taking them and waiting) red, orange and dark purple, flushes pale purple, rest is grey.
_GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "user and kernel entry": ("#9ecae1", ("user", "syscall", "fault entry")),
    "VMA work": ("#4292c6", ("vma", "slab")),
    "page table": ("#08519c", ("page table",)),
    "frames": ("#41ab5d", ("allocate", "zero", "copy", "lru", "reclaim", "swap", "exmap pool")),
    "cache-line transfer": ("#f0e442", ("cache line",)),
    "VA allocator": ("#8c510a", ("va allocator", "lock: va allocator")),
    "mmap_lock": ("#b2182b", ("lock: mmap_lock",)),
    "VMA lock": ("#fb9a99", ("lock: vma",)),
    "page-table lock": ("#ff9900", ("lock: page table",)),
    _OTHER_LOCKS: ("#762a83", ("lock: lru", "lock: zone", "lock: frames", "lock: swap")),
    "TLB flush and IPIs": ("#c2a5cf", ("tlb flush", "ipi send", "ipi wait", "interrupt")),
    "start, switch, idle": ("#d9d9d9", ("start", "sched", "idle")),
}
_GROUP_OF = {activity: group for group, (_, activities) in _GROUPS.items() for activity in activities}
_SPARE_COLOURS = ("#01665e", "#35978f", "#bf812d", "#80cdc1", "#dfc27d")
_OTHER_COLOUR = "#737373"


def group_of(activity: str) -> str:
    """The group of an *activity*."""
    if activity in _GROUP_OF:
        return _GROUP_OF[activity]
    return _OTHER_LOCKS if activity.startswith(_LOCK_PREFIX) else activity


def group_colour(group: str) -> str:
    """The colour of a *group*: fixed for known ones, chosen by the name's checksum for any other."""
    if group in _GROUPS:
        return _GROUPS[group][0]
    if group == OTHER:
        return _OTHER_COLOUR
    return _SPARE_COLOURS[crc32(group.encode()) % len(_SPARE_COLOURS)]


def in_order(groups: Set[str]) -> list[str]:
    """*groups* as they are stacked: known ones in their order, then strangers, then what was summed up."""
    order = [*_GROUPS, *sorted(groups - set(_GROUPS) - {OTHER}), OTHER]
    return [group for group in order if group in groups]


def grouped(breakdown: pd.DataFrame, keys: Sequence[str], most: int = MOST_GROUPS) -> pd.DataFrame:
    """Nanoseconds per operation of each group: one row for each *keys*, one column for each group.

    Replicates are averaged. Columns stand in stack order and are at most *most*; those that would not fit
    are the ones whose largest share of any row is smallest, and they are summed in `OTHER`. Groups that are
    zero everywhere are left out.
    """
    named = breakdown.assign(group=breakdown["activity"].map(group_of))
    extra = [name for name in ("seed", "replicate") if name in named]
    per_run = named.groupby([*keys, *extra, "group"], sort=False)["ns_per_op"].sum().reset_index()
    wide = per_run.pivot_table(
        index=list(keys), columns="group", values="ns_per_op", aggfunc="mean", sort=False, fill_value=0.0
    )
    wide = wide.loc[:, (wide > 0).any()]
    if wide.shape[1] > most:
        largest_share = wide.div(wide.sum(axis=1), axis=0).max().sort_values(ascending=False, kind="stable")
        kept = [name for name in largest_share.index if name != OTHER][: most - 1]
        rest = wide.drop(columns=kept).sum(axis=1)
        wide = wide[kept].assign(**{OTHER: rest})
    return wide[in_order(set(wide.columns))]
