"""What do entries say of memory that nobody has touched, or whose page is away?"""

from __future__ import annotations

import pytest
from kernels import BASE, LEAF, Process, entry_of, table_of

from sim.errors import ModelError
from sim.mm import READ, READ_WRITE, WRITE, Kind, Present, Status


@pytest.mark.parametrize(("kind", "slot"), [(Kind.SWAPPED, None), (Kind.SHARED_ANONYMOUS, 3)])
def test_has_a_swapped_page_a_slot_and_nothing_else(kind: Kind, slot: int | None) -> None:
    with pytest.raises(ValueError, match="a swapped page has a slot, and nothing else has"):
        Status(READ, kind, slot)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (Status(READ_WRITE), "private anonymous memory (rw)"),
        (Status(READ, Kind.PRIVATE_FILE), "a private file mapping (r)"),
        (Status(WRITE, Kind.SWAPPED, 12), "swapped to slot 12 (w)"),
        (Present(7, READ_WRITE, copy_on_write=True), "frame 7 (rw, copy on write)"),
    ],
)
def test_what_does_an_entry_call_itself(entry: Status | Present, text: str) -> None:
    assert str(entry) == text


def test_does_memory_stay_what_it_is_when_its_rights_change() -> None:
    swapped = Status(READ_WRITE, Kind.SWAPPED, 12)
    assert swapped.with_rights(READ) == Status(READ, Kind.SWAPPED, 12)


@pytest.mark.parametrize("kind", ["rw", "adv"])
@pytest.mark.parametrize("at", [BASE, BASE + 5])
def test_does_mprotect_keep_the_kind_of_a_mark(kind: str, at: int) -> None:
    """In the middle of a leaf, and on the whole entry of a table above it."""
    process = Process(kind)
    process.do(("mmap", 2 * LEAF, BASE), ("mmap", 1, BASE + 8))
    file = Status(READ_WRITE, Kind.PRIVATE_FILE)
    leaf, above = (table_of(process.space.root, BASE, level) for level in (1, 2))
    assert leaf is not None
    assert above is not None
    leaf.set(at - BASE, file)
    above.set(1, file)
    process.do(("mprotect", at, BASE + 2 * LEAF - at, READ))
    assert entry_of(process.space.root, at) == Status(READ, Kind.PRIVATE_FILE)
    assert entry_of(process.space.root, BASE + LEAF) == Status(READ, Kind.PRIVATE_FILE)


@pytest.mark.parametrize("kind", ["rw", "adv"])
@pytest.mark.parametrize("status", [Status(READ_WRITE, Kind.SHARED_ANONYMOUS), Status(READ, Kind.SWAPPED, 4)])
def test_is_a_fault_refused_that_cannot_bring_the_right_page_in(kind: str, status: Status) -> None:
    """Nobody brings in pages of files, of shared memory or from swap: a zeroed one would be wrong."""
    process = Process(kind)
    process.do(("mmap", 8, BASE), ("touch", BASE))
    leaf = table_of(process.space.root, BASE, 1)
    assert leaf is not None
    leaf.set(1, status)
    with pytest.raises(ModelError, match=f"a fault brings in no page of {status.kind.value}"):
        process.run({0: lambda cpu: process.space.access(cpu, BASE + 1, write=False)})
