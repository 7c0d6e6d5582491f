"""`import cortensim` is `import sim`: one package, under the name of its distribution.

`cortensim.analysis` and `sim.analysis` are the same module object, and so is every module below, whichever
name it is imported by first: a class or a cache exists once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

import sim

if TYPE_CHECKING:
    from sim import load as load
    from sim import plot as plot
    from sim import profile_of as profile_of
    from sim import run as run
    from sim import trace as trace


class _Alias(MetaPathFinder, InspectLoader):
    """Finds `cortensim.x.y` and gives `sim.x.y` for it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{__name__}."):
            return None
        real = find_spec(_real(fullname))
        return real and ModuleSpec(fullname, self, is_package=real.submodule_search_locations is not None)

    def exec_module(self, module: ModuleType) -> None:
        """The import system takes what stands in `sys.modules` after this, and changes nothing in it."""
        sys.modules[module.__name__] = import_module(_real(module.__name__))

    def get_code(self, fullname: str) -> CodeType | None:
        """For `python -m cortensim`."""
        spec = find_spec(_real(fullname))
        return spec.loader.get_code(spec.name) if spec and isinstance(spec.loader, InspectLoader) else None

    def get_source(self, fullname: str) -> str | None:
        spec = find_spec(_real(fullname))
        return spec.loader.get_source(spec.name) if spec and isinstance(spec.loader, InspectLoader) else None


def _real(name: str) -> str:
    return sim.__name__ + name.removeprefix(__name__)


sys.meta_path.insert(0, _Alias())
sys.modules[__name__] = sim
