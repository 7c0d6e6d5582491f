"""The points of a finished run once more, from its folder alone.

A manifest has the experiment and the resolved files of the run. They are laid out as files again and read as
any others, so the points have the ids that they had, unless the model is another one now: the same id is the
same result. What has become of the user's own files since then does not matter.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sim.errors import Fault, InputError
from sim.experiment import model
from sim.experiment.plan import Experiment, load
from sim.experiment.results import Manifest, read_manifest
from sim.files import display

_KINDS = ("machines", "designs", "workloads")


def experiment_of(folder: Path) -> tuple[Experiment, Manifest]:
    """What the run in *folder* was of, and its manifest.

    Raises `InputError` if there is no run, if it is a shard of one, or if it repeated a stored schedule.
    """
    place = display(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(Fault("no run: it has no manifest.json", place, allowed="the folder of a run"))
    if manifest.shard is not None:
        raise InputError(Fault("a part of a run", place, allowed="the folder that `cortensim merge` made"))
    if "replayed" in manifest.content:
        raise InputError(Fault("a run that repeats a schedule", place, allowed="the run of an experiment"))
    with TemporaryDirectory(prefix="cortensim-") as made:
        experiment = load(_lay_out(manifest.content, Path(made)))
    return experiment, manifest


def is_of_this_model(manifest: Manifest) -> bool:
    """Whether the run was made by the model as it is now, so that its points would give the same numbers."""
    return bool(manifest.content.get("model_version") == model.model_version())


def _lay_out(content: dict[str, Any], folder: Path) -> Path:
    """Write the files that the manifest has; the path of the experiment's. JSON is YAML."""
    experiment = {**content["experiment"], "quick": {}, "parameters": {}}  # both are in place already
    for kind in _KINDS:
        (folder / kind).mkdir()
        experiment[kind] = []
        for name, tree in content["resolved"][kind].items():
            path = folder / kind / f"{name}.yaml"
            path.write_text(json.dumps(tree), encoding="utf-8")
            experiment[kind].append(str(path))
    path = folder / f"{experiment['name']}.yaml"
    path.write_text(json.dumps(_without_nothing(experiment)), encoding="utf-8")
    return path


def _without_nothing(tree: dict[str, Any]) -> dict[str, Any]:
    """*tree* less the keys that have no value, or an empty one."""
    pruned = {
        key: _without_nothing(value) if isinstance(value, dict) else value for key, value in tree.items()
    }
    return {key: value for key, value in pruned.items() if value not in (None, "", [], {})}
