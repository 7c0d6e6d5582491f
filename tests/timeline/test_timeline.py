"""Is the timeline all that happened, each thing in its place, and is the file what Perfetto reads?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from golden.fingerprints import Key
from machines import NS, run, small_machine
from traces import Accounts, Read, listened, point, read_folded

from sim.engine import Activity, Steps
from sim.errors import AccountingError
from sim.experiment import make_point, run_point
from sim.files import MEMBERS, load_spec
from sim.hardware import Cpu
from sim.timeline import Asked, Timeline, by_activity, encode, lines
from sim.timeline.lane import Lane
from sim.timeline.scope import Scope
from sim.timeline.spans import Frame, Node

WINDOW = {"warm_up": "1 requests", "length": "2 requests"}


def test_does_a_trace_of_64_cpus_have_each_ps_of_the_breakdown(tmp_path: Path) -> None:
    """Without a window the breakdown is the whole account, an integer number of ps."""
    accounts = Accounts()
    timeline, outcome = listened(point(tmp_path, "cortenmm-adv", 64, requests=1), listeners=[accounts])
    read = Read(encode(timeline.shown, "64 cpus"))
    assert len(timeline.shown.tracks) == 64
    assert not timeline.shown.cut
    spent = {activity: time for activity, time in accounts.spent.items() if time}
    operations = outcome.row.operations
    assert operations
    assert {
        activity: time / operations / 1000 for activity, time in sorted(spent.items())
    } == outcome.breakdown
    assert read.charged() == spent
    assert read_folded("\n".join(lines(timeline.folded.measured, "cortenmm-adv"))) == spent
    assert by_activity(timeline.folded.measured) == spent
    assert not read.charged("ps not measured")


@pytest.mark.parametrize("design", ["linux-6.13", "linux-5.1", "cortenmm-rw", "asterinas-0.18"])
def test_is_a_window_traced_to_the_last_ps(design: str, tmp_path: Path) -> None:
    """Of a window the pages of the accounts are traced, and the breakdown is these, scaled."""
    timeline, outcome = listened(point(tmp_path, design, 5, window=WINDOW, stack=None, requests=4))
    read = Read(encode(timeline.shown, design))
    folded = timeline.folded
    assert read.charged() == by_activity(folded.measured)
    operations = outcome.row.operations
    assert operations
    found = {activity: time / operations / 1000 for activity, time in by_activity(folded.scaled).items()}
    assert found == pytest.approx(outcome.breakdown, rel=1e-12)
    assert sum(folded.scaled.values()) == pytest.approx(5 * folded.span)


GOLDEN = [
    Key("tlb-ipi", "xeon-6252x2", "shootdown-one", "", 2, 2025),
    *(
        pytest.param(Key(*key, 2025), marks=pytest.mark.ci)
        for key in (
            ("linux-6.13", "epyc-9965-guest", "mmap", "low", 4),
            ("hardware", "epyc-9965", "shared-cpus", "", 130),
            ("lock", "xeon-4s56", "rwsem-writer", "", 4),
            ("tlb-broadcast", "epyc-9965", "context_switch1", "threads", 2),
            ("cortenmm-adv-zram", "desktop-8", "swap-in", "", 1),
            ("cortenmm-adv", "desktop-8", "lmbench-shell", "", 1),
            ("linux-5.1", "desktop-8", "mem-usage", "", 2),
            ("linux-5.1", "desktop-8", "userfault", "", 2),
            ("linux-5.1", "epyc-9965-guest", "fault-beside-unmap", "", 4),
        )
    ),
]


@pytest.mark.parametrize("key", GOLDEN, ids=str)
def test_is_the_row_the_same_with_a_timeline(key: Key) -> None:
    """Threads that share cpus, children, devices: closing a timeline holds it against the accounts."""
    machine, design, workload = (
        load_spec(kind, name)
        for kind, name in zip(MEMBERS, (key.machine, key.design, key.workload), strict=True)
    )
    chosen = make_point(machine, design, workload, key.placement, key.threads, key.seed)
    assert listened(chosen)[1] == run_point(chosen)


def test_are_delays_that_the_schedule_injects_in_the_timeline(tmp_path: Path) -> None:
    delays = {"kind": "fifo", "delays": {"chance": 0.02, "up_to": "1 us"}}
    chosen = point(tmp_path, "linux-6.13", 4, experiment={"schedule": delays})
    timeline, outcome = listened(chosen)
    assert outcome == run_point(chosen)
    assert by_activity(timeline.folded.measured)["injected delay"] > 0


# -- the layout -------------------------------------------------------------------------------------------


def drawn(bodies: Any, *interrupts: tuple[int, int, int]) -> tuple[list[tuple[str, str, int, int]], Timeline]:
    """Track, name, begin and end (ns) of what threads do; *interrupts* have cpu, time and length (ns)."""
    timeline = Timeline(Asked(), windowed=False)
    machine = small_machine(online=len(bodies), listeners=[timeline])
    timeline.run_begins(machine.cpus)
    timeline.measures(machine.cpus)
    for cpu, at, length in interrupts:
        target = machine.cpus[cpu]
        machine.engine.call_in(
            at * NS,
            lambda target=target, length=length: target.interrupt(lambda _: (length * NS, lambda _: None)),
        )
    for cpu in machine.cpus:
        cpu.open_account()
    run(machine, bodies)
    for cpu in machine.cpus:
        cpu.charge(machine.engine._now - sum(cpu.spent.values()), Activity("idle"))
    timeline.run_ends()
    read = Read(encode(timeline.shown, "small"))
    return [(each.track, each.name, each.begin, each.end or 0) for each in read.slices()], timeline


def works(*times: int) -> Any:
    """One piece of work after another, all of them charged before the first has passed."""

    def body(cpu: Cpu) -> Steps[None]:
        for number, time in enumerate(times):
            cpu.work(time * NS, Activity(f"work {number}"))
        yield cpu.take_pending()

    return body


def test_does_a_handler_stand_in_the_work_that_it_interrupts() -> None:
    slices, _ = drawn({0: works(8, 4)}, (0, 5, 3), (0, 13, 2))
    assert [slice_[1:] for slice_ in slices if slice_[1] != "idle"] == [
        ("work 0", 0, 11),
        ("interrupt [handler]", 5, 8),
        ("work 1", 11, 17),
        ("interrupt [handler]", 13, 15),
    ]


def test_does_a_handler_stand_in_the_wait_that_it_interrupts() -> None:
    def waits(cpu: Cpu) -> Steps[None]:
        cpu.engine.call_in(20 * NS, lambda: cpu.poke("it"))
        yield from cpu.park("it", Activity("wait"))
        cpu.work(1 * NS, Activity("work"))
        yield cpu.take_pending()

    slices, _ = drawn({0: waits}, (0, 5, 3), (0, 18, 6))
    assert [slice_[1:] for slice_ in slices] == [
        ("wait [spins]", 0, 24),
        ("interrupt [handler]", 5, 8),
        ("interrupt [handler]", 18, 24),
        ("work", 24, 25),
    ]


def test_would_a_gap_be_noticed() -> None:
    machine = small_machine(online=1)
    (cpu,) = machine.cpus
    lane = Lane(cpu, 0, Scope(Asked(), machine.engine, windowed=False), drawn=True)
    cpu.open_account()
    cpu.charge(5, Activity("work"))
    lane.add(Node(), "work", "", 4, None, [])
    with pytest.raises(AccountingError, match=r"differs from page 0.*'work': 4.*'work': 5"):
        lane.close()


def test_do_frames_above_one_that_ends_go_on() -> None:
    """Hand over hand: the lower of two locks is released first."""
    first, second = Frame("first", "lock hold", "holding a"), Frame("second", "lock hold", "holding b")
    node = Node(Node(Node(), first), second)
    assert node.path == ("holding a", "holding b")
    left = node.without(first)
    assert [frame for _, frame in left.frames()] == [second]
    assert left.path == ("holding b",)
    assert node.without(Frame("elsewhere", "lock hold")) is node


# -- what stands in it ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shootdowns(tmp_path_factory: pytest.TempPathFactory) -> tuple[Read, Timeline]:
    """Eight threads of Linux unmap what they have touched, in one process."""
    timeline, _ = listened(point(tmp_path_factory.mktemp("eight"), "linux-6.13", 8))
    return Read(encode(timeline.shown, "eight")), timeline


def test_is_the_outer_slice_what_is_asked_for(shootdowns: tuple[Read, Timeline]) -> None:
    read, _ = shootdowns
    roots = [each for roots in read.roots.values() for each in roots]
    outer = Counter(each.name for each in roots if each.category == "operation")
    assert outer == {"mmap": 16, "touch": 16, "munmap": 16}
    inside = {each.category for each in read.slices()}
    assert {"lock hold", "lock wait", "syscall", "fault entry", "zero", "ipi wait", "moment"} <= inside


def test_do_arrows_lead_from_the_sender_to_each_target(shootdowns: tuple[Read, Timeline]) -> None:
    read, _ = shootdowns
    ends: dict[int, list[Any]] = {}
    for each in read.slices():
        for flow in each.flows:
            ends.setdefault(flow, []).append(each)
    assert all(len(pair) == 2 for pair in ends.values())
    calls = [pair for pair in ends.values() if "interrupt" in {each.category for each in pair}]
    assert len(calls) > 20
    for sender, target in (sorted(pair, key=lambda each: each.begin) for pair in calls):
        assert (sender.category, target.category) == ("ipi send", "interrupt")
        assert sender.track.split(":")[0] in target.notes["called by"].split(", ")
    handed = [pair for pair in ends.values() if pair not in calls]
    assert len(handed) > 10
    for giver, taker in (sorted(pair, key=lambda each: each.begin) for pair in handed):
        assert taker.category == "lock hold"
        assert taker.notes["after"].split(" (")[0] == giver.track.split(":")[0]


def test_does_a_wait_name_the_lock_and_its_holder(shootdowns: tuple[Read, Timeline]) -> None:
    read, timeline = shootdowns
    waits = [each for each in read.slices() if each.category == "lock wait"]
    contended = [each for each in waits if "held by" in each.notes]
    assert contended
    assert all(each.name.startswith("wait for ") == ("held by" in each.notes) for each in waits)
    holds = [each for each in read.slices() if each.category == "lock hold"]
    for wait in contended:
        lock = wait.name.removeprefix("wait for ")
        holders = wait.notes["held by"].split(" and ")[0].split(", ")
        assert any(
            hold.name == f"holds {lock}" and f"{hold.track.split(':')[0]} ({hold.notes['mode']})" in holders
            for hold in holds
        )
    assert any(sight.what.startswith("longest wait for a lock: ") for sight in timeline.shown.sights)


def test_what_is_counted_beside_the_tracks(shootdowns: tuple[Read, Timeline]) -> None:
    read, timeline = shootdowns
    assert {"frames in use", "cpus with a thread to run"} < set(read.counters)
    running = [value for _, value in read.counters["cpus with a thread to run"]]
    assert (running[0], min(running) >= 0, max(running)) == (8, True, 8)
    waiting = [points for name, points in read.counters.items() if name.startswith("waiting for ")]
    assert all(0 <= value <= 8 for points in waiting for _, value in points)
    assert {name for name in read.counters if name.startswith("waiting for mmap_lock")}
    for points in read.counters.values():
        assert points == sorted(points, key=lambda each: each[0])
        assert points[-1][0] <= timeline.shown.end


# -- how much of it ---------------------------------------------------------------------------------------


def test_is_a_window_drawn_and_nothing_else(tmp_path: Path, shootdowns: tuple[Read, Timeline]) -> None:
    whole = shootdowns[1]
    begin, end = whole.shown.measured // 3, whole.shown.measured // 2
    timeline, _ = listened(point(tmp_path, "linux-6.13", 8), Asked(begin, end, every=3))
    read = Read(encode(timeline.shown, "a part"))
    assert [track.split(":")[0] for track in read.roots] == [
        str(track.name).split(":")[0] for track in timeline.shown.tracks
    ]
    assert len(read.roots) == 3
    for each in read.slices():
        assert begin // 1000 <= each.begin <= (each.end or 0) <= end // 1000
    assert timeline.folded.measured == whole.folded.measured
    assert not timeline.shown.cut


def test_does_a_drawing_end_for_all_when_it_has_too_many_slices(
    tmp_path: Path, shootdowns: tuple[Read, Timeline]
) -> None:
    timeline, _ = listened(point(tmp_path, "linux-6.13", 8), Asked(most=300))
    read, shown = Read(encode(timeline.shown, "cut")), timeline.shown
    assert shown.cut
    assert shown.end < shown.measured
    assert 300 <= sum(1 for _ in read.slices()) < 450
    ends = [max(each.end or 0 for each in roots) for roots in read.roots.values()]
    assert max(ends) <= shown.end // 1000
    assert timeline.folded.measured == shootdowns[1].folded.measured
