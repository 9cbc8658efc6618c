"""Saved models in a run folder: which there are, and which were chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from demur.errors import ArtifactError, RunError
from demur.models._artifact import MANIFEST
from demur.models._base import BaseClassifier
from demur.models._load import Runtime, load


def list_saved(run: Path) -> list[dict[str, Any]]:
    """Task, model, folder and whether it was chosen, of every model saved in a run folder.

    Raises
    ------
    RunError
        The folder holds no saved model.
    """
    winners = _read_winners(run)
    found = [
        {
            "task": path.parent.parent.name,
            "model": path.parent.name,
            "chosen": winners.get(path.parent.parent.name) == path.parent.name,
            "folder": str(path.parent),
        }
        for path in sorted((run / "models").glob(f"*/*/{MANIFEST}"))
    ]
    if not found:
        raise RunError(f"{run} holds no saved models; give a run folder such as runs/starter")
    return found


def load_chosen(folder: Path, runtime: Literal["auto"] | Runtime = "auto") -> list[BaseClassifier[Any]]:
    """The classifier in a model folder, or the winners of a run folder, one a task.

    Parameters
    ----------
    runtime
        As for :func:`demur.load`; ``auto`` takes a model's ONNX export where it has one.

    Raises
    ------
    ArtifactError
        The folder is neither, or a model in it is damaged.
    RunError
        The run chose no model.
    """
    if (folder / MANIFEST).exists():
        return [_load_with(folder, runtime)]
    winners = _read_winners(folder)
    if not winners and not (folder / "run.json").exists():
        raise ArtifactError(
            f"{folder} is neither a saved model (no {MANIFEST}) nor a finished run (no run.json); "
            "give runs/NAME or runs/NAME/models/TASK/MODEL"
        )
    chosen = [
        _load_with(folder / "models" / task / name, runtime) for task, name in winners.items() if name is not None
    ]
    if not chosen and _is_unfinished(folder):
        raise RunError(
            f"the run in {folder} has not ended and chose no model yet; wait for it, or run its command again: it "
            "goes on where it was"
        )
    if not chosen:
        raise RunError(f"the run in {folder} chose no model (see its report); give one of its models/ folders")
    return chosen


def _load_with(folder: Path, runtime: Literal["auto"] | Runtime) -> BaseClassifier[Any]:
    if runtime == "auto":
        runtime = "onnx" if (folder / "onnx").is_dir() else "native"
    return load(folder, runtime)


def _read_winners(run: Path) -> dict[str, str | None]:
    try:
        found = json.loads((run / "run.json").read_text(encoding="utf-8"))
        winners = found["winners"]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise RunError(f"{run / 'run.json'} cannot be read ({error}); run the experiment again") from None
    if not isinstance(winners, dict):
        raise RunError(f"{run / 'run.json'} is damaged (winners is no mapping); run the experiment again")
    return winners


def _is_unfinished(run: Path) -> bool:
    """Whether a run has begun in the folder and not ended: it is under way, or was killed."""
    try:
        found = json.loads((run / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("status") == "running"
