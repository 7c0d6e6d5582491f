"""Is the lock-free skip list the set of regions that it should be, and does a search read what it says?"""

from __future__ import annotations

from random import Random

import pytest
from machines import CROSS_SOCKET, HIT, SAME_CLUSTER, SmallMachine, run, small_machine

from sim.designs import spec_model
from sim.designs.bench.skiplist import SkipList, SkipNode
from sim.engine import Steps
from sim.hardware import Cpu
from sim.verify.mutants import Edit, Mutant

COSTS = dict.fromkeys(("look_up", "step", "write", "allocate", "free"), "0 ns")
REGIONS = [(10 * number, 10 * number + 5) for number in range(1, 41)]
"""Forty of five pages, with gaps of five."""


def skip_list(machine: SmallMachine, *, branching: int = 2) -> SkipList:
    fields = {"levels": 6, "branching": branching, "header": "32 B", "costs": COSTS}
    spec = spec_model("bench").model_validate(
        {"name": "s", "title": "s", "family": "bench", "skiplist": fields}, strict=False
    )
    index = SkipList(machine, spec)
    index.place(machine.cpus[0], REGIONS)
    return index


def node_of(index: SkipList, first: int) -> SkipNode:
    node = index.head.next[0]
    while node is not None and node.first != first:
        node = node.next[0]
    assert node is not None
    return node


def test_does_it_hold_what_a_set_holds() -> None:
    machine = small_machine(online=1)
    index, cpu, random = skip_list(machine), machine.cpus[0], Random(1)
    expected = dict(REGIONS)

    def body(_: Cpu) -> Steps[None]:
        for _ in range(300):
            first = 5 * int(random.random() * 90)
            if first in expected:
                assert (yield from index.delete(cpu, first))
                del expected[first]
            else:
                assert (yield from index.insert(cpu, first, first + 5))
                expected[first] = first + 5
            assert not (yield from index.delete(cpu, first + 1))
            page = int(random.random() * 460)
            inside = any(start <= page < end for start, end in expected.items())
            assert (yield from index.look_up(cpu, page)) == inside

    run(machine, {0: body})
    assert list(index.regions()) == sorted(expected.items())
    assert not list(index.contradictions())


def race(seed: int) -> None:
    """Six writers work on two regions in each of three gaps: of two who insert the same one, one succeeds,
    and so it is with deletions. What stays is found all the while."""
    machine = small_machine(online=8, ties="shuffle", seed=seed)
    index = skip_list(machine)
    won = {"insert": 0, "delete": 0}

    def writer(cpu: Cpu) -> Steps[None]:
        random = Random(seed + cpu.id)
        for _ in range(40):
            gap = 10 * int(random.random() * 3) + 6 + 2 * int(random.random() * 2)
            inserted = yield from index.insert(cpu, gap, gap + 2)
            won["insert"] += inserted
            deleted = yield from index.delete(cpu, gap)
            won["delete"] += deleted

    def reader(cpu: Cpu) -> Steps[None]:
        random = Random(seed + cpu.id)
        for _ in range(60):
            first, end = REGIONS[int(random.random() * 8)]
            assert (yield from index.look_up(cpu, first + int(random.random() * 5)))
            assert not (yield from index.look_up(cpu, end))

    run(machine, {**dict.fromkeys(range(6), writer), 6: reader, 7: reader})
    left = [region for region in index.regions() if region not in REGIONS]
    assert won["insert"] - won["delete"] == len(left)
    assert [region for region in index.regions() if region in REGIONS] == REGIONS
    assert not list(index.contradictions())


def races(count: int) -> None:
    for seed in range(count):
        race(seed)


@pytest.mark.parametrize("seed", range(4))
def test_do_searches_find_what_stays_while_others_insert_and_delete_beside_it(seed: int) -> None:
    race(seed)


@pytest.mark.parametrize(
    "edit",
    [
        Edit(SkipList._swing, "node.marked[level] or node.next[level]", "node.next[level]"),
        Edit(SkipList._swing, "node.marked[level] or node.next[level] is not old", "node.marked[level]"),
        Edit(SkipList.delete, "        if node.marked[0]:\n            return False\n", ""),
    ],
    ids=[
        "a link is swung that is marked",
        "a link is swung that leads elsewhere",
        "two delete one node",
    ],
)
def test_is_a_list_that_is_wrong_noticed(edit: Edit) -> None:
    with Mutant("m", "m", [edit]).applied(), pytest.raises(AssertionError):
        races(12)


def test_does_a_search_write_nothing_and_hit_where_nobody_writes() -> None:
    machine = small_machine(online=16)
    index, far = skip_list(machine), machine.cpus[15]
    before = {id(line): (line.owner, line.sharers) for node in [index.head] for line in node.lines}

    def body(_: Cpu) -> Steps[None]:
        begun = far.now
        assert (yield from index.look_up(far, REGIONS[20][0]))
        assert (far.now - begun) % HIT == 0
        assert far.now - begun < SAME_CLUSTER  # no line came from elsewhere

    run(machine, {15: body})
    assert before == {id(line): (line.owner, line.sharers) for line in index.head.lines}


def test_which_lines_does_a_writer_take_from_those_who_search() -> None:
    """An insertion on level 0 alone writes its node and the one before: who searches behind that waits for
    both, the others have all that they had."""
    machine = small_machine(online=16)
    index = skip_list(machine, branching=10**9)  # every node that comes is of height 1
    writer, far = machine.cpus[0], machine.cpus[15]
    place = REGIONS[20][1] + 1
    before = node_of(index, REGIONS[20][0])
    others = [node for first, _ in REGIONS if (node := node_of(index, first)) is not before]

    def write(_: Cpu) -> Steps[None]:
        assert (yield from index.insert(writer, place, place + 2))

    run(machine, {0: write})
    assert not before.lines[0].held_by(far)
    assert all(node.lines[0].held_by(far) for node in others)
    taken: dict[str, int] = {}

    def search(name: str, page: int) -> Steps[None]:
        begun = far.now
        assert (yield from index.look_up(far, page))
        taken[name] = far.now - begun

    def body(_: Cpu) -> Steps[None]:
        yield from search("in front", REGIONS[3][0])
        yield from search("behind", place)
        yield from search("again", place)

    run(machine, {15: body})
    assert taken["in front"] < SAME_CLUSTER
    assert 2 * CROSS_SOCKET <= taken["behind"] < 2 * CROSS_SOCKET + 200 * HIT
    assert taken["again"] == taken["behind"] - 2 * (CROSS_SOCKET - HIT)


def test_does_a_write_leave_the_list_as_it_was() -> None:
    machine = small_machine(online=2)
    index, cpu = skip_list(machine), machine.cpus[1]
    run(machine, {1: lambda _: index.write(cpu, 3, 5)})
    assert list(index.regions()) == REGIONS
    assert not list(index.contradictions())


def test_is_a_marked_node_that_is_still_linked_a_contradiction() -> None:
    machine = small_machine(online=1)
    index = skip_list(machine)
    node_of(index, REGIONS[2][0]).marked[0] = True
    assert "is deleted and still on level 0" in "".join(index.contradictions())
