"""Is a four-level table the dictionary that it stands for?"""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from machines import small_machine

from sim.hardware import Machine
from sim.mm import PAGES_PER_ENTRY, READ, READ_WRITE, SLOTS, PageTablePage, Present, Status, slot_of

Entry = PageTablePage | Present | Status | None
PAGE = 0x1234_5678

LEVELS = 4


def table(machine: Machine, level: int = LEVELS, page: int = 0, fill: Status | None = None) -> PageTablePage:
    return PageTablePage(machine, level, page, frame=-1, home=0, maker=0, fill=fill)


def push_down(machine: Machine, root: PageTablePage, page: int, level: int) -> PageTablePage:
    """Walk to the table of *level* for *page*, making children full of the mark that stood in their slot."""
    at = root
    while at.level > level:
        slot = slot_of(page, at.level)
        child = at.child(slot)
        if child is None:
            entry = at.get(slot)
            child = table(machine, at.level - 1, page, entry if isinstance(entry, Status) else None)
            at.set(slot, child)
        at = child
    return at


def test_which_slots_lead_to_a_page() -> None:
    page = (((3 * SLOTS + 5) * SLOTS) + 7) * SLOTS + 9
    assert [slot_of(page, level) for level in (4, 3, 2, 1)] == [3, 5, 7, 9]
    assert [PAGES_PER_ENTRY[level] for level in (1, 2, 3, 4)] == [1, 512, 512**2, 512**3]


def test_does_a_table_begin_at_a_multiple_of_its_span() -> None:
    machine = small_machine()
    assert table(machine, 1, PAGE).base == PAGE - PAGE % 512
    assert table(machine, 3, PAGE).base == PAGE - PAGE % 512**3
    assert table(machine, 4, PAGE).base == 0


def test_does_the_walk_find_present_pages_only() -> None:
    machine = small_machine()
    root = table(machine)
    leaf = push_down(machine, root, PAGE, 1)
    leaf.set(slot_of(PAGE, 1), Present(7, READ_WRITE))
    leaf.set(slot_of(PAGE + 1, 1), Status(READ_WRITE))
    assert root.walk(PAGE) == Present(7, READ_WRITE)
    assert [root.walk(page) for page in (PAGE + 1, PAGE + 2, PAGE + 512**3, 0)] == [None] * 4


def test_is_a_pushed_down_mark_in_every_slot_of_the_child() -> None:
    machine = small_machine()
    root = table(machine)
    mark = Status(READ_WRITE)
    push_down(machine, root, PAGE, 3).set(slot_of(PAGE, 3), mark)
    leaf = push_down(machine, root, PAGE, 1)
    assert leaf.present == SLOTS
    assert all(leaf.get(slot) == mark for slot in range(SLOTS))
    middle = push_down(machine, root, PAGE, 2)
    assert middle.child(slot_of(PAGE, 2)) is leaf
    assert middle.get(slot_of(PAGE, 2) ^ 1) == mark
    leaf.set(0, None)
    leaf.set(1, Present(3, READ_WRITE))
    assert (leaf.get(0), leaf.get(1), leaf.get(2), leaf.present) == (
        None,
        Present(3, READ_WRITE),
        mark,
        SLOTS - 1,
    )
    assert [page for page, _ in root.present_entries()] == [leaf.base + 1]


def test_do_eight_entries_share_a_line() -> None:
    leaf = table(small_machine(), 1)
    assert leaf.line(0) is leaf.line(7)
    assert leaf.line(7) is not leaf.line(8)
    assert "entries 8.." in leaf.line(9).name


slots = st.sampled_from([0, 1, 2, 511])
stores = st.tuples(
    st.tuples(slots, slots, slots, slots), st.integers(1, LEVELS), st.sampled_from(["map", "mark", "clear"])
)


@given(st.lists(stores, max_size=30))
def test_do_random_stores_at_any_level_equal_a_dictionary(
    choices: list[tuple[tuple[int, ...], int, str]],
) -> None:
    """The oracle is a list of (first page, pages, entry), the last one that covers a page counts."""
    machine = small_machine()
    root = table(machine)
    oracle: list[tuple[int, int, Entry]] = []
    for frame, (path, level, choice) in enumerate(choices):
        page = ((path[0] * SLOTS + path[1]) * SLOTS + path[2]) * SLOTS + path[3]
        level = 1 if choice == "map" else level
        page -= page % PAGES_PER_ENTRY[level]
        entry = {
            "map": Present(frame, READ_WRITE),
            "mark": Status(READ_WRITE if frame % 2 else READ),
            "clear": None,
        }[choice]
        push_down(machine, root, page, level).set(slot_of(page, level), entry)
        oracle.append((page, PAGES_PER_ENTRY[level], entry))

    edges = {page + at for first, pages, _ in oracle for page in (first, first + pages) for at in (-1, 0)}
    edges = {page for page in edges if 0 <= page < SLOTS**4}
    for page in sorted(edges):
        expected = next((e for first, pages, e in reversed(oracle) if first <= page < first + pages), None)
        assert read(root, page) == expected
        assert root.walk(page) == (expected if isinstance(expected, Present) else None)
    present = dict(root.present_entries())
    assert present == {page: read(root, page) for page in present}
    assert {page for page in edges if isinstance(read(root, page), Present)} <= set(present)
    assert list(present) == sorted(present)
    for each in every_table(root):
        assert each.present == sum(each.get(slot) is not None for slot in range(SLOTS))


def read(root: PageTablePage, page: int) -> Entry:
    at = root
    while (child := at.child(slot_of(page, at.level))) is not None:
        at = child
    return at.get(slot_of(page, at.level))


def every_table(root: PageTablePage) -> Iterator[PageTablePage]:
    """`tables()` by hand, to hold its pre-order against."""
    ours = [root]
    for slot in range(SLOTS):
        child = root.child(slot)
        if child is not None:
            ours.extend(every_table(child))
    if root.level == LEVELS:
        assert ours == list(root.tables())
    yield from ours
