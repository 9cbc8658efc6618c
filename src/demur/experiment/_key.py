"""What a fit depends on, as hashes: whatever has the same key need not be fitted again.

How predictions are judged (draws, level, metrics) is no part of a fit's key; it has one of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from demur.config import merge_values
from demur.data import Split
from demur.errors import DemurError
from demur.models import BaseClassifier, find_preset, hash_model, resolve_model
from demur.paths import hash_file, hash_value

PATH_SETTINGS = ("file", "model", "encoder", "teacher")
"""Settings of a family that may name a file or folder."""
_HUB_SETTINGS = ("model", "encoder")
"""Those that may name a model of the hub."""
_ROOT = Path(__file__).parents[1]
_SHARED = ("tasks.py", "config.py", "data", "metrics", "training", "llm")
"""What every family is trained with."""
_READ = (".py", ".yaml", ".json")
"""Sources, and the files of data that they read."""
_FITTING = ("_cell.py", "_fit.py", "_companions.py", "_prepare.py", "_search*.py")
_FAMILY = re.compile(r"demur\.models\.([a-z]\w*)")


@cache
def hash_code(family: type[BaseClassifier[Any]]) -> str:
    """Hash of the sources a family's results are computed by, so that edited code reuses nothing of the old.

    A family is its own package, those it imports, and what all share. One that looks others up by name, as an
    ensemble does, depends on all of them.
    """
    models = _ROOT / "models"
    found = _sources([*(_ROOT / part for part in _SHARED), *(path for path in models.iterdir() if path.is_file())])
    found += [path for name in _FITTING for path in (_ROOT / "experiment").glob(name)]
    own = Path(str(import_module(family.__module__).__file__))
    if not own.is_relative_to(models):  # a stranger's
        found += _sources([own.parent]) if (own.parent / "__init__.py").exists() else [own]
    else:
        found += _sources(_packages(own.parent, models))
    return hash_value(
        [
            [str(path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path.name), hash_file(path)]
            for path in sorted(set(found))
        ]
    )


@cache
def hash_judging() -> str:
    """Hash of the sources by which predictions become figures."""
    found = _sources([_ROOT / "tasks.py", _ROOT / "metrics", _ROOT / "experiment" / "_judge.py"])
    return hash_value([[path.name, hash_file(path)] for path in sorted(found)])


def hash_files(settings: Any, within: str = "", fetch: bool = False) -> dict[str, str]:
    """Hashes of what settings name at any depth: files and folders such as a list of rules, models of the hub.

    Parameters
    ----------
    settings
        As plain values. What they name and is not on this machine is left out.
    within
        What the names of the result begin with.
    fetch
        Fetch models of the hub that are not here, so that the first run sees what the next will see.
    """
    found: dict[str, str] = {}
    if isinstance(settings, Mapping):
        for name, value in _fill_preset(settings).items():
            if isinstance(value, str):
                found |= _hash_named(name, value, within, fetch)
            else:
                found |= hash_files(value, f"{within}{name}.", fetch)
    elif isinstance(settings, list | tuple):
        for number, value in enumerate(settings):
            found |= hash_files(value, f"{within}{number}.", fetch)
    return found


def hash_split(split: Split) -> str:
    """Hash of which rows train and which are tested."""
    valid = split.valid.tolist() if split.valid is not None else None
    return hash_value([split.name, split.fold, split.train.tolist(), split.test.tolist(), valid])


def _fill_preset(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The specification of a member or a teacher with the settings of the preset it names."""
    preset, own = settings.get("preset"), settings.get("settings")
    if not isinstance(preset, str):
        return settings
    try:
        return {**settings, "settings": merge_values(find_preset(preset)[1], own or {})}
    except DemurError:  # the fit will say so
        return settings


def _hash_named(name: str, value: str, within: str, fetch: bool) -> dict[str, str]:
    """Hashes of what one setting names, where it names anything."""
    if not value or name not in PATH_SETTINGS:
        return {}
    try:
        path = Path(value).expanduser()
        if path.exists():
            return {f"{within}{name}": _hash_path(path)}
        if name == "teacher":
            return hash_files({"preset": value}, f"{within}{name}.", fetch)
        if name in _HUB_SETTINGS and not value.startswith("embedded:"):  # those are in the libraries' versions
            return {f"{within}{name}": hash_model(resolve_model(value, fetch=fetch))}
    except (DemurError, OSError, RuntimeError):  # the fit will say so; RuntimeError: there is no such home
        return {}
    return {}


def _hash_path(path: Path) -> str:
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    return hash_value([[str(one.relative_to(path)), hash_file(one)] for one in files])


def _packages(own: Path, models: Path) -> list[Path]:
    """The folder of a family and, transitively, those of the families its sources name."""
    todo, seen = [own], set[Path]()
    while todo:
        folder = todo.pop()
        if folder in seen:
            continue
        seen.add(folder)
        text = "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
        if re.search(r"\b(CLASSIFIERS|find_family|find_preset|list_presets)\b", text):
            return [models]
        todo += [models / name for name in _FAMILY.findall(text) if (models / name).is_dir()]
    return sorted(seen)


def _sources(parts: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for part in parts:
        inside = part.rglob("*") if part.is_dir() else [part]
        found += [path for path in inside if path.suffix in _READ]
    return found
