"""From which node does a page come?"""

from __future__ import annotations

from typing import Any

import pytest
from kernels import BASE, KINDS, Process
from machines import raw_spec, small_machine

from sim.designs import build, spec_model
from sim.errors import ModelError
from sim.hardware import MachineSpec
from sim.mm import FrameMap, node_policy
from sim.mm.policy_spec import Bind

FOUR_NODES: dict[str, Any] = {"topology": {"numa_nodes": 4}}
"""Two a socket, so a node is a cluster of four cpus."""
GUEST: dict[str, Any] = {"guest": True, "topology": {"numa_nodes": 1}}


def placed(kind: str, policy: Any, *, machine: Any = FOUR_NODES) -> Process:
    """A process with a thread on each of the 16 cpus, its memory under *policy*."""
    process = Process(kind, cpus=16, machine=machine)
    process.kernel.place_memory(node_policy(policy, process.machine.spec.topology))
    return process


def nodes_of(process: Process, pages: int, cpu: int) -> list[int]:
    """The nodes of *pages* pages that *cpu* maps and touches one after another."""
    at = BASE + 64 * cpu
    process.do(("mmap", pages, at), *(("touch", at + page) for page in range(pages)), cpu=cpu)
    frames = FrameMap(process.machine.spec)
    return [frames.node(process.space.root.walk(at + page).frame, 0) for page in range(pages)]


@pytest.mark.parametrize("cpu", [0, 5, 9, 15])
def test_is_it_the_toucher_own_node_by_default(cpu: int) -> None:
    assert nodes_of(Process("linux", cpus=16, machine=FOUR_NODES), 3, cpu) == [cpu // 4] * 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cpu", [0, 13])
def test_is_it_the_node_that_memory_is_bound_to(kind: str, cpu: int) -> None:
    assert nodes_of(placed(kind, Bind(bind=2)), 3, cpu) == [2] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_is_it_one_node_after_another_when_interleaved(kind: str) -> None:
    """Page tables come from the nodes too; behind them each thread goes on with the next node."""
    process = placed(kind, "interleave")
    nodes_of(process, 1, 6)
    first = nodes_of(process, 8, 6)
    assert sorted(first) == [0, 0, 1, 1, 2, 2, 3, 3]
    if kind == "linux":
        assert first == [(first[0] + page) % 4 for page in range(8)]


@pytest.mark.parametrize("kind", KINDS)
def test_does_a_freed_page_go_back_to_its_node(kind: str) -> None:
    """The process checks owners all the while; in the end all frames on hand are where they belong."""
    process = placed(kind, "interleave")
    for cpu in (0, 7):
        nodes_of(process, 12, cpu)
        process.do(("munmap", BASE + 64 * cpu, 12), cpu=15)
    process.end()


def test_is_the_artifacts_allocator_unaware_of_nodes_by_default() -> None:
    """Frames come in the order of their addresses, so from node 0, whoever asks."""
    assert nodes_of(Process("adv", cpus=16, machine=FOUR_NODES), 3, 15) == [0] * 3


def test_does_a_guests_page_lie_on_the_node_of_its_toucher_under_nps2() -> None:
    """With a virtual NUMA topology the guest's kernel places it; without, the host does."""
    aware = MachineSpec.model_validate(raw_spec({"guest": True, **FOUR_NODES}))
    assert FrameMap(aware).node(0, toucher=3) == 0
    assert FrameMap(MachineSpec.model_validate(raw_spec(GUEST))).node(0, toucher=1) == 1


def test_is_a_kernel_without_an_allocator_asked_in_vain() -> None:
    machine = small_machine()
    spec = spec_model("bench")(name="hardware", title="", family="bench")
    kernel = build(machine, spec)
    with pytest.raises(ModelError, match="cannot place memory"):
        kernel.place_memory(node_policy("interleave", machine.spec.topology))
