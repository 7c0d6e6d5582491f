"""exmap's pool of pages (tuhhosg/exmap at 6ea8f03, memory_pool/driver.c).

    interface   local bundle: a free page with pointers to up to 512 others    its own, under its mutex
    pool        list of full bundles: a first page and a 6-bit tag             compare-and-swap

Pointers lie in a page that is free itself, so the pool takes no memory of its own. A local bundle that is
empty is replaced by a full one from the list, one that is full is pushed onto it: one compare-and-swap for
513 pages. The list is linked through the descriptors of its first pages (page->mapping).

    pop    read head, read its page's mapping |--- others may pop and push ---| compare-and-swap head

A head that has been away and is back would be taken for the one that was read (ABA), and the list would go on
with what that page had behind it then. So each pop counts the tag in the head up; pages are 64 bytes apart,
which leaves room for 6 bits. A list that has become empty begins at tag 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Machine
from sim.mm import Reference

if TYPE_CHECKING:
    from sim.designs.linux.descriptors import Descriptors
    from sim.designs.linux.kernel import LinuxKernel

POOL: Final = Activity("exmap pool")

POINTERS: Final = 512
"""Pointers that fit into a page."""
TAGS: Final = 64
"""Values of the tag (TAG_LIMIT)."""
_PER_LINE: Final = 8


class Stack:
    """A bundle: *pages*, to which pointers lie in page *first*, which is free too. *after* is the next one in
    the list; *writer* is the number of the cpu that has written all of its lines which nobody else has seen.
    """

    __slots__ = ("_lines", "after", "first", "pages", "writer")

    def __init__(self, first: int, writer: int, pages: Iterable[int] = ()) -> None:
        self.first = first
        self.pages = list(pages)
        self.after: Stack | None = None
        self.writer = writer
        self._lines: dict[int, CacheLine] = {}

    def line(self, machine: Machine, cpu: Cpu, index: int, home: int) -> CacheLine | None:
        """The line of pointer *index*; None where *cpu* alone has used it."""
        line = self._lines.get(index // _PER_LINE)
        if line is None and self.writer != cpu.id:
            name = f"pointers of the bundle in frame {self.first}"
            line = self._lines[index // _PER_LINE] = machine.line(name, home, owner=self.writer)
        return line


class Bundle:
    """struct page_bundle of an interface: a stack that is not full, or nothing."""

    __slots__ = ("stack",)

    def __init__(self) -> None:
        self.stack: Stack | None = None


class MemoryPool:
    """struct memory_pool_ctx. *frames* are all that belong to it, wherever they are."""

    __slots__ = ("_descriptors", "_first", "_head", "_kernel", "_machine", "_tag", "frames")

    def __init__(self, kernel: LinuxKernel, cpu: Cpu, frames: list[int]) -> None:
        """*frames* are handed over, zeroed; those that do not fill a bundle are in the list all the same."""
        self._kernel = kernel
        self._machine: Machine = kernel.machine
        self._descriptors: Descriptors = kernel.descriptors
        self._head: CacheLine = kernel.machine.line("exmap: list of bundles", cpu.socket, owner=cpu.id)
        self._first: Stack | None = None
        self._tag = 0
        self.frames: set[int] = set(frames)
        for start in range(0, len(frames), POINTERS + 1):
            first, *pages = frames[start : start + POINTERS + 1]
            stack = Stack(first, cpu.id, pages)
            stack.after, self._first = self._first, stack

    # -- one page -------------------------------------------------------------------------------------------

    def push(self, cpu: Cpu, bundle: Bundle, frame: int) -> Steps[None]:
        """push_page: *frame* is free."""
        if cpu.heard:
            cpu.probe.frame_pooled(cpu, frame)
        stack = bundle.stack
        if stack is None:
            bundle.stack = Stack(frame, cpu.id)
            return
        yield from self._use(cpu, stack, len(stack.pages), write=True)
        stack.pages.append(frame)
        if len(stack.pages) == POINTERS:
            bundle.stack = None
            yield from self._push_bundle(cpu, stack)

    def pop(self, cpu: Cpu, bundle: Bundle) -> Steps[int | None]:
        """pop_page: a free page; None where neither *bundle* nor the list has one."""
        stack = bundle.stack
        if stack is None:
            stack = bundle.stack = yield from self._pop_bundle(cpu)
            if stack is None:
                return None
        if stack.pages:
            yield from self._use(cpu, stack, len(stack.pages) - 1, write=False)
            frame = stack.pages.pop()
        else:
            bundle.stack, frame = None, stack.first
        yield from self._descriptors.write(cpu, frame, activity=POOL)  # page->mapping = NULL
        if cpu.heard:
            cpu.probe.frame_unpooled(cpu, frame)
        return frame

    def _use(self, cpu: Cpu, stack: Stack, index: int, *, write: bool) -> Steps[None]:
        """Read or write a pointer of *stack*."""
        line = stack.line(self._machine, cpu, index, cpu.socket)
        if line is None:
            cpu.stall(self._machine.fabric.hit, POOL)
        elif write:
            yield from line.store(cpu, POOL)
        else:
            yield from line.read(cpu, POOL)

    # -- the list -------------------------------------------------------------------------------------------

    def _push_bundle(self, cpu: Cpu, stack: Stack) -> Steps[None]:
        """bundle_list_push."""
        while True:
            yield from self._head.read(cpu, POOL)
            first, tag = self._first, self._tag
            stack.after = first
            yield from self._descriptors.write(cpu, stack.first, activity=POOL)
            yield from self._head.write(cpu, POOL)
            if self._first is first and self._tag == tag:
                self._first = stack
                return

    def _pop_bundle(self, cpu: Cpu) -> Steps[Stack | None]:
        """bundle_list_pop: a compare-and-swap that fails gives the head that it found."""
        yield from self._head.read(cpu, POOL)
        first, tag = self._first, self._tag
        while first is not None:
            yield from self._descriptors.write(cpu, first.first, activity=POOL)
            after = first.after
            yield from self._head.write(cpu, POOL)
            if self._first is first and self._tag == tag:
                self._first, self._tag = after, 0 if after is None else (tag + 1) % TAGS
                first.after = None
                return first
            first, tag = self._first, self._tag
        return None

    # -- the end --------------------------------------------------------------------------------------------

    def free_frames(self, bundles: Iterable[Bundle]) -> Iterator[int]:
        """Those in the list and in *bundles*."""
        stacks = [bundle.stack for bundle in bundles if bundle.stack is not None]
        stack = self._first
        while stack is not None:
            stacks.append(stack)
            stack = stack.after
        for each in stacks:
            yield each.first
            yield from each.pages

    def destroy(self, cpu: Cpu, bundles: Iterable[Bundle]) -> Steps[None]:
        """memory_pool_destroy: all that are free go back to the kernel."""
        for frame in list(self.free_frames(bundles)):
            self.frames.discard(frame)
            if cpu.heard:
                cpu.probe.frame_unpooled(cpu, frame)
            yield from self._kernel.pages.free(cpu, frame)
        self._first = None
        for bundle in bundles:
            bundle.stack = None


def references(frames: Iterable[int]) -> Iterator[Reference]:
    """*frames*, those side by side as one."""
    start = end = -1
    for frame in sorted(frames):
        if frame != end:
            if start >= 0:
                yield Reference(start, "exmap's pool", frames=end - start)
            start = frame
        end = frame + 1
    if start >= 0:
        yield Reference(start, "exmap's pool", frames=end - start)
