"""Runs a program on a simulated kernel and holds everything that can be seen of it against the model.

    while it runs    what each operation answers, what each access finds, what is mapped when one returns,
                     that no TLB of another cpu knows better
    between rounds   mappings, rights, entries with their dirty bits, contents, frames, tables
    at the end       each present page is read once more; all is unmapped, and nothing is left

In mode `apart` an operation takes effect in the model when it begins: nobody else looks at its pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from sim.check import Checks
from sim.engine import Activity, Probe, Steps
from sim.hardware import Cpu
from sim.mm import (
    READ,
    WRITE,
    ZERO_FRAME,
    Brk,
    CreateFile,
    CreateMorsel,
    DestroyMorsel,
    Errno,
    Exec,
    Exit,
    ExmapSetup,
    Fallocate,
    Fork,
    Madvise,
    MapMorsel,
    Mincore,
    Mmap,
    MmapFile,
    MmapShared,
    Mremap,
    Munmap,
    Operation,
    Performer,
    ReadMaps,
    Rights,
    SegmentationFault,
    Touch,
    UffdClose,
    UffdCopy,
    UffdZeropage,
    Vfork,
)
from sim.mm.performer import offered
from sim.verify import resting
from sim.verify.contents import Contents
from sim.verify.drawing import SHARED
from sim.verify.effects import effect, mremap_is_determined
from sim.verify.model import SIGNAL, WHATEVER, ZEROS, Frame, Page, Undetermined
from sim.verify.model import Process as Model
from sim.verify.naming import PLAIN_CALLS
from sim.verify.process import Process
from sim.verify.programs import (
    ANCHORS,
    DETERMINED,
    FILE_PAGES,
    RACING,
    InHeap,
    InLast,
    OnFile,
    Onto,
    Program,
    Reclaim,
)
from sim.verify.races import Event, History
from sim.verify.resting import Side

AWHILE = 1_000_000
"""Ps between two looks whether a child has been forked."""


UNKNOWN = -1
"""The version in a frame that nobody can know."""

LARGEST = 1 << 16
"""Pages of the largest mapping that the model takes down, page by page."""


LONGEST = 300_000
"""Events of a program that must have gone round in circles; the longest has some 20,000."""


@dataclass(frozen=True)
class Counts:
    """How much one execution was."""

    operations: int
    events: int
    states: int = 0
    """Of a search for an order of its calls."""


def check(
    program: Program, listeners: Sequence[Probe] = (), kind: Callable[..., Run] | None = None
) -> Counts:
    """Run *program*, while *listeners* hear it. Raises whatever is found, with the program as a note: to
    paste, and run again. *kind* makes the run, if not `Run`."""
    try:
        run = (kind or Run)(program, listeners)
        run.run()
        return Counts(run.operations, run.process.machine.engine.events, run.states)
    except Exception as error:
        error.add_note(f"from sim.mm import *; from sim.verify import *\n{program}")
        raise


def _begin(history: History, asked: Any) -> list[Event]:
    """*asked* begins. What mremap moves is gone where it was; nobody follows what arrives with it."""
    if not isinstance(asked, Mremap) or asked.to is None:
        return history.begin(asked)
    history.end(history.begin(Mmap(asked.new_pages, asked.to)), sure=False)
    return history.begin(Munmap(asked.at, asked.pages))


def _is_being_unmapped(space: Any) -> bool:
    """Whether reclaim, on another cpu, has the lock of one of its tables: entries may be neither here nor
    there."""
    lock_of = getattr(space, "table_lock", None)  # a kernel that has none unmaps at once
    return lock_of is not None and any(
        lock_of(table).holder for table in space.root.tables() if table.level == 1
    )


class Run:
    """The processes under test beside their models."""

    process_kind: ClassVar[type[Process]] = Process
    contents_kind: ClassVar[type[Contents]] = Contents

    def __init__(self, program: Program, listeners: Sequence[Probe] = ()) -> None:
        self.program = program
        self.operations = self.states = 0
        self.contents = self.contents_kind()
        self.process = self.process_kind(
            program.kind,
            cpus=program.threads,
            processes=program.threads if program.mode == "processes" else 1,
            ties=program.schedule,
            seed=program.seed,
            changes=program.changes,
            machine=program.machine,
            listeners=[self.contents, *self.rules_of_protocols(), *listeners],
            max_events=LONGEST,
        )
        self.kernel = self.process.kernel
        self.rules = self.kernel.rules
        self.alone = program.mode in DETERMINED
        files: dict[Any, Any] = {}
        self.sides: list[Side] = []
        self.ended: set[Any] = set()
        self.own: dict[int, Any] | None = None  # in mode family, where several run: cpus' own processes
        self.born: list[Any] = []  # children of this round that nobody runs yet
        self.parents = 0  # how many threads have not ended
        for space in self.process.spaces:
            self._begin(space, Model(self.rules, files=files))
        self.histories: dict[Any, History] = {}  # of each process, where threads share pages
        if program.mode in RACING:
            self.histories[self.process.space] = self.new_history()
        self.forks: list[tuple[Any, History, int, int]] = []  # in mode forking: a child, from when to when
        self.ran: set[Any] = set()  # the processes that have done something since the last rest
        self.stamps = 0
        self.last: dict[Any, range] = {}
        self.took: dict[tuple[Any, int, int], Cpu] = {}  # who has taken this page away from this frame
        self.of_files: set[int] = set()  # where threads share pages, those whose contents nobody follows
        self.shown: dict[int, tuple[Any, int]] = {}  # pages of which file, where threads share pages
        self.changes: Counter[int] = Counter()  # how many operations were about a page
        self.files: list[Any] = []
        if CreateFile in offered(type(self.kernel)):
            self._create_files(2 * program.threads)
        self.morsels: list[int] = []
        if CreateMorsel in offered(type(self.kernel)):
            self.process.run({0: self._create_morsels})
        if self._anchored:
            for side in self.sides:
                self._anchor_model(side)
            self.process.run({cpu.id: self._anchor for cpu in self.process.cpus[: len(self.sides)]})

    def run(self) -> None:
        """The whole program, and then everything away."""
        for threads in self.program.rounds:
            self._round([list(operations) for operations in threads])
        self.histories = {}  # nobody else is there any more
        if self.program.mode in ("family", "forking"):
            self._end_family()
            return
        pages = [side.model.pages for side in self.sides]
        present = [[page for page, its in each.items() if its.frame is not None] for each in pages]
        self._round([[Touch(each, write=False)] for each in present])
        self._round([self._unmaps(each) for each in pages])
        self._end()

    def _end(self) -> None:
        """Nothing is mapped any more."""
        if self.morsels:
            self.process.run({0: self._destroy_morsels})
        self.process.end()
        self.at_rest()

    def _unmaps(self, pages: Collection[int]) -> list[Operation]:
        """What takes all *pages* away: at one stroke, unless the kernel may look at each page on its way."""
        if self.rules.knows_flags:
            return [Munmap(0, max(pages, default=0) + 1)]
        return [Munmap(page, 1) for page in pages]

    def rules_of_protocols(self) -> Sequence[Probe]:
        """Who holds the run against the rules of `sim.check` while it goes on."""
        return Checks().listeners

    def new_history(self) -> History:
        """What keeps the events on shared pages."""
        return History(self.rules)

    def _end_family(self) -> None:
        """As above, one process after the other."""

        def body(cpu: Cpu) -> Steps[None]:
            for space in self._living():
                yield from self.process.load(cpu, space)
                side = self._side(cpu)
                present = [page for page, its in side.model.pages.items() if its.frame is not None]
                for page in present:
                    yield from self._access(cpu, page, write=False)
                yield from self._live(cpu, side, Exit())

        self.process.run({0: body})
        self._end()

    def _begin(self, space: Any, model: Model) -> Side:
        """A process begins with *space*, which is as *model* says."""
        side = Side(space, model)
        if Brk in offered(type(space)) and not model.brk:
            model.start_brk = model.brk = space.start_brk
        model.alone = self.alone
        if self.alone and self.rules.max_map_count is not None:
            model.vmas = side.vmas
        self.sides.append(side)
        return side

    @property
    def _anchored(self) -> bool:
        """Nobody knows where mappings without an address go, so the parts of programs have borders."""
        return self.rules.area is None

    def _anchor_model(self, side: Side) -> None:
        for anchor in ANCHORS:
            effect(anchor, side.model)

    def _anchor(self, cpu: Cpu) -> Steps[None]:
        for anchor in ANCHORS:
            yield from self.process.space_of(cpu).perform(cpu, anchor)

    def _create_files(self, number: int) -> None:
        """Two for each thread; every other one has its pages in memory, and something in them."""

        def body(cpu: Cpu) -> Steps[None]:
            for each in range(number):
                asked = CreateFile(f"file {each}", FILE_PAGES, resident=bool(each % 2))
                self.files.append((yield from self.kernel.perform(cpu, asked)))

        self.process.run({0: body})
        for each, file in enumerate(self.files):
            if each % 2:
                model = self.sides[0].model
                effect(Fallocate(file, 0, FILE_PAGES), model)
                for index, frame in model.files[file].frames.items():
                    self.stamps += 1
                    frame.version = self.stamps
                    self.contents.write(file.frames[index], self.stamps)

    def _create_morsels(self, cpu: Cpu) -> Steps[None]:
        """A page, and 2 MiB with a meta page: programs call them 0 and 1, and all threads share them."""
        for order in range(2):
            asked = CreateMorsel(order, meta=order == 1)
            told = yield from self.kernel.perform(cpu, asked)
            effect(asked, self.sides[0].model, told)
            self.morsels.append(told)

    def _destroy_morsels(self, cpu: Cpu) -> Steps[None]:
        for morsel in self.morsels:
            asked = DestroyMorsel(morsel)
            told = yield from self.kernel.perform(cpu, asked)
            assert told == effect(asked, self.sides[0].model), f"{asked} answers {told}"

    def _round(self, threads: Sequence[Sequence[Operation]]) -> None:
        busy = [cpu for cpu, operations in enumerate(threads) if operations]
        several = self.program.mode == "family" and len(busy) > 1
        self.own = dict(zip(busy, self._living(), strict=False)) if several else None
        self.born, self.parents = [], len(busy)
        elsewhere = [cpu for cpu in busy if isinstance(threads[cpu][0], Onto) and self.own is None]
        self.process.run({cpu: self._thread(operations) for cpu, operations in enumerate(threads)}, elsewhere)
        self.at_rest()

    def _living(self) -> list[Any]:
        return [side.space for side in self.sides if side.space not in self.ended]

    def _thread(self, operations: Sequence[Operation]) -> Callable[[Cpu], Steps[None]]:
        def body(cpu: Cpu) -> Steps[None]:
            if self.own is not None:
                if operations and cpu.id not in self.own:
                    yield from self._await_child(cpu)
                if cpu.id not in self.own:
                    return
                yield from self.process.load(cpu, self.own[cpu.id])
            if operations:
                yield from do(cpu)
                self.parents -= 1

        def do(cpu: Cpu) -> Steps[None]:
            for operation in operations:
                asked: Any = operation
                self.operations += 1
                if isinstance(asked, Onto) or self.process.space_of(cpu) in self.ended:
                    living = [self.process.space_of(cpu)] if self.own else self._living()
                    if not set(living) - self.ended:
                        return
                    number = asked.number if isinstance(asked, Onto) else 0
                    yield from self.process.load(cpu, living[number % len(living)])
                if isinstance(asked, Onto):
                    continue
                if isinstance(asked, Reclaim):
                    yield from self.kernel.reclaim(cpu)
                    continue
                if isinstance(asked, InLast):
                    asked = self._in_last(cpu, asked)
                elif isinstance(asked, InHeap):
                    heap = self._side(cpu).model.start_brk
                    asked = replace(asked.operation, at=heap + asked.operation.at)
                elif isinstance(asked, MapMorsel):
                    asked = replace(asked, morsel=self.morsels[asked.morsel])
                elif isinstance(asked, OnFile):
                    own = 2 * cpu.id if self.program.mode == "apart" else 0
                    asked = replace(asked.operation, file=self.files[own + asked.number])
                if isinstance(asked, Touch):
                    for page in asked.pages:
                        yield from self._access(cpu, page, asked.write)
                elif asked is not None and not self._is_too_large(asked):
                    yield from (self._race if self.histories else self._perform)(cpu, asked)

        return body

    def _is_too_large(self, asked: Any) -> bool:
        """Whether *asked* maps more than the model can take down, where the kernel would let it."""
        return isinstance(asked, MmapShared) and self.rules.memory is None and asked.pages > LARGEST

    def _await_child(self, cpu: Cpu) -> Steps[None]:
        """*cpu* takes the first child that another thread forks, if one does: it runs beside its parent."""
        assert self.own is not None
        self.parents -= 1
        while not self.born and self.parents:
            cpu.work(AWHILE, Activity("idle"))
            yield cpu.take_pending()
        if self.born:
            self.parents += 1
            self.own[cpu.id] = self.born.pop(0)

    def _in_last(self, cpu: Cpu, operation: InLast) -> Operation | None:
        """What *operation* means on the last mapping of this thread, None where it has none.

        It stays inside: what lies beside it is others'. And what others may be given is no more looked at.
        """
        thread = self.process.space_of(cpu), cpu
        where, asked = self.last.get(thread), operation.operation
        if where is None:
            return None
        if isinstance(asked, Touch):
            return replace(asked, pages=[where[page % len(where)] for page in asked.pages])
        if isinstance(asked, Munmap):
            del self.last[thread]
            return Munmap(where.start, len(where))
        start = where[asked.at % len(where)]
        moved: Operation = replace(asked, at=start, pages=min(asked.pages, where.stop - start))
        return moved

    # -- while it runs --------------------------------------------------------------------------------------

    def _side(self, cpu: Cpu) -> Side:
        space = self.process.space_of(cpu)
        return next(side for side in self.sides if side.space is space)

    def _live(self, cpu: Cpu, side: Side, asked: Fork | Vfork | Exec | Exit) -> Steps[None]:
        """*side* forks, or it ends; nobody else runs in it."""
        if isinstance(asked, Vfork):
            yield from self._spawn(cpu, side)
            return
        resting.huge_pages(side)
        result = effect(asked, side.model)
        told = yield from side.space.perform(cpu, asked)
        if isinstance(asked, Fork):
            self.process.spaces.append(told)
            while self.rules.swaps and _is_being_unmapped(told):
                cpu.work(AWHILE, Activity("idle"))
                yield cpu.take_pending()
            child = self._begin(told, result)
            resting.mappings(child)
            resting.entries(child, self.contents)
            resting.forked(side, child)
            self._just_done(side, side.model.pages)
            self.born.append(told)
            return
        self.ended.add(side.space)
        if isinstance(asked, Exec):
            self.process.loads(cpu, told)
            self._begin(told, Model(self.rules, files=side.model.files))

    def _spawn(self, cpu: Cpu, side: Side) -> Steps[None]:
        """A child executes a program with borrowed memory, which is as it was."""
        lent = yield from side.space.perform(cpu, Vfork())
        assert lent is side.space, "a child of vfork has memory of its own"
        told = yield from lent.perform(cpu, Exec())
        self.process.loads(cpu, told)
        self._begin(told, Model(self.rules, files=side.model.files))
        yield from self.process.load(cpu, side.space)
        self._just_done(side, side.model.pages)
        self.born.append(told)

    def _perform(self, cpu: Cpu, asked: Any) -> Steps[None]:
        side = self._side(cpu)
        if isinstance(asked, Fork | Vfork | Exec | Exit):
            yield from self._live(cpu, side, asked)
            return
        anywhere = isinstance(asked, Mmap | MmapFile | MmapShared) and asked.at is None
        chosen = anywhere and not (self.alone and self.rules.area)  # by the kernel, and we shall see
        chosen = chosen or (isinstance(asked, Mremap) and self.rules.area is None)
        chosen = chosen or isinstance(asked, ReadMaps) or (isinstance(asked, Mincore) and self.rules.swaps)
        if isinstance(asked, UffdCopy | UffdZeropage):
            resting.huge_pages(side)  # may have brought the page already
        try:
            expected = None if chosen else effect(asked, side.model)
        except Undetermined:
            return
        had = self._frames_of(side, asked)
        if chosen and isinstance(asked, Mremap):  # whose effect depends on where mappings ended before
            side.model.as_they_were = side.model.mappings()
            if side.model.as_they_were is None or not mremap_is_determined(side.model):
                return
        told = yield from self._performer(cpu, asked).perform(cpu, asked)
        self.took.update({(side.space, page, frame): cpu for page, frame in had.items()})
        if chosen:
            expected = effect(asked, side.model, told)
            side.model.as_they_were = None
        if isinstance(asked, Mincore) and self.rules.huge and isinstance(expected, list):  # more may be there
            expected = [one or other for one, other in zip(told, expected, strict=True)]
        assert told == expected, f"{asked} answers {told}, not {expected}"
        of_no_pages = (Brk, ReadMaps, UffdClose, ExmapSetup, *PLAIN_CALLS)
        if type(asked) in offered(type(self.kernel)) or isinstance(asked, of_no_pages):
            return
        start = told if anywhere else asked.at
        if anywhere and not isinstance(told, Errno):
            self.last[side.space, cpu] = range(start, start + asked.pages)
        if start is not None and not isinstance(start, Errno) and asked.pages < 1 << 16:
            self._just_done(side, range(start, start + asked.pages))

    def _frames_of(self, side: Side, asked: Any) -> Mapping[int, int]:
        """The pages that *asked*, if it takes any away, may take away, with their frames."""
        if not isinstance(asked, Munmap | Madvise | Mmap) or asked.at is None or asked.pages > LARGEST:
            return {}
        walked = ((page, side.space.root.walk(page)) for page in range(asked.at, asked.at + asked.pages))
        return {page: entry.frame_of(page) for page, entry in walked if entry is not None}

    def _performer(self, cpu: Cpu, asked: Operation) -> Performer:
        performer: Performer = self._side(cpu).space
        return self.kernel if type(asked) in offered(type(self.kernel)) else performer

    def _just_done(self, side: Side, where: Collection[int]) -> None:
        """Nobody else works on these pages: all agree on them at once, the TLBs of other cpus too."""
        for page in where:
            its = side.model.pages.get(page)
            rights, status = None if its is None else its.rights, side.space.status(page)
            assert status == rights, f"page {page:#x} has rights {status}, not {rights}"
        for cpu in self.process.cpus:
            if self._side(cpu) is not side or getattr(side.space, "flush_pending", False):
                continue  # another process's, or reclaim may have put a flush off
            for page, known in {} if cpu.tlb.stale else cpu.tlb.frames().items():
                if page not in where or side.space.may_be_stale(page, known.frame):
                    continue
                entry = side.space.table_of(cpu).allowed(page)
                mapped = page in side.model.pages
                assert mapped, f"{cpu} translates page {page:#x}, which is mapped nowhere"
                assert entry is not None, f"{cpu} translates page {page:#x}, which is gone"
                assert entry.frame_of(page) == known.frame, (
                    f"{cpu} translates page {page:#x} to a frame that it had"
                )
                assert entry.writable or not known.writable, f"{cpu} may still write page {page:#x}"

    def _access(self, cpu: Cpu, page: int, write: bool) -> Steps[None]:
        side, stamp = self._side(cpu), None
        its = side.model.pages.get(page)
        brought = self.rules.huge and side.space.present(page) is not None  # with others, as a huge page
        allowed = its is not None and its.rights & (WRITE if write else READ)
        if allowed and side.model.asks([page]) and not brought:
            yield from self._perform(cpu, UffdZeropage(page))  # the answer comes before the question
        if write:
            self.stamps += 1
            stamp = self.stamps
        history = self._history(cpu)
        since = history.now() if history else 0
        touch = Touch([page], write)
        cpu.probe.performs(self.process.space_of(cpu), cpu, touch)
        cpu.probe.operation_begins(cpu, touch)
        try:
            yield from side.space.access(cpu, page, write=write)
        except SegmentationFault:
            cpu.probe.operation_ends(cpu, touch)
            if history:
                if page not in self.of_files:
                    history.accessed(page, since, write=write, version=None, cpu=cpu.id)
                return
            found: int | str = SIGNAL
        else:
            cpu.probe.operation_ends(cpu, touch)
            known = cpu.tlb.lookup(page)  # no time has passed
            assert known is not None
            frame = known.frame
            entry = side.space.table_of(cpu).walk(page)
            mapped = entry is not None and entry.frame_of(page) == frame
            late = not mapped and self.took.get((side.space, page, frame)) is not cpu
            if late and side.space.shows_another(page, frame):
                return
            found = self._find(side, page, frame, stamp)
            if late and side.space.may_be_stale(page, frame):
                return  # a lazy flush of another cpu has not come round yet, and lets this happen
            if history:
                if page not in self.of_files:
                    history.accessed(page, since, write=write, version=found, cpu=cpu.id)
                return
        expected = side.model.access(page, stamp)
        expected = found if expected == WHATEVER else expected
        verb = "a write to" if write else "a read of"
        assert found == expected, f"{verb} page {page:#x} gives version {found}, not {expected}"

    def _find(self, side: Side, page: int, frame: int, stamp: int | None) -> int:
        """What an access to *page* finds in *frame*, where it leaves *stamp* if it writes."""
        if not self.rules.tells_fills:
            if self.histories:
                return UNKNOWN
            its = side.model.pages.get(page)
            if its is not None and its.rights & (READ if stamp is None else WRITE):
                shown = side.model.fault(page, write=stamp is not None)
                if shown is not None:
                    self.contents.believe(frame, shown)
        if stamp is not None:
            self.contents.write(frame, stamp)
        return self.contents.read(frame)

    def _history(self, cpu: Cpu) -> History | None:
        """Of the process that *cpu* is in, which does something now; None if nobody else is there."""
        if not self.histories:
            return None
        space = self.process.space_of(cpu)
        self.ran.add(space)
        return self.histories[space]

    def _race(self, cpu: Cpu, asked: Any) -> Steps[None]:
        if (
            self.rules.piecewise
            and isinstance(asked, Mmap)
            and asked.at is not None
            and 1 < asked.pages <= LARGEST
        ):
            for page in range(asked.at, asked.at + asked.pages):  # so that each is a whole
                yield from self._race(cpu, replace(asked, at=page, pages=1))
            return
        history = self._history(cpu)
        assert history is not None
        side = self._side(cpu)
        if isinstance(asked, Fork):
            since = history.now()
            child = yield from side.space.perform(cpu, asked)
            self.process.spaces.append(child)
            self.forks.append((child, history, since, history.now()))
            return
        if isinstance(asked, Exit):  # of a child; nobody else is in it
            effect(asked, side.model)
            yield from side.space.perform(cpu, asked)
            self.ended.add(side.space)
            return
        if isinstance(asked, MmapFile | MmapShared) and asked.at is not None:
            self.of_files.update(range(asked.at, asked.at + asked.pages))
        valid = (
            type(asked) not in offered(type(self.kernel))
            and 0 < asked.pages < 1 << 16
            and asked.at + asked.pages <= 1 << 35
        )
        events = _begin(history, asked) if valid else []
        if valid:
            self.changes.update(range(asked.at, asked.at + asked.pages))
        if isinstance(asked, MmapFile) and asked.shared and asked.at is not None:
            its = (
                (page, (asked.file, asked.offset + page - asked.at))
                for page in range(asked.at, asked.at + asked.pages)
            )
            self.shown.update(its)
        if isinstance(asked, Mremap) and asked.to is not None:
            self.of_files.update(range(asked.to, asked.to + asked.new_pages))
        told = yield from self._performer(cpu, asked).perform(cpu, asked)
        if told is Errno.EEXIST:
            history.drop(events)
        else:
            history.end(events, sure=not isinstance(told, Errno))

    # -- between rounds -------------------------------------------------------------------------------------

    def at_rest(self) -> None:
        if self.histories:
            self.settle_races()
        for side in self.sides:
            resting.mappings(side)
            resting.entries(side, self.contents)
            resting.tables(side, exactly=self.alone and not side.model.moved)
        resting.frames(self.sides, self.kernel)
        for page, (file, index) in self.shown.items():
            if self.changes[page] == 1:  # nothing but that mapping
                resting.shows(self.sides[0], page, file, index)
        if self.program.mode not in RACING:
            resting.files(self.sides, self.contents)

    def settle_races(self) -> None:
        """What has come of the shared pages has to be possible; the models go on from there."""
        parent, *children = [side for side in self.sides if side.space not in self.ended]
        frames: dict[resting.Place, Frame] = {ZERO_FRAME: ZEROS}
        for child in children:
            for page in self.of_files:  # a file that is cut off takes pages away
                self._take_over(child, page, frames)
            if child.space not in self.ran:
                resting.entries(child, self.contents)  # all is as it was
                for place, its in resting.places(child):
                    assert its.frame is not None
                    its.frame = frames.setdefault(place, Frame(its.frame.version))
        for space, history, since, until in self.forks:
            child = self._begin(space, Model(self.rules))
            own = self.histories[space] = self.new_history()
            if self._anchored:
                self._anchor_model(child)
            for page in sorted({*SHARED, *history.pages}):
                state, version = self._take_over(child, page, frames)
                history.was(page, state, version, since, until)
                own.starts(page, state, version)
        self.forks = []
        for side in (parent, *children):
            if side is not parent and side.space not in self.ran:
                continue
            history = self.histories[side.space]
            for page in sorted({*SHARED, *history.pages}):
                state, version = self._take_over(side, page, frames)
                history.rests(page, state, version)
        self.ran.clear()

    def _take_over(
        self, side: Side, page: int, frames: dict[resting.Place, Frame]
    ) -> tuple[Rights | None, int | None]:
        """The model has *page* as the kernel has it. Value: its rights, and its version if that is known."""
        state = side.space.status(page)
        if not self.rules.tells_fills and (entry := side.space.present(page)) is not None:
            self.contents.believe(entry.frame_of(page), Frame())
        found = side.version(page, self.contents)
        version = None if state is None else found or 0
        known = page not in self.of_files and self.rules.tells_fills
        side.model.pages.pop(page, None)
        if state is not None:
            its = side.model.pages[page] = Page(state)
            if found is not None:
                place = side.place(page)
                its.frame = frames.setdefault(place, Frame(found))
                written = found > 0 and known
                its.dirty = written if written or place == ZERO_FRAME else None
        return state, version if known else None
