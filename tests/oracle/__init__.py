"""The functional oracle: random programs, run on a simulated kernel beside a plain dictionary of pages.

    model       a process as a dictionary: rights, frames, versions for contents, dirty bits, tables
    effects     what each operation does to it and answers, one function each
    races       what threads may see that work on the same pages
    contents    what is in the simulated frames, by listening
    programs    programs as data, and how they are drawn
    variants    the kernels that take part
    checking    runs one and compares
    shrinking   makes one that fails small

Any test may `check` a program of its own. A program that fails is printed so that it can be pasted and run:

    PYTHONPATH=.:tests python -c 'from oracle import *; check(Program(...))'
"""

from oracle.checking import check
from oracle.programs import InHeap, InLast, OnFile, Onto, Program, Reclaim, draw_program
from oracle.shrinking import failure, shrunk
from oracle.variants import shipped
from sim.mm import (
    Brk,
    Close,
    Exec,
    Exit,
    Fallocate,
    Fork,
    Fstat,
    Ftruncate,
    Kill,
    Madvise,
    Mincore,
    Mlock,
    Mmap,
    MmapFile,
    MmapHuge,
    MmapShared,
    Mprotect,
    Mremap,
    Msync,
    Munlock,
    Munmap,
    Open,
    Prepopulate,
    ProcessMadvise,
    ReadByte,
    ReadMaps,
    Sigaction,
    Stat,
    Touch,
    UffdClose,
    UffdCopy,
    UffdRegister,
    UffdUnregister,
    UffdWake,
    UffdZeropage,
    Unlink,
    Vfork,
    WriteByte,
)

__all__ = [
    "Brk",
    "Close",
    "Exec",
    "Exit",
    "Fallocate",
    "Fork",
    "Fstat",
    "Ftruncate",
    "InHeap",
    "InLast",
    "Kill",
    "Madvise",
    "Mincore",
    "Mlock",
    "Mmap",
    "MmapFile",
    "MmapHuge",
    "MmapShared",
    "Mprotect",
    "Mremap",
    "Msync",
    "Munlock",
    "Munmap",
    "OnFile",
    "Onto",
    "Open",
    "Prepopulate",
    "ProcessMadvise",
    "Program",
    "ReadByte",
    "ReadMaps",
    "Reclaim",
    "Sigaction",
    "Stat",
    "Touch",
    "UffdClose",
    "UffdCopy",
    "UffdRegister",
    "UffdUnregister",
    "UffdWake",
    "UffdZeropage",
    "Unlink",
    "Vfork",
    "WriteByte",
    "check",
    "draw_program",
    "failure",
    "shipped",
    "shrunk",
]
