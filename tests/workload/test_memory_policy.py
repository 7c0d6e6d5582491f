"""What may a workload say about where its memory comes from, and does it matter?"""

from __future__ import annotations

from typing import Any

import pytest
from plain import measure, workload
from pydantic import ValidationError

from sim.errors import InputError

GUEST: dict[str, Any] = {"guest": True, "topology": {"numa_nodes": 1}}


def test_do_threads_of_another_socket_zero_bound_memory_over_the_link() -> None:
    link = {"memory": {"inter_socket": "1.024 GB/s"}}  # 4 us a page

    def zeroing(memory: Any) -> float:
        measured = measure(workload(memory=memory), "linux", threads=12, machine=link)
        return measured.breakdown_ns_per_op["zero"]

    # Four of twelve threads sit on the other socket, and what is zeroed for page tables counts as well.
    assert zeroing({"bind": 0}) > 2 * zeroing("first-touch")


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        ("interleaved", "interleave"),
        ({"bind": -1}, "with a node from 0 on"),
        ({"bind": "0"}, "with a node from 0 on"),
        ({"bind": True}, "with a node from 0 on"),
        ({"bond": 0}, "first-touch, interleave or"),
        ([0], "first-touch, interleave or"),
    ],
)
def test_which_policies_are_refused(memory: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        workload(memory=memory)


@pytest.mark.parametrize(
    ("memory", "machine", "message"),
    [
        ("interleave", GUEST, "the kernel sees one NUMA node on small and cannot choose"),
        ({"bind": 0}, GUEST, "the kernel sees one NUMA node on small and cannot choose"),
        ({"bind": 2}, {}, "small has no such NUMA node"),
    ],
)
def test_what_can_a_kernel_not_choose(memory: Any, machine: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure(workload(memory=memory), "linux", machine=machine)
