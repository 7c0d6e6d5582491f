"""Names: dentries, the walk along a path, and tmpfs files that are made and removed (fs/namei.c,
fs/dcache.c, fs/inode.c, mm/shmem.c; 6.13.7).

A walk is in RCU mode: it writes nothing but what it ends at.

    walk    R dentry, R dentry, ... R the last one | W its d_lockref (lockref_get_not_dead)

Who makes or removes a file has its directory's inode to himself:

    create  walk to the directory, W its d_lockref |===== i_rwsem: W d_lockref, S directory, S offsets =====|
                                                            s_inode_list_lock: S list, S neighbour
    unlink  walk to the directory, W its d_lockref |===== i_rwsem: the same lines =====| evict: list

A file of tmpfs has a dentry as long as it has a name. Left out: that inodes and dentries are freed after a
grace period and come back cold, per-cpu counts of mounts, negative dentries, renames, security modules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, Literal

from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.hardware import CacheLine, Cpu
from sim.mm import NULL_DEVICE, ZERO_DEVICE, Errno
from sim.sync import QueuedSpinLock, RwSem, spin_lock

if TYPE_CHECKING:
    from sim.designs.linux.kernel import LinuxKernel

VFS: Final = Activity("vfs")
LOCK_DIRECTORY: Final = Activity("lock: directory")
LOCK_VFS: Final = Activity("lock: vfs")

Kind = Literal["directory", "device", "file"]


class Walked:
    """Where a walk has ended: the last *directory*, the last *name*, and its dentry, if there is one."""

    __slots__ = (
        "directory",
        "found",
        "name",
    )

    def __init__(self, directory: Dentry, name: str, found: Dentry | None) -> None:
        self.directory = directory
        self.name = name
        self.found = found


_NOT_UNLINKED: Final = {"directory": Errno.EISDIR, "device": Errno.EACCES}


class VfsInode:
    """What a name stands for.

    *line* has what stat reads and who makes files in it writes; *list_line* links it to the other inodes of
    its file system. *named*: it has a name; *users*: so many have it open; *evicted*: it is gone.
    """

    __slots__ = ("evicted", "i_rwsem", "line", "list_line", "named", "offsets", "users")

    def __init__(self, dentries: Dentries, cpu: Cpu, path: str) -> None:
        self.line = dentries.line(cpu, f"{path}: inode")
        self.list_line = dentries.line(cpu, f"{path}: i_sb_list")
        self.offsets = dentries.line(cpu, f"{path}: offsets of its entries")
        self.i_rwsem = dentries.rwsem(cpu, f"{path}: i_rwsem")
        self.named = True
        self.users = 0
        self.evicted = False


class Dentry:
    """A name, of a directory, a device or a file; *path* is all of it.

    *line* has what a walk looks at, *lockref* how many use it, with its spin lock.
    """

    __slots__ = ("children", "inode", "kind", "line", "lockref", "path")

    def __init__(self, dentries: Dentries, cpu: Cpu, path: str, kind: Kind) -> None:
        self.path = path
        self.kind = kind
        self.inode = VfsInode(dentries, cpu, path)
        self.line = dentries.line(cpu, f"{path}: dentry")
        apart = dentries.spec.d_lockref == "apart"
        self.lockref = dentries.line(cpu, f"{path}: d_lockref") if apart else self.line
        self.children: dict[str, Dentry] = {}

    def __repr__(self) -> str:
        return f"dentry {self.path or '/'}"


class Dentries:
    """All names of a kernel, in one file system of memory. A directory is there when it is first walked."""

    __slots__ = ("_inodes", "_kernel", "_list_lock", "_root", "cost", "spec")

    def __init__(self, kernel: LinuxKernel) -> None:
        self._kernel = kernel
        self.spec = kernel.spec.calls
        self.cost = at_clock(self.spec.costs, kernel.machine.spec.plain_clock)
        self._root: Dentry | None = None
        self._list_lock: QueuedSpinLock | None = None
        self._inodes: list[VfsInode] = []

    # -- what dentries are made of --------------------------------------------------------------------------

    def line(self, cpu: Cpu, name: str) -> CacheLine:
        return self._kernel.machine.line(name, cpu.socket, owner=cpu.id)

    def rwsem(self, cpu: Cpu, name: str) -> RwSem:
        """count, owner and osq of an inode's i_rwsem lie together: 40 bytes."""
        at, kernel = self.line(cpu, name), self._kernel
        return RwSem(name, at, at, kernel.osq_nodes, kernel.scheduler, LOCK_DIRECTORY, kernel.spec.rwsem)

    # -- walks ----------------------------------------------------------------------------------------------

    def walk(self, cpu: Cpu, path: str) -> Steps[Walked | Errno]:
        """path_lookupat or path_parentat, in RCU mode. `ENOTDIR` where it leads through a file."""
        cpu.work(self.cost.walk, VFS)
        *above, last = path.strip("/").split("/")
        directory = self._top(cpu)
        yield from directory.line.read(cpu, VFS)
        for name in above:
            cpu.work(self.cost.component, VFS)
            below = self._look_up(cpu, directory, name)
            if below is None:
                below = Dentry(self, cpu, f"{directory.path}/{name}", "directory")
                directory.children[name] = below
            directory = below
            yield from directory.line.read(cpu, VFS)
            if directory.kind != "directory":
                return Errno.ENOTDIR
        cpu.work(self.cost.component, VFS)
        found = self._look_up(cpu, directory, last)
        if found is not None:
            yield from found.line.read(cpu, VFS)
        return Walked(directory, last, found)

    def _top(self, cpu: Cpu) -> Dentry:
        if self._root is None:
            self._root = Dentry(self, cpu, "", "directory")
        return self._root

    def _look_up(self, cpu: Cpu, directory: Dentry, name: str) -> Dentry | None:
        """__d_lookup_rcu; devices have names when somebody asks for them."""
        found = directory.children.get(name)
        if found is None and (path := f"{directory.path}/{name}") in (NULL_DEVICE, ZERO_DEVICE):
            found = directory.children[name] = Dentry(self, cpu, path, "device")
        return found

    def hold(self, cpu: Cpu, dentry: Dentry) -> Steps[None]:
        """lockref_get: one user more, by a compare-and-swap."""
        return dentry.lockref.write(cpu, VFS)

    def drop(self, cpu: Cpu, dentry: Dentry) -> Steps[None]:
        """dput: one user less."""
        return dentry.lockref.write(cpu, VFS)

    # -- files that come and go -----------------------------------------------------------------------------

    def create(self, cpu: Cpu, directory: Dentry, name: str) -> Steps[Dentry]:
        """open_last_lookups with O_CREAT: the dentry of *name*, which somebody else may just have made."""
        yield from self.hold(cpu, directory)  # try_to_unlazy
        yield from directory.inode.i_rwsem.write_lock(cpu)
        made = directory.children.get(name)
        if made is None:
            cpu.work(self.cost.create, VFS)
            yield from directory.lockref.write(cpu, VFS)  # d_alloc: its d_lock
            made = Dentry(self, cpu, f"{directory.path}/{name}", "file")
            yield from self._list(cpu, made.inode)
            yield from self._change(cpu, directory)
            directory.children[name] = made
        yield from directory.inode.i_rwsem.write_unlock(cpu)
        yield from self.drop(cpu, directory)
        return made

    def unlink(self, cpu: Cpu, directory: Dentry, name: str) -> Steps[Errno | None]:
        """do_unlinkat from its lock on."""
        yield from self.hold(cpu, directory)
        yield from directory.inode.i_rwsem.write_lock(cpu)
        cpu.work(self.cost.component, VFS)  # lookup_one_qstr_excl
        gone = self._look_up(cpu, directory, name)
        refused = Errno.ENOENT if gone is None else _NOT_UNLINKED.get(gone.kind)
        if gone is not None and refused is None:
            yield from gone.lockref.write(cpu, VFS)
            yield from gone.inode.i_rwsem.write_lock(cpu)
            cpu.work(self.cost.unlink, VFS)
            yield from self._change(cpu, directory)
            del directory.children[name]
            gone.inode.named = False
            yield from gone.inode.i_rwsem.write_unlock(cpu)
            yield from directory.lockref.write(cpu, VFS)  # __dentry_kill: off its parent's list
        yield from directory.inode.i_rwsem.write_unlock(cpu)
        if gone is not None:
            yield from self.put_inode(cpu, gone.inode)
        yield from self.drop(cpu, directory)
        return refused

    def put_inode(self, cpu: Cpu, inode: VfsInode) -> Steps[None]:
        """iput: an inode that has neither names nor users goes."""
        if not inode.named and not inode.users and not inode.evicted:
            inode.evicted = True
            cpu.work(self.cost.evict, VFS)
            yield from self._unlist(cpu, inode)

    def _change(self, cpu: Cpu, directory: Dentry) -> Steps[None]:
        """Its size, its times, and which entry stands where (simple_offset_add, simple_offset_remove)."""
        yield from directory.inode.offsets.store(cpu, VFS)
        yield from directory.inode.line.store(cpu, VFS)

    def _list(self, cpu: Cpu, inode: VfsInode) -> Steps[None]:
        """inode_sb_list_add: before the first one."""
        lock = self._lock_of_list(cpu)
        yield from lock.acquire(cpu)
        if self._inodes:
            yield from self._inodes[-1].list_line.store(cpu, VFS)
        self._inodes.append(inode)
        yield from lock.release(cpu)

    def _unlist(self, cpu: Cpu, inode: VfsInode) -> Steps[None]:
        """inode_sb_list_del: its neighbours are neighbours of each other."""
        lock = self._lock_of_list(cpu)
        yield from lock.acquire(cpu)
        at = self._inodes.index(inode)
        for neighbour in (*self._inodes[max(0, at - 1) : at], *self._inodes[at + 1 : at + 2]):
            yield from neighbour.list_line.store(cpu, VFS)
        del self._inodes[at]
        yield from lock.release(cpu)

    def _lock_of_list(self, cpu: Cpu) -> QueuedSpinLock:
        """s_inode_list_lock, which has a line to itself and the list's head."""
        if self._list_lock is None:
            line = self.line(cpu, "s_inode_list_lock")
            self._list_lock = spin_lock(self._kernel.nodes, line, LOCK_VFS)
        return self._list_lock

    # -- the end state --------------------------------------------------------------------------------------

    def contradictions(self, opened: Iterable[VfsInode]) -> Iterator[str]:
        """No thread runs, and these inodes are open, each as often as it stands there."""
        users = Counter(opened)
        for inode in self._inodes:
            if inode.users != users[inode]:
                yield f"an inode is open {users[inode]} times and counts {inode.users}"
            if inode.evicted or not (inode.named or inode.users):
                yield "an inode that nobody names or uses is in its file system"
        if any(inode.evicted for inode in users):
            yield "an inode that is gone is open"
