"""Steps that call, typed: files by name for plain system calls, and functions on other cpus."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PositiveInt

from sim.quantities import Cost, CycleCost, Spec


def _absolute(path: str) -> str:
    if not path.startswith("/") or not all(path[1:].split("/")):
        raise ValueError("must be a path from the root on, such as /tmp/file")
    return path


Path = Annotated[str, AfterValidator(_absolute)]


class NamedFile(Spec):
    """A file by its path. *each* thread may have one of its own, whose name ends with the thread's number."""

    path: Path
    """From the root on."""
    each: Literal["run", "thread"] = "run"
    """Whether all threads mean the same file, or each its own."""

    def of(self, thread: int) -> str:
        """The path that thread number *thread* means."""
        return f"{self.path}.{thread}" if self.each == "thread" else self.path


class OpenStep(NamedFile):
    """Open a file: until the thread closes it, it is the one that `fstat`, `read` and `write` mean."""

    create: bool = False
    """Whether it is made where there is none (O_CREAT)."""


def _in_full(value: Any) -> Any:
    """`open: /dev/zero` is `open: {path: /dev/zero}`."""
    return {"path": value} if isinstance(value, str) else value


AnyOpen = Annotated[OpenStep, BeforeValidator(_in_full)]
AnyFile = Annotated[NamedFile, BeforeValidator(_in_full)]


class CallFunctionStep(Spec):
    """Call a function on other cpus of the run, and wait until all have called it."""

    targets: Literal["all", "next"] | PositiveInt
    """`all` others, the `next` one in number, or so many next ones."""
    function: Cost = CycleCost(0, 0)
    """What it takes there."""
    until: Literal["over", "called"] = "over"
    """With `called` an operation that is timed ends when the last target has called the function, which reads
    the clock there. The thread waits in any case."""
