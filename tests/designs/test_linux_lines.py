"""Which lines of mm_struct does each of Linux's operations touch, and which of them come together?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kernels import BASE, LEAF, Process, design
from pydantic import ValidationError

from sim.designs.linux import LinuxSpec
from sim.designs.linux.layout import MM_FIELDS
from sim.engine import Activity, Probe, Steps
from sim.engine.probe import LineView
from sim.errors import InputError
from sim.files import load_spec
from sim.hardware import Cpu
from sim.mm import READ, Madvise, Mmap, Mprotect, Munmap

APART: dict[str, Any] = {"layout": {"mm_struct": ()}}
FAR = ("same_cluster", "cross_cluster", "cross_socket")


class Transfers(Probe):
    """The lines of mm_struct that cpu 0 takes (W) or shares (R), in order."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def line_transfer(
        self, line: LineView, cpu: int, source: int, distance: str, cost: int, exclusive: bool
    ) -> None:
        if cpu == 0 and line.name.startswith("mm."):
            self.seen.append(f"{'W' if exclusive else 'R'} {line.name.removeprefix('mm.')}")


def transfers(operation: Any, *before: tuple[Any, ...], changes: Any = None) -> list[str]:
    """What cpu 0 fetches in *operation*, after *before*, when cpu 1 has written every field last.

    A read that follows a read or a write, and a store that follows a write, need no transfer: the line is
    here. A RMW of a line that is here counts.
    """
    heard = Transfers()
    process = Process("linux", cpus=2, changes=changes or APART, listeners=(heard,))
    process.do(*before)

    def takes_all(cpu: Cpu) -> Steps[None]:
        for line in dict.fromkeys(process.space.lines.values()):
            yield from line.write(cpu)

    def body(cpu: Cpu) -> Steps[None]:
        if isinstance(operation, tuple):
            yield from process.space.access(cpu, *operation)
        else:
            yield from process.space.perform(cpu, operation)

    process.run({1: takes_all})
    heard.seen.clear()
    process.run({0: body})
    return heard.seen


DOWN = ["W mmap_lock.count", "W mmap_lock.owner"]
END = ["W mm_lock_seq"]
UP = ["W mmap_lock.count"]
GATHER = ["W tlb_flush_pending", "R rss_stat", "R hiwater_rss"]
UNGATHER = ["W tlb_flush_pending"]
EXPAND = ["R total_vm", "R data_vm"]
ACCOUNT = ["W total_vm", "W data_vm"]


def test_what_does_mmap_touch() -> None:
    found = transfers(Mmap(4, BASE))
    root = ["R mm_mt"]  # the search; then the store of the new leaf
    assert found == [*DOWN, "R map_count", *EXPAND, *root, "R mm_lock_seq", "W mm_mt", "W map_count",
                     *ACCOUNT, *END, *UP]  # fmt: skip


def test_does_an_mmap_that_merges_not_count_a_vma() -> None:
    """map_count is only read, by the limit; a mapping that closes a gap has one VMA fewer to count."""
    merged = transfers(Mmap(4, BASE + 4), ("mmap", 4, BASE))
    assert [each for each in merged if "map_count" in each] == ["R map_count"]
    closing = transfers(Mmap(4, BASE + 4), ("mmap", 4, BASE), ("mmap", 4, BASE + 8))
    assert [each for each in closing if "map_count" in each] == ["R map_count", "W map_count"]


def test_what_does_munmap_touch() -> None:
    """map_count and locked_vm under the write lock; total_vm and its peak after the downgrade."""
    found = transfers(Munmap(BASE, 4), ("mmap", 4, BASE))
    write = ["R mm_mt", "R mm_lock_seq", "W mm_mt", "W map_count", "W locked_vm"]
    downgraded = [*END, "W mmap_lock.count"]
    peak = ["R hiwater_vm", "R total_vm", "W hiwater_vm"]
    assert found == [*DOWN, *write, *downgraded, *GATHER, *UNGATHER, *peak, *ACCOUNT, *UP]


def test_is_a_peak_noted_once() -> None:
    again = transfers(Munmap(BASE, 4), ("mmap", 4, BASE), ("munmap", BASE, 4), ("mmap", 4, BASE))
    assert "R hiwater_vm" in again
    assert "W hiwater_vm" not in again
    pages = 32  # a percpu_counter's batch: before that nobody else sees them
    touches = [("touch", BASE + page) for page in range(pages)]
    few, once = touches[:-1], [("mmap", pages, BASE), *touches]
    assert "W hiwater_rss" not in transfers(Madvise(BASE, pages), ("mmap", pages, BASE), *few)
    assert "W hiwater_rss" in transfers(Madvise(BASE, pages), *once)
    again = [("discard", BASE, pages), *touches]
    assert "W hiwater_rss" not in transfers(Madvise(BASE, pages), *once, *again)


def test_does_a_split_look_at_the_limit_only_where_there_is_one_vma_more() -> None:
    """vms_gather_munmap_vmas: a hole in the middle. Each split counts a VMA, the unmapping discounts it."""

    def counted(at: int) -> list[str]:
        found = transfers(Munmap(BASE + at, 2), ("mmap", 9, BASE))
        return [each for each in found if "map_count" in each]

    assert counted(0) == ["W map_count"]
    assert counted(3) == ["R map_count", "W map_count"]


def test_what_does_a_first_touch_touch() -> None:
    """The prefetch, the tree, the sequence; an anon_vma and a table on each of three levels."""
    found = transfers((BASE,), ("mmap", 4, BASE))
    upper = ["W page_table_lock", "W pgtables_bytes"]  # level 3, then 2
    again = ["W pgtables_bytes"]
    anon_vma = ["W mmap_lock.count", "W mmap_lock.owner", "W page_table_lock", "W mmap_lock.count"]
    looked = ["W mmap_lock.count", "R mm_mt", "R mm_lock_seq"]
    assert found == [*looked, *upper, "W page_table_lock", *again, *again, *anon_vma]
    assert transfers((BASE + 1,), ("mmap", 4, BASE), ("touch", BASE)) == looked


def test_does_a_fault_read_pgd_where_others_write_its_line() -> None:
    """pgd_offset: beside mmap_lock's count, which cpu 1 has written. Alone it is always here."""

    def touched(*groups: tuple[str, ...]) -> list[str]:
        changes = {"layout": {"mm_struct": groups}, "switches": {"prefetchw_mmap_lock": False}}
        return transfers((BASE + 1,), ("mmap", 4, BASE), ("touch", BASE), changes=changes)

    tree = ["R mm_mt", "R mm_lock_seq"]
    assert touched() == tree
    assert touched(("pgd", "mmap_lock.count")) == [*tree, "R pgd+mmap_lock.count"]


def test_what_does_discarding_touch() -> None:
    found = transfers(Madvise(BASE, 4), ("mmap", 4, BASE))
    assert found == [*DOWN, "R mm_mt", *GATHER, *UNGATHER, *UP]


def test_what_does_mprotect_touch() -> None:
    found = transfers(Mprotect(BASE, 4, READ), ("mmap", 4, BASE))
    whole = ["R mm_mt", "W tlb_flush_pending", "R mm_lock_seq"]
    assert found == [*DOWN, *whole, *ACCOUNT, *UNGATHER, *END, *UP]
    part = transfers(Mprotect(BASE, 2, READ), ("mmap", 4, BASE))
    assert [each for each in part if "map_count" in each] == ["R map_count", "W map_count"]


def test_does_freeing_a_table_touch_pgtables_bytes() -> None:
    cycle = (("mmap", LEAF, BASE), ("mmap", 1, BASE + 2 * LEAF), ("touch", BASE))
    found = transfers(Munmap(BASE, LEAF), *cycle)
    assert found.count("W pgtables_bytes") == 1
    assert found.index("W pgtables_bytes") < found.index("W context.tlb_gen") < found.index("R hiwater_vm")


def test_do_fields_of_a_group_come_together() -> None:
    """munmap as above: each line is fetched once; the RMWs of count and tlb_flush_pending are seen again."""
    count = "pgtables_bytes+map_count+page_table_lock+mmap_lock.count"
    owner = "mmap_lock.owner+mm_lock_seq+hiwater_rss"
    total = "hiwater_vm+total_vm+locked_vm+data_vm"
    found = transfers(Munmap(BASE, 4), ("mmap", 4, BASE), changes={"switches": {}})
    assert found == [
        f"W {count}", f"W {owner}", "R mm_mt", "W mm_mt", f"W {total}", f"W {count}",
        "W tlb_flush_pending", "R rss_stat", "W tlb_flush_pending", f"W {count}",
    ]  # fmt: skip


def test_has_each_field_one_line() -> None:
    groups = (("map_count", "mm_mt"), ("rss_stat", "context.tlb_gen", "mm_cpumask"))
    process = Process("linux", changes={"layout": {"mm_struct": groups}})
    lines = process.space.lines
    assert tuple(lines) == (*groups[0], *groups[1], *(f for f in MM_FIELDS if f not in groups[0] + groups[1]))
    assert len({id(line) for line in lines.values()}) == len(MM_FIELDS) - 3
    assert lines["map_count"] is lines["mm_mt"]
    assert lines["rss_stat"] is lines["mm_cpumask"] is not lines["map_count"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ((("map_count", "mm_mt"), ("map_count",)), r"map_count lies on one line only"),
        ((("map_count", "map_count"),), r"map_count lies on one line only"),
        ((("map_cuont",),), r"should be .*'map_count'"),
    ],
)
def test_is_a_layout_refused_that_cannot_be(groups: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        design("linux", {"layout": {"mm_struct": groups}})


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (
            "[[map_count, mm_mt], [rss_stat, map_count]]",
            "6:44: layout.mm_struct[1][1]: map_count lies on one",
        ),
        (
            "[[map_count, mm_tm]]",
            "6:25: layout.mm_struct[0][1]: unknown value (got 'mm_tm'; allowed: mm_count,",
        ),
        ("[map_count]", "6:13: layout.mm_struct[0]: must be a list (got 'map_count')"),
    ],
)
def test_does_a_file_say_where_its_layout_is_wrong(tmp_path: Path, groups: str, said: str) -> None:
    file = tmp_path / "odd.yaml"
    form = f"  mm_struct:\n    value: {groups}\n    quality: estimated\n"
    file.write_text(f"name: odd\ntitle: odd\ninherits: linux-6.13\nlayout:\n{form}")
    with pytest.raises(InputError, match=re.escape(f"odd.yaml:{said}")):
        load_spec("design", file)


def test_does_linux_take_every_layout_of_the_documentation() -> None:
    """docs/linux.md has a block for each version; the third is that of the shipped 6.13."""
    text = (Path(__file__).parents[2] / "docs" / "linux.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.M | re.S)]
    found = [block["layout"]["mm_struct"]["value"] for block in blocks if "layout" in block]
    assert len(found) == len({str(groups) for groups in found}) == 8
    for groups in found:
        spec = design("linux", {"layout": {"mm_struct": tuple(map(tuple, groups))}})
        assert isinstance(spec, LinuxSpec)
        named = {field for group in spec.layout.mm_struct for field in group}
        assert {"mmap_lock.count", "map_count"} <= named
    shipped = load_spec("design", "linux-6.13").spec
    assert isinstance(shipped, LinuxSpec)
    assert shipped.layout.mm_struct == tuple(map(tuple, found[2]))


@pytest.mark.parametrize(
    ("prefetches", "ordered", "waits"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_does_a_fault_end_when_the_line_that_it_prefetches_is_here(
    prefetches: bool, ordered: bool, waits: bool
) -> None:
    """Cpus 1 to 7 write the line of mmap_lock's count all the time: IRET has to wait for cpu 0's turn."""
    process = Process(
        "linux",
        cpus=8,
        changes={"switches": {"prefetchw_mmap_lock": prefetches}},
        machine={"coherence": {"prefetch_ordered": ordered, **dict.fromkeys(FAR, "3 us")}},
    )
    process.do(("mmap", 4, BASE), ("touch", BASE))
    count, entry = process.space.mmap_lock.count, {}

    def write(cpu: Cpu) -> Steps[None]:
        for _ in range(3):
            yield from count.write(cpu)

    def fault(cpu: Cpu) -> Steps[None]:
        cpu.work(10_000, Activity("user"))
        before = cpu.spent["fault entry"]
        yield from process.space.access(cpu, BASE + 1)
        entry["took"] = cpu.spent["fault entry"] - before

    process.run({0: fault, **dict.fromkeys(range(1, 8), write)})
    assert (entry["took"] > 6 * 3_000_000) == waits
