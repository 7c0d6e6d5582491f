"""Names and open files, as far as plain system calls need them: paths, descriptors, tmpfs files."""

from sim.designs.linux.vfs.dentries import VFS, Dentries, Dentry
from sim.designs.linux.vfs.open_files import OpenFile, OpenFiles
from sim.designs.linux.vfs.spec import CallSpec

__all__ = ["VFS", "CallSpec", "Dentries", "Dentry", "OpenFile", "OpenFiles"]
