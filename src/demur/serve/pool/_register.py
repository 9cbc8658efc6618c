"""From folders of a configuration to rows of the registry: which models a server begins with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from demur.store import ModelRow, Store

_MANIFEST, _TASKS = "demur.json", "tasks.json"


def find_models(folders: Iterable[str | Path]) -> list[ModelRow]:
    """The models of folders, one champion a task; their files are checked, nothing is loaded.

    A model that answers several tasks answers those that no other model has for its own.

    Parameters
    ----------
    folders
        Saved models, or run folders, whose chosen models count.

    Raises
    ------
    ConfigError
        No folder is given, or two models have the same task.
    ArtifactError
        A folder is no saved model, or a file of it is missing or altered.
    RunError
        A run chose no model.
    """
    saved = [one for folder in folders for one in _models_of(Path(folder))]
    if not saved:
        raise ConfigError(
            "no model is given; name a saved model or a run folder with --model FOLDER, or as models:"
        )
    rows: dict[str, ModelRow] = {}
    for row, _ in saved:
        if row.task in rows:
            raise ConfigError(
                f"two models answer the task '{row.task}' ({rows[row.task].folder} and {row.folder}); keep one",
                key="models",
            )
        rows[row.task] = row
    for row, others in saved:
        for task in others:
            rows.setdefault(task, _for_task(row, task))
    return list(rows.values())


def register_models(store: Store, rows: Sequence[ModelRow], *, is_forced: bool = False) -> list[ModelRow]:
    """Bring a configuration's models into the registry, and return the champions of all tasks.

    A model that the registry does not know becomes the champion of its task: whoever names a new folder wants it.
    One that it knows keeps its stage, so that what was promoted meanwhile is not undone by a restart.

    Parameters
    ----------
    is_forced
        Make the configuration's models the champions all the same.

    Raises
    ------
    StoreUnavailableError
        The database does not answer.
    """
    for row in rows:
        known = store.register_model(row)
        if known.stage != "champion" and (is_forced or store.champion(row.task) is None):
            store.set_stage(row.task, row.version, "champion")
            store.audit("system", "model.champion", f"{row.task}/{row.version}", {"why": "configuration"})
    return store.models(stage="champion")


def _models_of(folder: Path) -> list[tuple[ModelRow, list[str]]]:
    """The models of a folder, each with the further tasks it answers."""
    from demur.models import list_saved

    if (folder / _MANIFEST).is_file():
        return [_read_model(folder)]
    if (folder / "run.json").is_file():
        chosen = [Path(one["folder"]) for one in list_saved(folder) if one["chosen"]]
        if not chosen:
            raise ArtifactError(f"the run in {folder} chose no model; name one of its models/ folders instead")
        return [_read_model(one) for one in chosen]
    raise ArtifactError(_describe_foreign(folder))


def _read_model(folder: Path) -> tuple[ModelRow, list[str]]:
    from demur.models import read_manifest
    from demur.paths import hash_value
    from demur.store import ModelRow

    manifest = read_manifest(folder)
    folder = folder.resolve()
    task = manifest["task"]["name"]
    others = _further_tasks(folder, manifest, task)
    row = ModelRow(task=task, name=folder.name, version=hash_value(manifest), folder=str(folder), stage="champion")
    return row, others


def _further_tasks(folder: Path, manifest: dict[str, Any], own: str) -> list[str]:
    if _TASKS not in manifest["files"]:
        return []
    listed = json.loads((folder / _TASKS).read_text(encoding="utf-8"))
    return [one["name"] for one in listed if one["name"] != own]


def _for_task(row: ModelRow, task: str) -> ModelRow:
    from dataclasses import replace

    return replace(row, task=task)


def _describe_foreign(folder: Path) -> str:
    """What a folder is that is no model of demur's, and what to do."""
    if not folder.exists():
        return f"there is no folder {folder}; give a saved model, such as runs/NAME/models/TASK/MODEL"
    if (folder / "config.json").is_file():
        return (
            f"{folder} is a checkpoint that demur did not train: the head that would answer a task is newly "
            "initialised, so its answers would be chance; fine-tune it with demur run and serve what that saves"
        )
    return (
        f"{folder} is neither a saved model (no {_MANIFEST}) nor a finished run (no run.json); give runs/NAME or "
        "runs/NAME/models/TASK/MODEL"
    )
