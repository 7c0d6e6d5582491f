"""What memory management takes of memory: tables, metadata, VMAs, descriptors, as they come and go."""

from __future__ import annotations

from typing import Any

import pytest
from kernels import BASE, EVERY_CORTENMM, LEAF, Process, design
from machines import raw_spec, small_machine

from sim.designs import build
from sim.mm import Exit, Fork, Munmap, Prepopulate
from sim.quantities import PAGE_BYTES

GIB = 1 << 30
PAGES = GIB // PAGE_BYTES


def footprint(process: Process) -> Any:
    kernel: Any = process.kernel
    return kernel.footprint


def filled(kind: str, changes: dict[str, Any] | None = None) -> Process:
    """1 GiB, every page of it present."""
    process = Process(kind, cpus=1, changes=changes, machine={"memory": {"size_per_socket": "2 GiB"}})
    process.do(("mmap", PAGES, BASE))
    process.run({0: lambda cpu: process.space.perform(cpu, Prepopulate(BASE, PAGES))})
    return process


@pytest.mark.parametrize(
    ("kind", "changes", "metadata"),
    [
        ("adv", None, 0),  # in the entries: nothing
        ("arrays", None, 513),  # a page for each of 512 leaves, and for the table that had their marks
        ("arrays", {"metadata_entry": 16}, 2 * 513),
    ],
)
def test_how_much_metadata_full_tables_have(kind: str, changes: dict[str, Any] | None, metadata: int) -> None:
    now = footprint(filled(kind, changes)).now
    assert now["page_table"] == 515 * PAGE_BYTES
    assert now["metadata"] == metadata * PAGE_BYTES


def test_is_metadata_a_small_part_of_memory_when_every_array_is_full() -> None:
    """Under 2 % in any case, as the paper says; with its table an array of 8-byte entries is 0.4 %."""
    for size, low, high in ((8, 0.0039, 0.0040), (16, 0.0058, 0.0060)):
        now = footprint(filled("arrays", {"metadata_entry": size})).now
        both = (now["page_table"] + now["metadata"]) / GIB
        assert low < both < high
        assert now["metadata"] / GIB < 0.02


@pytest.mark.parametrize(("kind", "times"), [("adv", 1), ("arrays", 2)])
def test_what_one_page_in_each_table_takes(kind: str, times: int) -> None:
    """The worst case: each level-1 table has an array for the sake of one page."""
    process = Process(kind, cpus=1)
    tables = 64
    process.do(*(("mmap", 1, BASE + number * LEAF) for number in range(tables)))
    now = footprint(process).now
    assert now["page_table"] == (tables + 3) * PAGE_BYTES
    assert now["page_table"] + now["metadata"] == (times * tables + 3) * PAGE_BYTES


def test_do_versions_take_two_pages_for_each_table() -> None:
    process = Process("optimistic", cpus=1)
    process.do(("mmap", 1, BASE))
    now = footprint(process).now
    assert now["metadata"] == 2 * now["page_table"] == 2 * 4 * PAGE_BYTES


@pytest.mark.parametrize("kind", ["linux", *EVERY_CORTENMM])
def test_is_what_is_counted_what_can_be_found(kind: str) -> None:
    process = Process(kind, cpus=1)
    counted = footprint(process)
    process.do(("mmap", 2 * LEAF, BASE), ("touch", BASE), ("touch", BASE + LEAF), ("mprotect", BASE, 3, 1))
    found: list[Any] = []

    def lives(cpu: Any) -> Any:
        child: Any = yield from process.space.perform(cpu, Fork())
        tables = [table for space in (process.space, child) for table in space.root.tables()]
        found.append((len(tables), sum(len(table.array.frames) for table in tables if table.array)))
        found.append((counted.now["page_table"], counted.now["metadata"]))
        yield from process.load(cpu, child)
        yield from child.perform(cpu, Exit())
        yield from process.load(cpu, process.space)

    process.run({0: lives})
    (tables, arrays), bytes_then = found
    assert bytes_then == (tables * PAGE_BYTES, arrays * PAGE_BYTES)
    process.run({0: lambda cpu: process.space.perform(cpu, Munmap(BASE, 2 * LEAF))})
    process.end()
    left = list(process.space.root.tables())  # and nothing of the child's
    assert counted.now["page_table"] == len(left) * PAGE_BYTES
    assert counted.peak["page_table"] >= bytes_then[0]


def test_do_vmas_count_with_their_locks_nodes_and_links() -> None:
    process = Process("linux", cpus=1)
    kernel: Any = process.kernel
    sizes = {cache.name: cache.spec.size for cache in kernel.slabs}
    counted = footprint(process)
    before = counted.now["vma"]
    process.do(("mmap", 9, BASE))
    with_node = counted.now["vma"] - before
    assert with_node == sizes["vm_area_struct"] + sizes["vma_lock"] + sizes["maple_node"]
    process.do(("touch", BASE))
    assert counted.now["vma"] - before == with_node + sizes["anon_vma"] + sizes["anon_vma_chain"]
    assert footprint(Process("adv")).now["vma"] == 0


@pytest.mark.parametrize(("name", "size"), [("cortenmm-adv", 64), ("cortenmm-rw", 96), ("linux-6.13", 64)])
def test_how_much_descriptors_of_frames_take(name: str, size: int) -> None:
    machine = small_machine({"memory": {"size_per_socket": "16 GiB"}})
    kernel: Any = build(machine, design(name))
    sockets = raw_spec()["topology"]["sockets"]
    frames = 16 * GIB * sockets // PAGE_BYTES
    assert kernel.footprint.frame_descriptors == pytest.approx(size * frames, rel=1e-3)
