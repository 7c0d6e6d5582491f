"""What a Linux design file says of system calls that concern no memory: what their steps cost.

As in `costs`: the instructions of a step with its data in the cpu's own cache. Lines and locks that others
may want are simulated and come on top.
"""

from __future__ import annotations

from typing import Literal

from sim.quantities import Cost, Spec


class CallCosts(Spec):
    """Cpu work of one step each. It depends on how fast the core runs plain code (`kernel.plain_code`)."""

    fdget: Cost
    """Find an open file by its descriptor, without its reference."""
    rw_checks: Cost
    """vfs_read or vfs_write before and after the file's own code: position, area, security, notifications."""
    read_zero: Cost
    """read_iter_zero of a byte: an iterator, and the store to user memory."""
    write_null: Cost
    """write_null."""
    getname: Cost
    """Copy a path from user memory into a buffer of its own, and give that back."""
    walk: Cost
    """A walk along a path besides its components: where it begins, how it ends."""
    component: Cost
    """One component: its hash, the look-up in the hash table, the check that it may be passed."""
    getattr: Cost
    """vfs_getattr, and the copy of what it says to user memory."""
    open: Cost
    """A struct file: allocated, filled, connected to its inode, put into the table of descriptors."""
    close: Cost
    """Take it out of the table, release it, free it."""
    create: Cost
    """Make an inode of tmpfs and its dentry, under the directory's lock."""
    unlink: Cost
    """Take the name away, under the directory's lock."""
    evict: Cost
    """Free an inode that has neither names nor users."""
    sigaction: Cost
    """do_sigaction, and the copies of the old and the new handler."""
    kill: Cost
    """Find a process by its number, and see whether it may be sent signals."""
    send_signal: Cost
    """Queue a signal, and free what was queued when it is delivered."""


class CallSpec(Spec):
    """System calls that concern no memory."""

    d_lockref: Literal["beside", "apart"]
    """Where a dentry counts its users: on the line that every walk along it reads (`beside`, until 6.10), or
    on another one."""
    costs: CallCosts
    """Cpu work of each step, in cycles with its data in the cpu's own cache."""
