"""Bugs by name: is each of them found? `cortensim verify --mutants` looks for every one of them.

    mutant          what one is, how it is put into the running model and taken out again
    linux_memory    pages, rights, ranges, files, huge pages
    linux_protocol  locks that are not taken, flushes, fork, exit, swap
    bonsai          faults that hold nothing, versions of the tree
    cortenmm        protocols, transactions, swap; asterinas: its Vmar
    linux_latr      LATR on Linux; linux_exmap: exmap
    forked_tables   Linux whose forks leave tables to parent and child
    morsels         subtrees that belong to nobody
    radixvm         sets of cores, locks of slots, tables a core, counts that are kept back
    nros            the log, replicas, shootdowns
    tlbs            shootdowns, lazy flushes, switches, interrupts
    locks           rwsem, spin locks, BRAVO, mutexes
    ranges          interval VM, locks of ranges, a mmap_lock without readers
    replicas        page tables of each node on Linux
    recycling       pages that go round without a flush
    frames          page allocators

No path of a simulation imports this package.
"""

from sim.verify.mutants import (
    asterinas,
    bonsai,
    cortenmm,
    forked_tables,
    frames,
    linux_exmap,
    linux_latr,
    linux_memory,
    linux_protocol,
    locks,
    morsels,
    nros,
    radixvm,
    ranges,
    recycling,
    replicas,
    tlbs,
)
from sim.verify.mutants.mutant import Edit, Mutant

MUTANTS: dict[str, Mutant] = {
    each.name: each
    for module in (
        linux_memory,
        linux_protocol,
        linux_latr,
        forked_tables,
        linux_exmap,
        morsels,
        bonsai,
        cortenmm,
        asterinas,
        radixvm,
        nros,
        tlbs,
        locks,
        ranges,
        replicas,
        recycling,
        frames,
    )
    for each in module.MUTANTS
}
"""All of them, by name."""

__all__ = ["MUTANTS", "Edit", "Mutant"]
