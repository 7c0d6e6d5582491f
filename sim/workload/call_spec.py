"""Steps that are plain system calls, typed: files by name, and signals that a thread sends itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from sim.quantities import Spec


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
