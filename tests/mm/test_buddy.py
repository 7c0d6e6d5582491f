"""Does the buddy allocator give out disjoint, aligned blocks, and get whole ones back?"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import raw_spec

from sim.hardware import MachineSpec
from sim.mm import MAX_ORDER, Buddy, FrameMap, OutOfMemory

BLOCK = 1 << MAX_ORDER
orders = st.integers(0, MAX_ORDER)
requests = st.lists(st.tuples(st.booleans(), orders | st.just(0), st.integers(0, 1 << 20)), max_size=80)


@given(requests)
def test_are_blocks_disjoint_and_aligned_and_do_they_merge_again(
    requests: list[tuple[bool, int, int]],
) -> None:
    first, count = 5 * BLOCK, 4 * BLOCK
    buddy = Buddy(first, count)
    held: dict[int, int] = {}
    taken: set[int] = set()
    for allocate, order, which in requests:
        if allocate:
            try:
                block = buddy.allocate(order)
            except OutOfMemory:
                assert all(not held_by(taken, first, count, order))
                continue
            frames = set(range(block, block + (1 << order)))
            assert block % (1 << order) == 0
            assert first <= block < first + count
            assert not frames & taken
            taken |= frames
            held[block] = order
        elif held:
            block = sorted(held)[which % len(held)]
            order = held.pop(block)
            taken -= set(range(block, block + (1 << order)))
            buddy.free(block, order)
        assert buddy.free_frames == count - len(taken)
    for block, order in held.items():
        buddy.free(block, order)
    assert sorted(buddy.allocate(MAX_ORDER) for _ in range(4)) == list(range(first, first + count, BLOCK))


def held_by(taken: set[int], first: int, count: int, order: int) -> list[bool]:
    """For each aligned block of 2**order frames whether it is wholly free."""
    size = 1 << order
    return [not taken & set(range(at, at + size)) for at in range(first, first + count, size)]


def test_does_a_block_merge_only_when_its_buddy_is_free() -> None:
    buddy = Buddy(0, BLOCK)
    halves = [buddy.allocate(MAX_ORDER - 1), buddy.allocate(MAX_ORDER - 1)]
    buddy.free(halves[0], MAX_ORDER - 1)
    with pytest.raises(OutOfMemory):
        buddy.allocate(MAX_ORDER)
    buddy.free(halves[1], MAX_ORDER - 1)
    assert buddy.allocate(MAX_ORDER) == 0


def test_is_the_block_freed_last_the_first_to_go_out() -> None:
    buddy = Buddy(0, BLOCK)
    frames = [buddy.allocate() for _ in range(9)]
    for frame in (frames[0], frames[4], frames[2]):
        buddy.free(frame)
    assert [buddy.allocate() for _ in range(3)] == [frames[2], frames[4], frames[0]]


def test_are_frames_outside_whole_blocks_left_alone() -> None:
    buddy = Buddy(10, 2 * BLOCK)
    assert buddy.free_frames == BLOCK
    assert buddy.allocate(MAX_ORDER) == BLOCK
    with pytest.raises(OutOfMemory, match="no free block of 1 frames; 0 frames are free"):
        buddy.allocate()


def test_may_a_buddy_begin_empty_and_live_on_what_it_is_given() -> None:
    buddy = Buddy(0, 0)
    buddy.free(3 * BLOCK, MAX_ORDER)
    assert sorted(buddy.allocate() for _ in range(BLOCK)) == list(range(3 * BLOCK, 4 * BLOCK))


def test_does_a_frame_lie_where_its_address_says() -> None:
    frames = FrameMap(MachineSpec.model_validate(raw_spec()))
    assert [frames.node(frame, 0) for frame in (0, (1 << 18) - 1, 1 << 18, (1 << 19) - 1)] == [0, 0, 1, 1]


def test_does_a_frame_of_a_guest_lie_where_it_was_first_touched() -> None:
    frames = FrameMap(MachineSpec.model_validate(raw_spec({"guest": True, "topology": {"numa_nodes": 1}})))
    assert frames.node(7, toucher=1) == 1
    assert frames.node(7, toucher=0) == 1
    assert frames.node(8, toucher=0) == 0


touches = st.tuples(st.integers(0, 9000), st.integers(1, 1500), st.integers(0, 1))


@settings(max_examples=30)
@given(st.lists(touches, max_size=8))
def test_do_frames_that_are_touched_together_lie_where_they_would_one_after_another(
    together: list[tuple[int, int, int]],
) -> None:
    """A node is full after 4,096 of them."""
    guest = {"guest": True, "topology": {"numa_nodes": 1}, "memory": {"size_per_socket": "16 MiB"}}
    spec = MachineSpec.model_validate(raw_spec(guest))
    one, at_once = FrameMap(spec), FrameMap(spec)
    for first, count, toucher in together:
        frames = range(first, first + count)
        at_once.touch(frames, toucher)
        assert [one.node(frame, toucher) for frame in frames] == [at_once.node(frame, 0) for frame in frames]


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 700)), min_size=1, max_size=5))
def test_do_frames_that_are_freed_together_leave_the_lists_of_one_after_the_other(
    together: list[tuple[int, int]],
) -> None:
    """In the same order, too: it decides which frame is given away next."""
    one, all_at_once = Buddy(0, 4 * BLOCK), Buddy(0, 4 * BLOCK)
    for buddy in (one, all_at_once):
        buddy.take(4 * BLOCK)
    held = set(range(4 * BLOCK))
    for start, length in together:
        frames = [frame for frame in range(start, start + length) if frame in held]
        held -= set(frames)
        for frame in frames:
            one.free(frame)
        all_at_once.free_all(frames)
        for order in range(MAX_ORDER + 1):
            assert list(one.blocks(order)) == list(all_at_once.blocks(order))
    assert one.free_frames == all_at_once.free_frames


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 1500), orders | st.just(0), st.booleans()), max_size=12))
def test_are_blocks_that_are_taken_together_those_of_one_after_the_other(
    requests: list[tuple[int, int, bool]],
) -> None:
    one, all_at_once = Buddy(BLOCK, 4 * BLOCK), Buddy(BLOCK, 4 * BLOCK)
    for count, order, keep in requests:
        plain: list[int] = []
        while len(plain) < count and one.has(order):
            plain.append(one.allocate(order))
        assert all_at_once.take(count, order) == plain
        for block in [] if keep else plain[::2]:
            one.free(block, order)
            all_at_once.free(block, order)
        for size in range(MAX_ORDER + 1):
            assert list(one.blocks(size)) == list(all_at_once.blocks(size))
        assert one.free_frames == all_at_once.free_frames
        assert one.fresh == all_at_once.fresh


def test_are_whole_blocks_that_come_together_given_away_like_those_that_come_singly() -> None:
    one, together = Buddy(0, 0), Buddy(0, 0)
    blocks = [2 * BLOCK, 5 * BLOCK, 3 * BLOCK]
    for block in blocks:
        one.free(block, MAX_ORDER)
    together.free_whole(blocks)
    assert together.free_frames == one.free_frames == 3 * BLOCK
    assert together.take(3 * BLOCK) == one.take(3 * BLOCK)
