"""Do workloads make their objects for whom they say, and does each design give what it has for one?"""

from __future__ import annotations

from typing import Any

import pytest
from machines import raw_spec
from plain import BUDGET, workload
from pydantic import ValidationError

from sim.engine import Probe
from sim.engine.probe import CpuView
from sim.hardware import MachineSpec
from sim.mm import CreateObject, MapObject, Munmap
from sim.verify.kernels import design
from sim.workload import simulate

COSTS = dict.fromkeys(
    ("create", "map", "unmap", "fault", "level", "entry", "destroy", "destroy_slot"), "10 cycles"
)
MORSEL = {
    "objects": {"kind": "morsel"},
    "morsels": {"prebuilt": True, "fault_lock": "mmap_lock", "costs": COSTS},
}
SHARED = {"mmap": {"at": "anywhere", "size": "32 KiB", "object": "data"}}


class Asked(Probe):
    """What was asked for, in order."""

    def __init__(self) -> None:
        self.all: list[Any] = []

    def operation_begins(self, cpu: CpuView, operation: object) -> None:
        self.all.append(operation)

    def of(self, kind: type) -> list[Any]:
        return [operation for operation in self.all if type(operation) is kind]


def with_objects(*steps: dict[str, Any], **changes: Any) -> Any:
    objects = {"data": {"size": "32 KiB", **changes.pop("object", {})}}
    touched = [{"touch": {"at": "mapped"}}, {"munmap": {"at": "mapped"}}]
    return workload(
        **{"stack": None, "objects": objects, "thread": [*(steps or (SHARED,)), *touched], **changes}
    )


def asked_of(spec: Any, changes: dict[str, Any], threads: int = 2) -> Asked:
    asked = Asked()
    machine = MachineSpec.model_validate(raw_spec())
    kernel = design("linux", changes)
    simulate(machine, kernel, spec, placement="low", threads=threads, seed=0, budget=BUDGET, probe=asked)
    return asked


@pytest.mark.parametrize(("kind", "unmapped"), [("shm", 8), ("morsel", 512)])
def test_an_object_is_unmapped_as_a_whole(kind: str, unmapped: int) -> None:
    """A morsel has no less than its order; of shared memory what was asked for is mapped."""
    asked = asked_of(with_objects(), MORSEL if kind == "morsel" else {})
    assert {each.pages for each in asked.of(MapObject)} == {8}
    assert {each.pages for each in asked.of(Munmap)} == {unmapped}
    assert len(asked.of(CreateObject)) == 1


@pytest.mark.parametrize(("each", "count", "made"), [("run", 1, 1), ("run", 3, 3), ("thread", 2, 4)])
def test_requests_take_the_objects_of_a_name_in_turn(each: str, count: int, made: int) -> None:
    asked = asked_of(with_objects(object={"each": each, "count": count}), MORSEL)
    assert len(asked.of(CreateObject)) == made
    assert len({each.file for each in asked.of(MapObject)}) == made


def test_anonymous_memory_is_mapped_once() -> None:
    with pytest.raises(Exception, match="EBUSY"):
        asked_of(with_objects(), {"objects": {"kind": "anonymous"}})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shared": True}, "goes with"),
        ({"populate": True}, "goes with"),
        ({"at": "slot"}, "anywhere"),
        ({"object": "other"}, "not under `objects`"),
    ],
)
def test_what_an_object_cannot_be_mapped_with(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        with_objects({"mmap": {**SHARED["mmap"], **changes}})


def test_a_name_is_of_one_thing() -> None:
    with pytest.raises(ValidationError, match="a file and an object"):
        with_objects(files={"data": {"size": "4 KiB"}})
