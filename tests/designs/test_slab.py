"""Do kernel objects come from slabs, hot or cold, as Linux' allocator hands them out, and is none lost?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from kernels import BASE, LEAF, Process, design
from machines import ADJACENT, HIT, LOCAL, NS, RMW, SAME_CLUSTER, SmallMachine, run, small_machine

from sim.designs.linux import LinuxKernel, LinuxSpec
from sim.designs.linux.slab import KmemCache, SlabObject
from sim.designs.linux.slab.geometry import cpu_partial_slabs, min_partial, slab_order
from sim.designs.linux.slab.sheaves import SheafCache
from sim.designs.linux.slab.slub import Slub
from sim.engine import Activity, Probe, ScheduleName, Steps
from sim.engine.probe import CpuView, LockView, Mode
from sim.hardware import Cpu
from sim.mm import Mmap, Munmap, OutOfMemory
from sim.mm.invariants import check
from sim.quantities import PAGE_BYTES

SHEAVES = {"kind": "sheaves", "rules": {"barn": 2}}
BULK = {"kind": "sheaves", "rules": {"barn": 2, "cpu_partial": []}}
CORE_CACHE = {"memory": {"core_cache": {"size": "8 KiB", "miss": "20 ns"}}}
MISS = 20 * NS


class Locks(Probe):
    """How often each lock was taken."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()

    def lock_acquired(self, lock: LockView, cpu: CpuView, mode: Mode) -> None:
        self.taken[lock.name] += 1


def booted(
    cpus: int = 1,
    slab: Mapping[str, Any] | None = None,
    machine: Mapping[str, Any] | None = None,
    *,
    ties: ScheduleName = "fifo",
    seed: int = 0,
) -> tuple[SmallMachine, LinuxKernel, Locks]:
    locks = Locks()
    hardware = small_machine(machine, online=cpus, ties=ties, seed=seed, listeners=(locks,))
    changes = {"slab": {"costs": dict.fromkeys(FREE_OF_CHARGE, "0 cycles"), **(slab or {})}}
    if "sheaf" in changes["slab"]:
        its = {key: changes["slab"].pop(key) for key in ("sheaf", "rcu_sheaf") if key in changes["slab"]}
        changes["slab"]["caches"] = dict.fromkeys(("vm_area_struct", "maple_node"), its)
    return hardware, LinuxKernel(hardware, design("linux", changes)), locks


FREE_OF_CHARGE = (
    "alloc",
    "free",
    "refill",
    "remote",
    "section",
    "move",
    "new_slab",
    "new_object",
    "discard",
)


def slub(cache: KmemCache | None) -> Slub:
    assert isinstance(cache, Slub)
    return cache


def emptied(cache: Slub) -> Slub:
    """*cache* without what it booted with: all that is asked of it now comes from new slabs."""
    for own in cache.own:
        own.slab, own.freelist, own.partial = None, [], []
    for node in cache.nodes:
        node.partial.clear()
    for frame in cache.slabs:
        cache.pages.in_use.put(frame, cache.order)
    cache.slabs.clear()
    cache.booted = 0
    return cache


def many(cpu: Cpu, cache: KmemCache, count: int) -> Steps[list[SlabObject]]:
    """*count* objects, in the order in which they are handed out."""
    things: list[SlabObject] = []
    while len(things) < count:
        things += [(yield from cache.alloc(cpu))]
    return things


def pause(cpu: Cpu, time: int) -> Steps[None]:
    cpu.work(time, Activity("pause"))
    yield cpu.take_pending()


def on(machine: SmallMachine, *bodies: Callable[[Cpu], Steps[None]]) -> None:
    run(machine, dict(enumerate(bodies)))


def taken_for(cpu: Cpu, steps: Steps[Any]) -> Steps[tuple[Any, int]]:
    """The value of *steps* and how long they took."""
    if cpu.pending:
        yield cpu.take_pending()
    before = cpu.now
    value = yield from steps
    return value, cpu.now - before


# -- how large slabs are -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "cpus", "objects", "partial"),
    [
        (184, 104, 44, 6),  # vm_area_struct, up to 6.14
        (256, 104, 32, 4),  # maple_node
        (256, 224, 64, 2),
        (40, 104, 102, 3),  # vma_lock
        (64, 2, 64, 4),
    ],
)
def test_how_many_objects_has_a_slab_and_how_many_slabs_a_cpu(
    size: int, cpus: int, objects: int, partial: int
) -> None:
    spec = design("linux")
    assert isinstance(spec, LinuxSpec)
    rules = spec.slab.rules
    assert (PAGE_BYTES << slab_order(size, cpus, rules)) // size == objects
    assert cpu_partial_slabs(size, objects, rules) == partial


def test_how_many_slabs_does_a_node_keep() -> None:
    spec = design("linux")
    assert isinstance(spec, LinuxSpec)
    assert [min_partial(size, spec.slab.rules) for size in (40, 184, 4096, 1 << 21)] == [5, 5, 6, 10]


# -- hot and cold ------------------------------------------------------------------------------------------


def test_is_an_object_that_was_just_freed_hot() -> None:
    machine, kernel, _ = booted(machine=CORE_CACHE)
    cache = kernel.slabs.anon_vma_chain

    def body(cpu: Cpu) -> Steps[None]:
        thing = yield from cache.alloc(cpu)
        yield from thing.whole.store(cpu)
        yield from cache.release(cpu, thing)
        again, time = yield from taken_for(cpu, reused(cpu, cache))
        assert again is thing
        assert time == HIT
        yield from cache.release(cpu, again)

    on(machine, body)


def reused(cpu: Cpu, cache: KmemCache) -> Steps[SlabObject]:
    thing = yield from cache.alloc(cpu)
    yield from thing.whole.store(cpu)
    return thing


@pytest.mark.parametrize(
    ("others", "llc", "cold"), [(30, "1 MiB", 0), (31, "1 MiB", MISS), (31, "8 KiB", 80 * NS)]
)
def test_is_an_object_cold_that_waited_for_a_grace_period(others: int, llc: str, cold: int) -> None:
    """The core's caches hold 128 lines, and nodes have four: 32 others take the first one's place. It is
    fetched from the last-level cache when the callback links it and when it is filled again, or from memory
    where that has seen as much as it holds, too.

    A slab has 32 nodes: after as many others the first one's slab is no longer the cpu's.
    """
    sizes = {"memory": {**CORE_CACHE["memory"], "llc": llc, "local": "80 ns"}}
    machine, kernel, _ = booted(machine=sizes)
    cache = emptied(slub(kernel.slabs.maple_node))

    def body(cpu: Cpu) -> Steps[None]:
        thing = yield from reused(cpu, cache)
        yield from cache.release(cpu, thing)
        for _ in range(others + 1):
            yield from reused(cpu, cache)
        assert kernel.rcu.pending(cpu) == 1
        yield from pause(cpu, 50_000 * NS)  # the grace period
        _, time = yield from taken_for(cpu, kernel.rcu.in_kernel(cpu, nothing()))
        assert time == 10 * NS + HIT + (cold + RMW if cold else 0)  # callback, link, cmpxchg16
        while True:
            again, time = yield from taken_for(cpu, reused(cpu, cache))
            if again is thing:
                break
        # Found in what others freed to the cpu's slab, or in the next slab.
        assert time == HIT + (cold + 3 * ADJACENT + 2 * RMW if cold else 0)

    on(machine, body)


def nothing() -> Steps[None]:
    return
    yield


def test_does_an_object_come_from_the_cache_of_who_had_it_last() -> None:
    """Cpu 1 wrote it and cpu 0 gets it again: a transfer between the two."""
    machine, kernel, _ = booted(2)
    cache = kernel.slabs.anon_vma_chain
    shared: list[SlabObject] = []

    def first(cpu: Cpu) -> Steps[None]:
        shared.append((yield from reused(cpu, cache)))
        yield from pause(cpu, 5000 * NS)
        _, time = yield from taken_for(cpu, cache.release(cpu, shared[0]))
        assert time == SAME_CLUSTER  # the link to the next free object
        _, time = yield from taken_for(cpu, reused(cpu, cache))
        assert time == HIT

    def second(cpu: Cpu) -> Steps[None]:
        yield from pause(cpu, 2000 * NS)
        yield from shared[0].whole.store(cpu)

    on(machine, first, second)


def test_has_the_cpu_that_ended_the_process_before_what_nobody_has_used_since() -> None:
    """cpu 1, which shares its cluster with the first one."""
    machine, kernel, _ = booted(cpus=2)
    cache = kernel.slabs.vm_area_struct

    def body(cpu: Cpu) -> Steps[None]:
        own = slub(cache).own[0]
        while not own.freelist:
            yield from cache.alloc(cpu)
        thing = yield from cache.alloc(cpu)
        assert {line.owner for line in thing.lines()} == {1}
        _, time = yield from taken_for(cpu, thing.whole.store(cpu))
        assert SAME_CLUSTER <= time < LOCAL

    on(machine, body)


# -- lines -------------------------------------------------------------------------------------------------


def neighbours(kernel: LinuxKernel, machine: SmallMachine) -> list[SlabObject]:
    assert kernel.slabs.vma_lock is not None
    cache = emptied(slub(kernel.slabs.vma_lock))
    things: list[SlabObject] = []

    def body(cpu: Cpu) -> Steps[None]:
        things.extend((yield from many(cpu, cache, 8)))

    on(machine, body)
    return sorted(things, key=lambda thing: thing.index)


def test_do_locks_of_40_bytes_share_lines() -> None:
    """Eight of them lie in five lines: 1.6 a line."""
    machine, kernel, _ = booted()
    things = neighbours(kernel, machine)
    assert things[0].line(0) is things[1].line(0)
    assert things[1].line(0) is not things[1].line(39)
    assert len({id(line) for thing in things for line in thing.lines()}) == 5


def test_do_aligned_locks_share_none() -> None:
    machine, kernel, _ = booted(slab={"caches": {"vma_lock": {"align": "64 B"}}})
    things = neighbours(kernel, machine)
    assert len({id(thing.line(0)) for thing in things}) == 8
    assert all(thing.line(0) is thing.line(39) for thing in things)


def test_does_a_vma_of_184_bytes_have_the_lines_of_its_place() -> None:
    _, kernel, _ = booted()
    slab = next(iter(slub(kernel.slabs.vm_area_struct).slabs.values()))
    assert [len(slab.at(index).lines()) for index in range(4)] == [3, 4, 4, 4]
    assert slab.at(0).lines()[-1] is slab.at(1).lines()[0]
    assert slab.at(1).line(0) is slab.at(0).line(183)


# -- locks -------------------------------------------------------------------------------------------------


def test_is_the_list_lock_taken_only_beyond_what_the_cpu_keeps() -> None:
    """A cpu's slab and its partial list serve without it; the first slab beyond them needs it."""
    machine, kernel, locks = booted(cpus=1)
    cache = slub(kernel.slabs.anon_vma_chain)
    own = cache.own[0]
    kept = len(own.freelist) + sum(len(slab.free) for slab in own.partial)
    listed = sum(len(slab.free) for node in cache.nodes for slab in node.partial)
    name = cache.nodes[0].lock.name

    def body(cpu: Cpu) -> Steps[None]:
        yield from many(cpu, cache, kept)
        assert not locks.taken[name]
        yield from many(cpu, cache, listed)
        assert bool(locks.taken[name]) == bool(listed)

    on(machine, body)


def test_does_a_full_partial_list_go_to_the_node_under_its_lock() -> None:
    """Freeing one object of each of many full slabs: each goes to the cpu's list, which overflows."""
    machine, kernel, locks = booted(cpus=1)
    cache = emptied(slub(kernel.slabs.anon_vma_chain))
    name, limit = cache.nodes[0].lock.name, cache.cpu_partial

    def body(cpu: Cpu) -> Steps[None]:
        things = yield from many(cpu, cache, (limit + 2) * cache.per_slab)
        for thing in things[: limit * cache.per_slab : cache.per_slab]:
            yield from cache.free(cpu, thing)
        assert len(cache.own[0].partial) == limit
        assert not locks.taken[name]
        yield from cache.free(cpu, things[limit * cache.per_slab])
        assert locks.taken[name] == 1
        assert (len(cache.own[0].partial), len(cache.nodes[0].partial)) == (1, limit)

    on(machine, body)
    assert list(cache.contradictions()) == []


def test_do_empty_slabs_beyond_the_least_go_back_to_the_page_allocator() -> None:
    machine, kernel, _ = booted(cpus=1)
    cache = emptied(slub(kernel.slabs.anon_vma_chain))

    def body(cpu: Cpu) -> Steps[None]:
        things = yield from many(cpu, cache, 40 * cache.per_slab)
        assert len(cache.slabs) == 40
        for thing in things:
            yield from cache.free(cpu, thing)

    on(machine, body)
    assert cache.live == 0
    assert len(cache.slabs) <= cache.min_partial + cache.cpu_partial + 2
    assert list(cache.contradictions()) == []


@pytest.mark.parametrize(("stretch", "kept"), [(2, 1), (10, 0)])
def test_does_a_cpu_keep_little_of_a_burst_that_stands_for_a_long_one(stretch: float, kept: int) -> None:
    """Of the three empty slabs on its list, one in *stretch*; a slab that has an object in use stays."""
    machine, kernel, locks = booted(cpus=1)
    cache = emptied(slub(kernel.slabs.anon_vma_chain))
    name = cache.nodes[0].lock.name

    def body(cpu: Cpu) -> Steps[None]:
        things = yield from many(cpu, cache, 6 * cache.per_slab)
        for thing in things[: 3 * cache.per_slab + 1]:
            yield from cache.free(cpu, thing)
        assert [bool(slab.inuse) for slab in cache.own[0].partial] == [False] * 3 + [True]
        taken = locks.taken[name]
        yield from cache.trim(cpu, stretch)
        assert len(cache.own[0].partial) == kept + 1
        assert cache.own[0].partial[-1].inuse
        assert locks.taken[name] == taken + 1

    on(machine, body)
    assert list(cache.contradictions()) == []


# -- nothing is lost ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", ["fifo", "shuffle"])
@pytest.mark.parametrize("slab", [{}, {**SHEAVES, "sheaf": 8}, {**BULK, "sheaf": 8}], ids=str)
@pytest.mark.parametrize("name", ["vm_area_struct", "maple_node"])
@pytest.mark.parametrize("seed", range(3))
def test_is_an_object_lost_or_given_out_twice(
    name: str, slab: Mapping[str, Any], ties: ScheduleName, seed: int
) -> None:
    """Cpus of both nodes allocate, pass objects on and free what they find, at random."""
    machine, kernel, _ = booted(12, slab, ties=ties, seed=seed)
    cache: KmemCache = getattr(kernel.slabs, name)
    pool: list[SlabObject] = []
    draw = random.Random(seed)

    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(250):
            if draw.random() < 0.5 or not pool:
                pool.append((yield from cache.alloc(cpu)))
                assert len(set(map(id, pool))) == len(pool)
            else:
                yield from cache.free(cpu, pool.pop(draw.randrange(len(pool))))

    on(machine, *[body] * 12)
    for each in kernel.slabs:
        assert list(each.contradictions()) == []
    assert cache.live == len(pool)
    check(kernel.memory, {}, list(kernel.references()))


def test_is_an_object_that_is_freed_twice_found() -> None:
    machine, kernel, _ = booted()
    cache = kernel.slabs.anon_vma

    def body(cpu: Cpu) -> Steps[None]:
        thing = yield from cache.alloc(cpu)
        yield from cache.free(cpu, thing)
        with pytest.raises(Exception, match="is freed and is free"):
            yield from cache.free(cpu, thing)

    on(machine, body)


@pytest.mark.ci
def test_what_happens_where_there_is_no_page_for_a_slab() -> None:
    """What was there is handed out to the last object, and then memory is out."""
    machine, kernel, _ = booted(machine={"memory": {"size_per_socket": "4 MiB"}})
    cache = kernel.slabs.anon_vma_chain

    def body(cpu: Cpu) -> Steps[None]:
        with pytest.raises(OutOfMemory):
            yield from many(cpu, cache, 1 << 20)

    on(machine, body)
    assert list(cache.contradictions()) == []


# -- sheaves -----------------------------------------------------------------------------------------------


def sheaves(slab: Mapping[str, Any] = SHEAVES, cpus: int = 1) -> tuple[SmallMachine, SheafCache, Locks]:
    machine, kernel, locks = booted(cpus, {**slab, "sheaf": 8})
    cache = kernel.slabs.vm_area_struct
    assert isinstance(cache, SheafCache)
    return machine, cache, locks


@pytest.mark.parametrize("slab", [SHEAVES, BULK])
def test_are_sheaves_used_last_in_first_out_without_a_lock(slab: Mapping[str, Any]) -> None:
    """As long as main and spare sheaf do: eight in, eight out, and again."""
    machine, cache, locks = sheaves(slab)
    own = cache.sheaves[0]

    def body(cpu: Cpu) -> Steps[None]:
        things = yield from many(cpu, cache, len(own.main) + len(own.spare or ()))
        locks.taken.clear()
        for _ in range(3):
            for thing in things[-8:]:
                yield from cache.free(cpu, thing)
            again = yield from many(cpu, cache, 8)
            assert again == things[-8:][::-1]
            things[-8:] = again
        assert not locks.taken

    while len(own.main) + len(own.spare or ()) < 8:  # the boot state of another seed
        own.main += cache._boot_sheaf(machine.cpus[0], 8, machine.cpus[0])
    on(machine, body)


@pytest.mark.parametrize("slab", [SHEAVES, BULK])
def test_do_full_sheaves_go_to_the_barn_and_come_back(slab: Mapping[str, Any]) -> None:
    """The barn holds two full ones; the objects of the next one go back to their slabs."""
    machine, cache, locks = sheaves(slab)
    barn = cache.barns[0]

    def body(cpu: Cpu) -> Steps[None]:
        things = yield from many(cpu, cache, 100)
        assert not barn.full
        for thing in things:
            yield from cache.free(cpu, thing)
        assert len(barn.full) == 2
        before = locks.taken[barn.lock.name]
        for _ in range(17):
            yield from cache.alloc(cpu)
        assert locks.taken[barn.lock.name] == before + 1

    on(machine, body)
    assert list(cache.contradictions()) == []


def test_does_an_object_of_another_node_go_to_its_slab() -> None:
    machine, cache, _ = sheaves(cpus=9)
    passed: list[SlabObject] = []

    def near(cpu: Cpu) -> Steps[None]:
        passed.append((yield from cache.alloc(cpu)))

    def far(cpu: Cpu) -> Steps[None]:
        yield from pause(cpu, 5000 * NS)
        before = len(cache.sheaves[8].main)
        free = len(passed[0].slab.free)
        yield from cache.free(cpu, passed[0])
        assert len(cache.sheaves[8].main) == before
        assert len(passed[0].slab.free) == free + 1

    run(machine, {0: near, 8: far})
    assert list(cache.contradictions()) == []


@pytest.mark.parametrize(("rcu_sheaf", "callbacks"), [(True, 2), (False, 17)])
def test_does_one_callback_free_a_sheaf_of_nodes(rcu_sheaf: bool, callbacks: int) -> None:
    """Or has each node one of its own, which puts it into the main sheaf?"""
    machine, kernel, _ = booted(1, {**SHEAVES, "sheaf": 8, "rcu_sheaf": rcu_sheaf})
    cache = kernel.slabs.maple_node

    def body(cpu: Cpu) -> Steps[None]:
        things = yield from many(cpu, cache, 17)
        for thing in things:
            yield from cache.release(cpu, thing)
        assert kernel.rcu.pending(cpu) == callbacks
        assert cache.waiting == 17

    on(machine, body)
    assert list(cache.contradictions()) == []


@pytest.mark.parametrize("slab", [{}, SHEAVES, BULK], ids=str)
@pytest.mark.parametrize("ties", ["fifo", "shuffle"])
def test_do_vmas_and_nodes_of_busy_threads_all_come_back(slab: Mapping[str, Any], ties: ScheduleName) -> None:
    """Threads of both nodes map, split and unmap for several grace periods; `Process` verifies the end."""
    caches = {name: {"sheaf": 8} for name in ("vm_area_struct", "maple_node")} if slab else {}
    rcu = {"tick": "2 us", "least": "4 us", "urgent": "20 us"}
    process = Process("linux", cpus=10, ties=ties, changes={"slab": {**slab, "caches": caches}, "rcu": rcu})
    kernel = process.kernel
    assert isinstance(kernel, LinuxKernel)

    def body(cpu: Cpu) -> Steps[None]:
        own = BASE + cpu.id * LEAF
        for turn in range(12):
            yield from process.space.perform(cpu, Mmap(8, own))
            yield from process.space.perform(cpu, Munmap(own + 2, 2))
            if turn % 3 == 0:
                yield from process.space.access(cpu, own)
            yield from process.space.perform(cpu, Munmap(own, 8))

    process.run(dict.fromkeys((0, 1, 8, 9), body))
    assert kernel.rcu.periods > 2
    assert kernel.slabs.vm_area_struct.live == len(list(process.space.tree)) == 0
