"""What do system calls cost, and share, that concern no memory?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels import Process

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    Close,
    Errno,
    Exec,
    Fork,
    Fstat,
    Kill,
    Open,
    Operation,
    ReadByte,
    Sigaction,
    Stat,
    Unlink,
    WriteByte,
)

FILE = "/tmp/a"


def answers(process: Process, *asked: Operation) -> list[Any]:
    found: list[Any] = []

    def body(cpu: Cpu) -> Steps[None]:
        for operation in asked:
            answer = yield from process.space.perform(cpu, operation)
            found.append(answer)

    process.run({0: body})
    return found


def test_what_do_calls_answer() -> None:
    asked: list[tuple[Operation, Any]] = [
        (Open(FILE), Errno.ENOENT),
        (Open(FILE, create=True), 0),
        (Open("/dev/zero"), 1),
        (Open("/dev/null"), 2),
        (Open(FILE + "/b"), Errno.ENOTDIR),
        (Open("/tmp", create=True), Errno.EISDIR),
        (ReadByte(1), 1),
        (ReadByte(0), 0),
        (WriteByte(2), 1),
        (WriteByte(0), Errno.EINVAL),
        (WriteByte(3), Errno.EBADF),
        (Stat(FILE), None),
        (Unlink(FILE), None),
        (Stat(FILE), Errno.ENOENT),
        (Fstat(0), None),
        (Close(0), None),
        (Fstat(0), Errno.EBADF),
        (Unlink("/tmp"), Errno.EISDIR),
        (Unlink("/dev/zero"), Errno.EACCES),
        (Open("/dev/zero"), 0),
        (Sigaction(), None),
        (Kill(), None),
    ]
    process = Process("linux")
    assert answers(process, *(operation for operation, _ in asked)) == [answer for _, answer in asked]
    process.end()


def test_has_a_child_what_its_parent_has_open() -> None:
    """And a program that it executes, too. What one closes stays open for the other."""
    process = Process("linux")
    found: list[Any] = []

    def body(cpu: Cpu) -> Steps[None]:
        yield from process.space.perform(cpu, Open(FILE, create=True))
        child = yield from process.space.perform(cpu, Fork())
        yield from process.load(cpu, child)
        found.append((yield from child.perform(cpu, Close(0))))
        found.append((yield from process.space.perform(cpu, Fstat(0))))
        yield from process.space.perform(cpu, Unlink(FILE))
        fresh = yield from child.perform(cpu, Open("/dev/null"))
        fresh = yield from child.perform(cpu, Exec())
        process.loads(cpu, fresh)
        found.append((yield from fresh.perform(cpu, WriteByte(0))))
        yield from process.load(cpu, process.space)

    process.run({0: body})
    assert found == [None, None, 1]
    process.end()


def elapsed(asked: Callable[[int], list[Operation]], threads: int, changes: dict[str, Any]) -> int:
    """Until so many threads of a process have done what *asked* says of each."""
    process = Process("linux", cpus=4, changes=changes)
    answers(process, Open(FILE, create=True))

    def body(number: int) -> Callable[[Cpu], Steps[None]]:
        def run(cpu: Cpu) -> Steps[None]:
            for operation in asked(number):
                yield from process.space.perform(cpu, operation)

        return run

    begun = process.machine.engine.now
    process.run({cpu: body(cpu) for cpu in range(threads)})
    return int(process.machine.engine.now - begun)


def test_whose_lines_slow_a_walk_down() -> None:
    """Who stats one file writes the count of its dentry; until 6.10 those who pass by read that line."""

    def others(number: int) -> list[Operation]:
        return [Stat("/tmp") if number else Stat("/tmp/b/c")] * 40

    def made(number: int) -> list[Operation]:
        return others(number) if number else [Open("/tmp/b/c", create=True), *others(number)]

    beside, apart = (elapsed(made, 4, {"calls": {"d_lockref": where}}) for where in ("beside", "apart"))
    assert beside > apart


def test_do_tasks_that_make_files_take_turns() -> None:
    """In one directory they do, in directories of their own they do not."""

    def one(number: int) -> list[Operation]:
        name = f"/tmp/{number}"
        return [Open(name, create=True), Unlink(name)] * 20

    def own(number: int) -> list[Operation]:
        name = f"/{number}/file"
        return [Open(name, create=True), Unlink(name)] * 20

    long = {"calls": {"costs": {"create": "3 us", "unlink": "3 us"}}}
    assert elapsed(one, 3, long) > 2.5 * elapsed(one, 1, long)
    assert elapsed(own, 3, long) < 1.5 * elapsed(own, 1, long)
