"""Do workloads make their files once for whom they say, and map, fill and cut off the right ones?"""

from __future__ import annotations

from typing import Any

import pytest
from kernels import design
from plain import measure, workload
from pydantic import ValidationError

from sim.engine import Probe
from sim.engine.probe import CpuView
from sim.mm import CreateFile, Fallocate, Ftruncate, MmapFile, MmapShared
from sim.workload.demands import lacking


class Asked(Probe):
    """What was asked of the kernel, in order, with the cpu."""

    def __init__(self) -> None:
        self.all: list[tuple[int, Any]] = []

    def operation_begins(self, cpu: CpuView, operation: object) -> None:
        self.all.append((cpu.id, operation))

    def of(self, kind: type) -> list[tuple[int, Any]]:
        return [(cpu, operation) for cpu, operation in self.all if type(operation) is kind]


def with_files(each: str, *steps: dict[str, Any], **changes: Any) -> Any:
    return workload(
        **{
            "stack": None,
            "files": {"data": {"size": "32 KiB", "each": each}},
            "thread": [
                {"mmap": {"at": "anywhere", "size": "32 KiB", "file": "data", **dict(*steps)}},
                {"touch": {"at": "mapped"}},
                {"munmap": {"at": "mapped"}},
            ],
            **changes,
        }
    )


@pytest.mark.parametrize(("each", "files"), [("run", 1), ("process", 2), ("thread", 4)])
def test_who_has_a_file(each: str, files: int) -> None:
    asked = Asked()
    spec = with_files(
        each,
        thread=None,
        processes=2,
        roles=[
            {
                "count": 2,
                "process": number,
                "steps": [
                    {"mmap": {"at": "anywhere", "size": "32 KiB", "file": "data"}},
                    {"munmap": {"at": "mapped"}},
                ],
            }
            for number in (0, 1)
        ],
    )
    measure(spec, "linux", threads=4, probe=asked)
    made = asked.of(CreateFile)
    assert len(made) == files
    mapped = {cpu: operation.file for cpu, operation in asked.of(MmapFile)}
    assert len(set(mapped.values())) == files
    if each == "thread":
        assert [cpu for cpu, _ in made] == [0, 1, 2, 3]
    if each == "process":
        assert mapped[0] is mapped[1] is not mapped[2]


def test_may_memory_be_shared_and_files_be_mapped_from_the_middle() -> None:
    asked = Asked()
    spec = with_files(
        "run",
        thread=None,
        roles=[
            {
                "who": "all",
                "steps": [
                    {
                        "mmap": {
                            "at": "anywhere",
                            "size": "16 KiB",
                            "file": "data",
                            "shared": True,
                            "offset": "8 KiB",
                            "prot": "r",
                        }
                    },
                    {"touch": {"at": "mapped", "write": False}},
                    {"munmap": {"at": "mapped"}},
                    {"mmap": {"at": "anywhere", "size": "16 KiB", "shared": True}},
                    {"munmap": {"at": "mapped"}},
                ],
            }
        ],
    )
    measure(spec, "linux", threads=2, probe=asked)
    first = asked.of(MmapFile)[0][1]
    assert (first.pages, first.offset, first.shared, first.rights) == (4, 2, True, 1)
    assert asked.of(MmapShared)[0][1].pages == 4


def test_does_fallocate_go_on_request_by_request_until_the_file_is_cut_off() -> None:
    asked = Asked()
    spec = workload(
        stack=None,
        layout=None,
        measured=None,
        pooled_threads=None,
        requests=4,
        window={"warm_up": "10 us", "length": "100 us"},
        placements={},
        files={"log": {"size": "0 KiB", "each": "thread"}},
        thread=[{"fallocate": {"file": "log", "size": "8 KiB", "offset": "request"}}],
        refill=[{"ftruncate": {"file": "log"}}],
    )
    measure(spec, "linux", placement="", threads=1, probe=asked)
    places = [operation.at for _, operation in asked.of(Fallocate)]
    assert places[:8] == [0, 2, 4, 6] * 2
    assert {operation.pages for _, operation in asked.of(Ftruncate)} == {0}


def test_are_files_refused_that_are_not_there_and_designs_that_have_none() -> None:
    with pytest.raises(ValidationError, match="uses 'other', which is not under `files`"):
        with_files("run", {"file": "other"})
    with pytest.raises(ValidationError, match="`offset` belongs to `file`"):
        workload(thread=[{"mmap": {"at": "slot", "offset": "4 KiB"}}])
    with pytest.raises(ValidationError, match="whole number of pages"):
        with_files("run", files={"data": {"size": "5 KiB"}})
    assert {"create a file", "mmap of a file"} <= set(lacking(design("tlb-ipi"), with_files("run")))
    assert lacking(design("linux"), with_files("run")) == []
