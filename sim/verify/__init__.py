"""Is what a kernel does right: random programs, run on it beside a plain dictionary of pages.

    model       a process as a dictionary: rights, frames, versions for contents, dirty bits, tables
    effects     what each operation does to it and answers, one function each
    races       what threads may see that work on the same pages
    contents    what is in the simulated frames, by listening
    programs    programs as data, and how they are drawn
    kernels     designs with round costs and near limits, on the small machine of `machines`
    variants    the kernels that take part
    process     processes of a simulated kernel, and threads to run in them
    watch       what every operation owes while it happens
    checking    runs one and compares
    shrinking   makes one that fails small

A program that fails is printed so that it can be pasted and run:

    python -c 'from sim.mm import *; from sim.verify import *; check(Program(...))'
"""

from sim.verify.checking import check
from sim.verify.programs import InHeap, InLast, OnFile, Onto, Program, Reclaim, draw_program
from sim.verify.shrinking import failure, shrunk
from sim.verify.variants import shipped

__all__ = [
    "InHeap",
    "InLast",
    "OnFile",
    "Onto",
    "Program",
    "Reclaim",
    "check",
    "draw_program",
    "failure",
    "shipped",
    "shrunk",
]
