"""NrOS: what is combined, who replays what when, who is told, and what grows with cores and replicas."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from kernels import BASE, LEAF, Process
from machines import NS

from sim.designs.nros.btree import BTree, Mapping, Node
from sim.designs.nros.spec import TreeSpec
from sim.engine import Probe, Steps
from sim.engine.probe import CpuView
from sim.errors import ModelError
from sim.files import load_spec
from sim.hardware import Cpu
from sim.mm import READ, READ_WRITE, USER, Errno, Mmap, Mprotect, Munmap
from sim.verify.machines import small_machine

REPLICAS = "nros-replicas"
US = 1000 * NS


class Told(Probe):
    """Which cpus each write of the ICR reached, and which pages faulted."""

    def __init__(self) -> None:
        self.writes: list[list[int]] = []
        self.faults: list[tuple[int, int]] = []

    def ipi_send(self, sender: CpuView, targets: Sequence[CpuView]) -> None:
        self.writes.append([target.id for target in targets])

    def fault_begins(self, cpu: CpuView, page: int) -> None:
        self.faults.append((cpu.id, page))


def process(cpus: int = 3, kind: str = REPLICAS, **changes: Any) -> tuple[Process, Told]:
    told = Told()
    return Process(kind, cpus=cpus, changes=changes, listeners=(told,)), told


# -- the B-tree ---------------------------------------------------------------------------------------------


def depths(node: Node, depth: int = 0) -> set[int]:
    """How deep the leaves below *node* lie."""
    found: set[int] = set()
    for child in node.children:
        found |= depths(child, depth + 1)
    return found or {depth}


def nodes(node: Node) -> list[Node]:
    return [node, *(each for child in node.children for each in nodes(child))]


@pytest.mark.parametrize("keys", [3, 5, 11])
def test_is_a_b_tree_what_a_dictionary_is(keys: int) -> None:
    spec = TreeSpec(keys=keys, key_lines=1, value_lines=1)
    tree, known, random = BTree(small_machine(), spec, 0), dict[int, Mapping](), Random(keys)
    for step in range(1500):
        page = random.randrange(120 if step % 500 < 300 else 40)
        if page in known:
            if random.random() < 0.2:
                known[page] = Mapping(step, 0, READ)
                tree.set(page, known[page])
            else:
                del known[page]
                tree.remove(page)
        else:
            known[page] = Mapping(step, 0, READ_WRITE)
            tree.insert(page, known[page])
        if step % 25 == 0:
            assert dict(tree.items()) == known
            assert list(tree.items()) == sorted(known.items())
            assert len(depths(tree.root)) == 1
            every = nodes(tree.root)
            assert all(keys // 2 <= len(each.pages) <= keys for each in every if each is not tree.root)
            assert all(len(each.children) in (0, len(each.pages) + 1) for each in every)
            at = random.randrange(120)
            low = [page for page in known if page <= at]
            assert tree.floor(at) == ((max(low), known[max(low)]) if low else None)
            assert [page for page, _ in tree.within(at, at + 30)] == sorted(
                page for page in known if at <= page < at + 30
            )


def test_are_no_pages_mapped_in_a_range_without_any() -> None:
    tree = BTree(small_machine(), TreeSpec(key_lines=1, value_lines=1), 0)
    tree.insert(7, Mapping(1, 0, READ))
    assert tree.within(7, 7) == []


# -- log and replicas ---------------------------------------------------------------------------------------


def test_does_a_combiner_append_what_others_want_too() -> None:
    made, _ = process(cpus=4, replicas=1)

    def body(cpu: Cpu) -> Steps[None]:
        yield from made.space.perform(cpu, Mmap(16, BASE + 64 * cpu.id))

    made.run(dict.fromkeys(range(4), body))
    assert made.space.log.tail == 64
    assert 16 <= made.space.log.batches < 32


def test_does_another_replica_learn_of_a_page_by_a_fault_and_only_once() -> None:
    made, told = process(cpus=3)
    space = made.space

    def maps(cpu: Cpu) -> Steps[None]:
        yield from space.perform(cpu, Mmap(2, BASE))
        yield from space.access(cpu, BASE)

    made.run({0: maps})
    assert told.faults == [], "what is mapped is there"
    assert space.table_of(made.cpus[2]).walk(BASE) is None

    def touches(cpu: Cpu) -> Steps[None]:
        yield from space.access(cpu, BASE)
        yield from space.access(cpu, BASE + 1)

    made.run({2: touches})
    assert told.faults == [(2, BASE)], "the fault has replayed all of the log"
    assert space.table_of(made.cpus[1]).walk(BASE) is None


@pytest.mark.parametrize("entries", [16, 64])
def test_is_the_slowest_replica_helped_when_the_log_is_full(entries: int) -> None:
    """Nobody runs on the other nodes."""
    made, _ = process(log={"entries": entries})
    space = made.space

    def body(cpu: Cpu) -> Steps[None]:
        for page in range(40):
            yield from space.perform(cpu, Mmap(1, BASE + page))

    made.run({0: body})
    log = space.log
    assert log.tail == log.ctail == 40
    assert (log.helped > 0) == (entries == 16)
    assert log.tail - log.head <= entries
    assert all(log.head <= each.ltail <= log.tail for each in log.replicas)


def test_do_readers_not_wait_for_each_other() -> None:
    def time_of(threads: int) -> int:
        made, _ = process(cpus=4, replicas=1)
        space, spent = made.space, list[int]()

        def maps(cpu: Cpu) -> Steps[None]:
            yield from space.perform(cpu, Mmap(1, BASE))

        def reads(cpu: Cpu) -> Steps[None]:
            yield from space.replica_of(cpu).resolve(cpu, BASE)
            if cpu.pending:
                yield cpu.take_pending()
            begin = made.machine.engine.now
            for _ in range(50):
                found = yield from space.replica_of(cpu).resolve(cpu, BASE)
                assert found is not None
            if cpu.pending:
                yield cpu.take_pending()
            spent.append(made.machine.engine.now - begin)

        made.run({0: maps})
        made.run(dict.fromkeys(range(threads), reads))
        return max(spent)

    assert time_of(4) <= 1.1 * time_of(1)


# -- shootdowns ---------------------------------------------------------------------------------------------


def unmapping(cpus: int, **changes: Any) -> tuple[int, Told]:
    """How long an unmap takes while all others run user code (ps)."""
    made, told = process(cpus=cpus, replicas=1, log={"reserve": 8}, **changes)
    spent: list[int] = []

    def unmaps(cpu: Cpu) -> Steps[None]:
        yield from made.space.perform(cpu, Mmap(1, BASE))
        begin = cpu.now
        yield from made.space.perform(cpu, Munmap(BASE, 1))
        spent.append(cpu.now - begin)

    def spins(cpu: Cpu) -> Steps[None]:
        for _ in range(40):
            yield 500 * NS
            cpu.charge(500 * NS, USER)

    made.run({0: unmaps, **dict.fromkeys(range(1, cpus), spins)})
    return spent[0], told


def test_does_one_write_reach_a_cluster_and_does_an_unmap_grow_with_cores() -> None:
    times = []
    for cpus in (2, 4, 8):
        time, told = unmapping(cpus, shootdown={"cluster": 4})
        times.append(time)
        assert sorted(each for write in told.writes for each in write) == list(range(1, cpus))
        assert len(told.writes) == -(-cpus // 4)
    assert times == sorted(times)
    assert times[2] > times[0] + 200 * NS


def test_is_it_quicker_to_acknowledge_first() -> None:
    first, _ = unmapping(4)
    last, _ = unmapping(4, shootdown={"acknowledge": "last"})
    assert first < last


def test_is_a_frame_free_when_the_last_target_is_done() -> None:
    """And until then the space says so. `Watch` would find a frame that is free too early."""
    made, _ = process(cpus=3)
    space, seen = made.space, list[int]()

    def body(cpu: Cpu) -> Steps[None]:
        yield from space.perform(cpu, Mmap(1, BASE))
        yield from space.perform(cpu, Munmap(BASE, 1))
        seen.extend(each.frame for each in space.deferred())

    made.run({0: body})
    assert len(seen) == 1
    assert not list(space.deferred())
    assert seen[0] not in made.kernel.memory.in_use


# -- what user code can ask for -----------------------------------------------------------------------------


def test_can_a_large_frame_not_be_cut() -> None:
    made, _ = process(kind="nros")
    space, answers = made.space, list[Any]()

    def body(cpu: Cpu) -> Steps[None]:
        yield from space.perform(cpu, Mmap(512 + 3, BASE))
        assert [each.order for _, each in space.mapped(BASE, BASE + 1024)] == [9, 0, 0, 0]
        for asked in (Munmap(BASE, 1), Mprotect(BASE + 511, 2, READ), Munmap(BASE + 513, 1)):
            answers.append((yield from space.perform(cpu, asked)))
            answers.append(space.refusal(asked))

    made.run({0: body})
    assert answers[0] is answers[2] is Errno.EINVAL
    assert answers[4] is None
    assert "are one: memory that is to go in parts has to be mapped in parts" in answers[1]
    assert answers[5] == ""


def test_is_nothing_mapped_over_what_is_mapped() -> None:
    made, _ = process()
    answers: list[Any] = []

    def body(cpu: Cpu) -> Steps[None]:
        yield from made.space.perform(cpu, Mmap(1, BASE + 1))
        answers.append((yield from made.space.perform(cpu, Mmap(3, BASE))))

    made.run({0: body})
    assert answers == [Errno.EEXIST]
    assert made.space.status(BASE) is None


def test_is_a_core_refused_that_no_shootdown_can_name() -> None:
    with pytest.raises(ModelError, match=r"APIC ids below 2 \(shootdown.cores\), and it has 2"):
        process(shootdown={"cores": 2})


def test_is_a_log_refused_that_has_no_room_for_a_batch() -> None:
    with pytest.raises(ModelError, match=r"4 cores of one replica may append .* more than the 2 entries"):
        process(cpus=4, replicas=1, log={"reserve": 2})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log": {"entries": 24}}, "wraps by a mask"),
        ({"log": {"reserve": 9}}, "half of the log"),
        ({"tree": {"keys": 4}}, "two halves"),
        ({"caches": {"large_share": 1.0}}, "both sizes"),
    ],
)
def test_are_sizes_refused_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        process(**changes)


# -- what grows with what -----------------------------------------------------------------------------------


def test_does_mapping_not_grow_with_cores_and_nodes() -> None:
    """One log: each map is applied in every replica, and one after the other."""

    def maps_a_microsecond(cpus: int) -> float:
        made, _ = process(cpus=cpus, replicas="per-node", log={"entries": 256, "reserve": 16})

        def body(cpu: Cpu) -> Steps[None]:
            for page in range(20):
                yield from made.space.perform(cpu, Mmap(1, BASE + LEAF * cpu.id + page))

        made.run(dict.fromkeys(range(cpus), body))
        assert len(made.space.replicas) == -(-cpus // 8)
        return 20 * cpus / (made.machine.engine.now / US)

    four, eight, sixteen = (maps_a_microsecond(cpus) for cpus in (4, 8, 16))
    assert eight < 1.2 * four
    assert sixteen < 1.1 * eight


def test_is_the_design_on_board_what_its_sources_say() -> None:
    spec: Any = load_spec("design", "nros").spec
    assert spec.log.entries * 128 == 2 << 20
    assert spec.log.reserve == 32 * 256
    assert (spec.shootdown.cluster, spec.shootdown.acknowledge) == (16, "first")
    assert spec.replicas == "per-node"
