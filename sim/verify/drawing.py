"""How programs are drawn: where their operations are, which ones there are, and a whole program.

Each program has its own share of the operations, large or small: what needs a few of them many times would
hardly come about where all are as likely (swarm testing: Groce and others, ISSTA 2012).

Whoever draws says how to choose: at random, or as hypothesis does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from sim.engine import ScheduleName
from sim.mm import (
    EXECUTE,
    NOTHING,
    READ,
    READ_WRITE,
    Advice,
    AllocatePages,
    AllocateRegion,
    Brk,
    Close,
    CreateFile,
    CreateMorsel,
    CreateObject,
    DestroyMorsel,
    DestroyObject,
    DirectRead,
    Exec,
    Exit,
    ExmapAlloc,
    ExmapFree,
    ExmapRead,
    ExmapSetup,
    Fallocate,
    Fork,
    FreePages,
    Fstat,
    Ftruncate,
    Kill,
    LookUp,
    Madvise,
    MapMorsel,
    MapObject,
    Mincore,
    Mlock,
    Mmap,
    MmapExmap,
    MmapFile,
    MmapHuge,
    MmapShared,
    Mprotect,
    Mremap,
    Msync,
    Munlock,
    Munmap,
    Open,
    Operation,
    PlaceRegions,
    Prepopulate,
    PrepopulateFolios,
    ProcessMadvise,
    ReadByte,
    ReadMaps,
    ReadStatus,
    Shootdown,
    Sigaction,
    Signal,
    Stat,
    SwitchMm,
    Touch,
    UffdClose,
    UffdCopy,
    UffdRead,
    UffdRegister,
    UffdUnregister,
    UffdWake,
    UffdZeropage,
    Unlink,
    Vfork,
    WriteByte,
    WriteRegion,
)
from sim.verify.kernels import BASE, KINDS, LEAF, TABLE_SHARERS
from sim.verify.programs import (
    DETERMINED,
    RACING,
    InHeap,
    InLast,
    Mode,
    OnFile,
    Onto,
    Program,
    Reclaim,
)
from sim.verify.variants import PCID, Choose, draw_corten_variant, draw_variant, needed, offered, rules_of

# -- where ----------------------------------------------------------------------------------------------

MOST_CHILDREN = 6
"""Forks of a program: all that is held against the model is so for each process."""
NEAR = [
    range(BASE - 16, BASE - 7),
    range(BASE - 7, BASE + 3),
    range(BASE + 3, BASE + 9),
    range(BASE + 9, BASE + 16),
]
"""Each thread's own pages: they share leaves, one part lies in two, and what is mapped joins across all."""
FAR = [
    range(BASE - 2 * LEAF, BASE - LEAF + 188),
    range(BASE - LEAF + 188, BASE - 24),
    range(BASE - 24, BASE + LEAF + 64),
    range(BASE + LEAF + 64, BASE + 2 * LEAF),
]
"""The same with whole leaves in two of them."""
SHARED = range(BASE - 3, BASE + 3)
NARROW = range(BASE - 1, BASE + 1)
LEAVES = [
    range(BASE - 3 * LEAF, BASE - 2 * LEAF + 188),
    range(BASE - 2 * LEAF + 188, BASE + 100),
    range(BASE + 100, BASE + 2 * LEAF + 64),
    range(BASE + 2 * LEAF + 64, BASE + 3 * LEAF + 9),
    range(BASE - 3, BASE + LEAF + 3),
]
"""For huge pages, and tables that are shared: parts with a whole leaf each, and one to be shared."""
HUGE_AT = BASE + 16 * LEAF
EXMAP_AT = BASE + 24 * LEAF - 13
Draw = Callable[[Choose, range], Operation]
"""Draws an operation on some of the pages of a part."""

ALL_RIGHTS = (*4 * (READ_WRITE,), READ, READ | EXECUTE, NOTHING)
NOWHERE = (Mmap(0, BASE), Mmap(2, (1 << 35) - 1), Munmap(BASE, 0), Munmap((1 << 35) - 1, 2))
NOWHERE_TO_PROTECT = (Mprotect(BASE, 0, READ), Mprotect((1 << 35) - 1, 2, READ))


def somewhere(choose: Choose, part: range) -> tuple[int, int]:
    """The first page and the length of some pages of *part*: short ones, long ones, a leaf, all of it."""
    if part in LEAVES and choose((True, False, False, False)):
        return -(-part.start // LEAF) * LEAF, LEAF
    where = choose(range(min(32, len(part))))
    first = part.start + where * len(part) // min(32, len(part))
    length = choose((1, 1, 1, 2, 3, 5, len(part)))
    return first, min(length, part.stop - first)


# -- what: one function an operation ----------------------------------------------------------------------


def draw_mmap(choose: Choose, part: range) -> Operation:
    at, pages = somewhere(choose, part)
    how = choose(("replace", "replace", "replace", "populate", "noreserve", "noreplace", "refused"))
    if how == "refused":
        return choose(NOWHERE[:2])
    return Mmap(
        pages,
        at,
        choose(ALL_RIGHTS),
        replace=how != "noreplace",
        populate=how == "populate",
        reserve=how != "noreserve",
    )


def draw_anywhere(choose: Choose, part: range) -> Operation:
    how = choose(("map", "touch", "change", "munmap"))
    if how == "map":
        return Mmap(choose((1, 2, 7, 64)), None, choose(ALL_RIGHTS), populate=choose((False, False, True)))
    inside = range(64)
    if how == "munmap":
        return InLast(draw_munmap(choose, inside))
    return InLast((draw_touch if how == "touch" else draw_mprotect)(choose, inside))


def draw_munmap(choose: Choose, part: range) -> Operation:
    if choose(range(8)) == 7:
        return choose(NOWHERE[2:])
    return Munmap(*somewhere(choose, part))


def draw_mprotect(choose: Choose, part: range) -> Operation:
    if choose(range(12)) == 11:
        return choose(NOWHERE_TO_PROTECT)
    return Mprotect(*somewhere(choose, part), choose(ALL_RIGHTS))


def draw_madvise(choose: Choose, part: range) -> Operation:
    at, pages = somewhere(choose, part)
    advice: Sequence[Advice] = ("dontneed", "dontneed", "dontneed", "hugepage", "nohugepage")
    return Madvise(at, pages, choose(advice) if part in LEAVES else "dontneed")


def draw_process_madvise(choose: Choose, part: range) -> Operation:
    starts = [somewhere(choose, part) for _ in range(choose((1, 2, 3)))]
    return ProcessMadvise(tuple(range(at, at + max(0, pages)) for at, pages in starts))


def draw_read_maps(choose: Choose, part: range) -> Operation:
    return ReadMaps()


def draw_prepopulate(choose: Choose, part: range) -> Operation:
    whole = choose((False, True))
    return Prepopulate(part.start, len(part)) if whole else Prepopulate(*somewhere(choose, part))


def draw_pageout(choose: Choose, part: range) -> Operation:
    return Madvise(*somewhere(choose, part), choose(("pageout", "pageout", "pageout", "cold")))


def draw_reclaim(choose: Choose, part: range) -> Operation:
    return Reclaim()


def draw_mmap_shared(choose: Choose, part: range) -> Operation:
    if choose(range(8)) == 7:
        return MmapShared(1 << 30)  # more than there is
    at, pages = somewhere(choose, part)
    return MmapShared(pages, at, choose(ALL_RIGHTS), populate=choose((False, False, True)))


def draw_mmap_file(choose: Choose, part: range) -> Operation:
    at, pages = somewhere(choose, part)
    offset, shared, populate = choose((0, 0, 1, 3)), choose((True, False)), choose((False, False, True))
    unknown: Any = None
    rights = choose(ALL_RIGHTS)
    asked = MmapFile(unknown, min(pages, 9), offset, shared, at, rights, populate=populate)
    return OnFile(asked, choose((0, 1)))


def draw_fallocate(choose: Choose, part: range) -> Operation:
    unknown: Any = None
    return OnFile(Fallocate(unknown, choose((0, 2, 6, -1)), choose((1, 3, 0))), choose((0, 1)))


def draw_ftruncate(choose: Choose, part: range) -> Operation:
    unknown: Any = None
    return OnFile(Ftruncate(unknown, choose((0, 1, 2, 4, 7, -1))), choose((0, 1)))


def draw_touch(choose: Choose, part: range) -> Operation:
    first, length = somewhere(choose, part)
    return Touch(range(first, first + min(length, 9)), write=choose((True, True, False)))


def draw_mremap(choose: Choose, part: range) -> Operation:
    at, pages = somewhere(choose, part)
    to = choose((None, None, None, part.start, part.stop - 2, part.stop + 3))
    if part in LEAVES and to is not None:
        to = BASE + 8 * LEAF
    return Mremap(
        at,
        choose((pages, pages, 1, 0)),
        choose((pages, pages + 1, 1, 2, 5, 0)),
        choose((True, True, False)),
        to,
    )


def draw_brk(choose: Choose, part: range) -> Operation:
    return InHeap(Brk(choose((0, 1, 2, 3, 5, 9, -1))))


def draw_mlock(choose: Choose, part: range) -> Operation:
    return Mlock(*somewhere(choose, part), choose((False, False, True)))


def draw_munlock(choose: Choose, part: range) -> Operation:
    return Munlock(*somewhere(choose, part))


def draw_mincore(choose: Choose, part: range) -> Operation:
    return Mincore(*somewhere(choose, part))


def draw_msync(choose: Choose, part: range) -> Operation:
    return Msync(*somewhere(choose, part), choose((True, False)), choose((True, False)))


def draw_huge(choose: Choose, part: range) -> Operation:
    """Beside all parts, where nothing else is; some of it would cut huge pages."""
    pages = choose((1, LEAF, LEAF, 2 * LEAF))
    at = HUGE_AT + choose((0, 0, LEAF, 1, LEAF - 1))
    how = choose(("mmap", "mmap", "munmap", "touch", "touch", "touch", "mprotect", "madvise"))
    if how == "mmap":
        return MmapHuge(pages, at, choose(ALL_RIGHTS), choose((True, False)), choose((True, False)))
    if how == "touch":
        return Touch(range(at, at + 3), write=choose((True, False)))
    if how == "mprotect":
        return Mprotect(at, pages, choose(ALL_RIGHTS))
    return Munmap(at, pages) if how == "munmap" else Madvise(at, pages)


def draw_exmap(choose: Choose, part: range) -> Operation:
    """Beside all parts, over the end of a table, with a pool that is soon empty."""
    calls = (*5 * ("alloc",), "read", *4 * ("free",), *6 * ("touch",))
    how = choose(("setup", "mmap", "mmap", *calls, "munmap"))
    at, pages = EXMAP_AT + choose(range(20)), choose((1, 1, 2, 7))
    parts = tuple(range(at + 3 * each, at + 3 * each + pages) for each in range(choose((1, 1, 2, 3))))
    interface = choose((0, 0, 1, 2))
    if how == "setup":
        return ExmapSetup(choose((4, 9, 2000)), choose((2, 3, 300)))
    if how == "mmap":
        return MmapExmap(40, EXMAP_AT)
    if how == "alloc":
        return ExmapAlloc(interface, parts, choose(("ioctl", "ioctl", "pread")))
    if how == "read":
        return ExmapRead(interface, parts[:1])
    if how == "free":
        return ExmapFree(interface, parts)
    if how == "munmap":
        return Munmap(EXMAP_AT + choose((0, 0, 0, 5)), choose((40, 40, 3)))
    return Touch(range(at, at + 3), write=choose((True, True, False)))


def draw_direct_read(choose: Choose, part: range) -> Operation:
    at, pages = somewhere(choose, part)
    return DirectRead(at, min(pages, 3))


def draw_uffd_register(choose: Choose, part: range) -> Operation:
    return UffdRegister(*somewhere(choose, part))


def draw_uffd_unregister(choose: Choose, part: range) -> Operation:
    return UffdUnregister(*somewhere(choose, part))


def draw_uffd_copy(choose: Choose, part: range) -> Operation:
    at, pages = somewhere(choose, part)
    return UffdCopy(at, somewhere(choose, part)[0], min(pages, 3))


def draw_uffd_zeropage(choose: Choose, part: range) -> Operation:
    at, pages = somewhere(choose, part)
    return UffdZeropage(at, min(pages, 3))


def draw_uffd_wake(choose: Choose, part: range) -> Operation:
    return UffdWake(*somewhere(choose, part))


def draw_uffd_close(choose: Choose, part: range) -> Operation:
    return UffdClose()


UFFD_DRAWS: Sequence[Draw] = (
    draw_uffd_register,
    draw_uffd_unregister,
    draw_uffd_copy,
    draw_uffd_zeropage,
    draw_uffd_wake,
    draw_uffd_close,
)
"""Only where nobody else looks at the pages of a thread: a page is answered before it is touched."""


def draw_fork(choose: Choose, part: range) -> Operation:
    return Fork()


def draw_vfork(choose: Choose, part: range) -> Operation:
    """And its child executes a program."""
    return Vfork()


def draw_exec(choose: Choose, part: range) -> Operation:
    return Exec()


def draw_exit(choose: Choose, part: range) -> Operation:
    return Exit()


def draw_onto(choose: Choose, part: range) -> Operation:
    return Onto(choose((0, 1, 2, 3)))


MORSEL_AT = BASE + 32 * LEAF


def draw_morsel(choose: Choose, part: range) -> Operation:
    """One of a page among the other mappings of the part, or one of 2 MiB, beside all of them and at a place
    of the part's own. All threads have the same two."""
    rights = choose((READ_WRITE, READ_WRITE, READ))
    if choose((True, False)):
        return MapMorsel(0, somewhere(choose, part)[0], rights)
    at = MORSEL_AT + (part.start - BASE) % 61 * LEAF
    how = choose(
        ("map", "map", "map", "touch", "touch", "touch", "munmap", "munmap", "mprotect", "madvise", "mmap")
    )
    if how == "map":
        return MapMorsel(1, at + choose((0, 0, 0, 1)), rights)
    if how == "touch":
        first = choose((0, 0, 1, 300))
        return Touch(range(at + first, at + first + 3), write=choose((True, False)))
    if how == "munmap":
        return Munmap(at + choose((0, 0, 0, 5)), choose((LEAF, LEAF, LEAF, 3)))
    if how == "mmap":
        return Mmap(choose((1, LEAF)), at)
    return Mprotect(at, LEAF, READ) if how == "mprotect" else Madvise(at, LEAF)


FAMILY_DRAWS: Sequence[Draw] = (draw_fork, draw_vfork, draw_exec, draw_exit, draw_onto)
"""Only where one runs at a time and there may be more processes, but for fork."""

FILE_DRAWS: Sequence[Draw] = (draw_mmap_shared, draw_mmap_file, draw_fallocate, draw_ftruncate)
"""In mode shared pages of files are only held against what must hold of every kernel, so they come seldom."""

PATHS = ("/dev/zero", "/dev/null", "/tmp/a", "/tmp/b", "/tmp/a", "/tmp/a/c", "/tmp")


def draw_open(choose: Choose, part: range) -> Operation:
    return Open(choose(PATHS), create=choose((True, False)))


def drawing_path(kind: type[Stat | Unlink]) -> Draw:
    return lambda choose, part: kind(choose(PATHS))


def drawing_descriptor(kind: type[Close | Fstat | ReadByte | WriteByte]) -> Draw:
    return lambda choose, part: kind(choose((0, 0, 1, 1, 2, 3)))


def draw_kill(choose: Choose, part: range) -> Operation:
    return Kill(deliver=choose((True, False)))


def draw_sigaction(choose: Choose, part: range) -> Operation:
    return Sigaction()


CALLS: Mapping[type[Operation], Sequence[Draw]] = {
    Open: 3 * (draw_open,),
    Stat: (drawing_path(Stat),),
    Unlink: (drawing_path(Unlink),),
    Close: (drawing_descriptor(Close),),
    Fstat: (drawing_descriptor(Fstat),),
    ReadByte: (drawing_descriptor(ReadByte),),
    WriteByte: (drawing_descriptor(WriteByte),),
    Sigaction: (draw_sigaction,),
    Kill: (draw_kill,),
}
CALL_DRAWS: Sequence[Draw] = tuple(draw for draws in CALLS.values() for draw in draws)
"""Only for a thread alone: descriptors are those of a process, names those of all."""

DRAWN: Mapping[type[Operation], Sequence[Draw]] = {
    Mmap: (draw_mmap, draw_mmap, draw_anywhere),
    MmapHuge: 6 * (draw_huge,),
    MapMorsel: 6 * (draw_morsel,),
    MmapShared: (draw_mmap_shared,),
    MmapFile: (draw_mmap_file, draw_mmap_file),
    Fallocate: (draw_fallocate,),
    Ftruncate: (draw_ftruncate,),
    Munmap: (draw_munmap,),
    Mprotect: (draw_mprotect, draw_mprotect),
    Madvise: (draw_madvise, draw_pageout, draw_pageout, draw_reclaim),
    ProcessMadvise: (draw_process_madvise,),
    ReadMaps: (draw_read_maps,),
    Prepopulate: (draw_prepopulate,),
    Mremap: 3 * (draw_mremap,),
    Brk: 3 * (draw_brk,),
    Mlock: (draw_mlock,),
    Munlock: (draw_munlock,),
    Mincore: (draw_mincore,),
    ExmapAlloc: 12 * (draw_exmap,),
    DirectRead: (draw_direct_read,),
    Msync: (draw_msync,),
    UffdRegister: 3 * (draw_uffd_register,),
    UffdUnregister: (draw_uffd_unregister,),
    UffdCopy: 3 * (draw_uffd_copy,),
    UffdZeropage: (draw_uffd_zeropage,),
    UffdWake: (draw_uffd_wake,),
    UffdClose: (draw_uffd_close,),
    Fork: 2 * (draw_fork,),
    Vfork: (draw_vfork,),
    Exec: (draw_exec,),
    Exit: (draw_exit,),
    SwitchMm: 3 * (draw_onto,),
    Touch: 7 * (draw_touch,),
    **CALLS,
}
"""How each operation is drawn; one that stands here more often is drawn more often."""
NOT_DRAWN = frozenset(
    {
        *(AllocatePages, FreePages, CreateFile, PrepopulateFolios, ReadStatus, Shootdown, Signal, UffdRead),
        *(ExmapSetup, MmapExmap, ExmapFree, ExmapRead),
        *(CreateObject, MapObject, DestroyObject, CreateMorsel, DestroyMorsel),
        *(PlaceRegions, LookUp, WriteRegion, AllocateRegion),
    }
)
"""What user code cannot ask for, what each program begins with, what waits for another thread, and what is
drawn with something else, or is another operation here and there."""


# -- programs ---------------------------------------------------------------------------------------------


def is_plain(operation: Operation, kind: str) -> bool:
    """Whether it asks for no more than what a kernel has that knows no flags."""
    if isinstance(operation, InLast):
        return is_plain(operation.operation, kind)
    if type(operation) not in offered(kind):
        return False
    if isinstance(operation, Mmap):
        mapped = replace(operation, reserve=True)
        return mapped == Mmap(operation.pages, operation.at) and operation not in NOWHERE
    return operation not in (*NOWHERE, *NOWHERE_TO_PROTECT)


def modes(kind: str) -> tuple[Mode, ...]:
    """The modes that the operations of a design are enough for."""
    every: tuple[Mode, ...] = get_args(Mode)
    forks = {Fork, SwitchMm} <= offered(kind)
    return every if forks else tuple(each for each in every if each not in ("family", "forking"))


def with_delays(choose: Choose, program: Program) -> Program:
    """*program*, with delays or without."""
    return replace(program, delays=choose((0.0, 0.0, 0.02, 0.2)))


def draw_kernel(
    choose: Choose, kind: str, *, huge: bool = False
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What is changed in the files of the kernel, where *kind* has switches to throw, and of its machine."""
    if kind == "linux":
        return draw_variant(choose, huge=huge)
    return draw_corten_variant(choose) if kind in ("rw", "adv") else {}, needed(kind)


def draw_program(
    choose: Choose, kinds: Sequence[str] = KINDS, *, huge: bool = False, of_mode: Mode | None = None
) -> Program:
    """One of all programs, or of all *of_mode*; *huge*: one on Linux with huge pages, perhaps with tables of
    five levels."""
    kind = "linux" if huge else choose(kinds)
    every: Sequence[Mode] = get_args(Mode)
    mode: Mode = choose((*every, "alone", "alone") if huge else every) if of_mode is None else of_mode
    if mode not in modes(kind):
        mode = choose(("alone", "shared"))
    changes, machine = draw_kernel(choose, kind, huge=huge)
    threads = 1 if mode == "alone" else choose((2, 3, 4))
    if mode in ("processes", "family", "forking") and "tlb" not in machine and choose((False, True)):
        machine = {**machine, **PCID}
    if mode in DETERMINED and kind == "linux" and choose((False, True)):
        changes = {**changes, "limits": {"max_map_count": choose((3, 5, 8))}}
    places = (NEAR, LEAVES[:4], LEAVES[:4]) if kind in TABLE_SHARERS else (NEAR, NEAR, NEAR, FAR)
    parts = LEAVES[:4] if huge else choose(places)
    always = {Touch, Fork, SwitchMm, ExmapAlloc}
    can = [each for each in DRAWN if each in offered(kind) and (huge or each is not MmapHuge)]
    if huge:
        always = {*always, MmapHuge}
    share = choose((2, 2, 4, 8))  # one of so many operations: those that are left come the more often
    does = [each for each in can if each in always or choose(range(share)) == 0]
    draws = [draw for each in does for draw in DRAWN[each]]
    if mode != "family":
        left_out = FAMILY_DRAWS if mode != "forking" else FAMILY_DRAWS[1:]
        draws = [draw for draw in draws if draw not in left_out]
    if mode != "alone":
        draws = [draw for draw in draws if draw not in (*UFFD_DRAWS, *CALL_DRAWS)]
    if mode not in DETERMINED:  # where VMAs end, and the heap, belong to all threads
        draws = [draw for draw in draws if draw not in (draw_mremap, draw_brk, draw_read_maps)]
    if mode != "alone" or "limits" in changes:
        draws = [draw for draw in draws if draw not in (draw_huge, draw_exmap)]
    if mode in RACING:
        draws = [draw for draw in draws if draw is not draw_morsel]
        left_out = (draw_anywhere, draw_process_madvise, *choose(((), FILE_DRAWS, FILE_DRAWS)))
        draws = [draw for draw in draws if draw not in left_out]

    at_once = mode == "family" and choose((True, False))
    if at_once:
        draws = [draw for draw in draws if draw not in (*FILE_DRAWS, draw_morsel)]
    where: list[range] = parts[:threads]
    if mode == "shared" or (mode == "forking" and choose((True, False))):
        where = threads * [LEAVES[4] if huge else SHARED]
    elif mode in ("processes", "family"):
        where = threads * [parts[1]]
    turns = mode in ("processes", "family")
    longest = 16 if mode in ("alone", "family") else 8
    many = (2, 4, 6) if turns else (1, 2, 3)
    if turns and choose((True, False, False)):  # processes that meet often, on few pages
        where, longest, many = threads * [NARROW], 4, (6, 8, 10)

    knows_flags, children = rules_of(kind).knows_flags, iter(range(MOST_CHILDREN))

    def operations(part: range) -> list[Operation]:
        drawn = [choose(draws)(choose, part) for _ in range(choose(range(longest)))]
        drawn = [each for each in drawn if not isinstance(each, Fork) or next(children, None) is not None]
        return drawn if knows_flags else [each for each in drawn if is_plain(each, kind)]

    rounds: list[list[list[Operation]]] = []
    for _ in range(choose(many)):
        alone = turns and not (at_once and choose((True, False)))
        runs = [choose(range(threads))] if alone else range(threads)
        rounds.append([operations(where[each]) if each in runs else [] for each in range(threads)])
    if choose((True, True, False)):  # all is mapped to begin with
        opening: list[list[Operation]] = [[Mmap(len(part), part.start)] for part in where]
        if mode in ("family", "forking"):  # and shared from then on
            opening[0] += [Touch(where[0][:9]), *([Fork()] if mode == "family" else [])]
        rounds.insert(0, opening if mode in ("apart", "processes") or where[0] != where[-1] else opening[:1])
    if draw_exmap in draws and choose((True, True, False)):
        rounds.insert(0, [[ExmapSetup(choose((4, 9, 2000)), 3), MmapExmap(40, EXMAP_AT)]])
    return Program(
        kind,
        mode,
        rounds,
        ties=choose(get_args(ScheduleName)),
        seed=choose(range(1000)),
        changes=changes,
        machine=machine,
    )
