"""Design families by name: those on board, and those of outside packages (see `sim.plugins`).

A plug-in is imported when somebody uses it and not before, so one that is broken harms nobody else.
"""

from __future__ import annotations

from functools import cache

from sim import plugins
from sim.designs.base import DesignSpec, Family, Kernel
from sim.designs.bench import FAMILY as BENCH
from sim.designs.cortenmm import FAMILY as CORTENMM
from sim.designs.linux import FAMILY as LINUX
from sim.errors import Fault, InputError
from sim.hardware import Machine
from sim.plugins import Plugin

_ON_BOARD = {family.name: family for family in (LINUX, CORTENMM, BENCH)}


def families() -> list[str]:
    """Names that a design file may give as its `family`, whether or not a plug-in's can be imported."""
    return sorted({*_ON_BOARD, *(plugin.name for plugin in plugins.installed())})


def plugin_of(family: str) -> Plugin | None:
    """The plug-in that *family* comes from, the first to claim it; none for one on board."""
    return None if family in _ON_BOARD else next(iter(plugins.named(family)), None)


def refusal(plugin: Plugin) -> str | None:
    """Why *plugin* cannot be used, if so. Imports it."""
    if plugin.name in _ON_BOARD:
        return f"the family {plugin.name!r} is on board: a plug-in needs another name"
    rivals = [other.distribution for other in plugins.named(plugin.name) if other is not plugin]
    if rivals:
        return f"{', '.join(rivals)} brings a family {plugin.name!r} too: one of them has to go"
    loaded = _loaded(plugin)
    return loaded if isinstance(loaded, str) else None


def spec_model(family: str) -> type[DesignSpec]:
    """The model that a design file of *family* is read into.

    Raises `KeyError` where there is no such family, `InputError` where its plug-in cannot be used.
    """
    return _family(family).spec


def build(machine: Machine, spec: DesignSpec) -> Kernel:
    """Boot the kernel of *spec* on *machine*."""
    return _family(spec.family).build(machine, spec)


def _family(name: str) -> Family:
    if name in _ON_BOARD:
        return _ON_BOARD[name]
    plugin = plugin_of(name)
    if plugin is None:
        raise KeyError(name)
    usable = refusal(plugin) or _loaded(plugin)
    if isinstance(usable, str):
        raise InputError(Fault(f"this plug-in cannot be used: {plugin.announced}: {usable}", value=name))
    return usable


@cache
def _loaded(plugin: Plugin) -> Family | str:
    """What the entry point names, or what is wrong with it."""
    try:
        family = plugin.entry.load()
    except (Exception, SystemExit) as error:  # whatever a stranger's module raises when it is imported
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    if not isinstance(family, Family):
        return f"what it names is of type {type(family).__name__}, not a sim.designs.Family"
    if family.name != plugin.name:
        return f"its Family has the name {family.name!r}, not that of the entry point"
    if not (isinstance(family.spec, type) and issubclass(family.spec, DesignSpec)):
        return "the spec of its Family is no subclass of sim.designs.DesignSpec"
    return family
