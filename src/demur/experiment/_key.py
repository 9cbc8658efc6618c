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

from demur.data import Split
from demur.models import BaseClassifier
from demur.paths import hash_file, hash_value

PATH_SETTINGS = ("file", "model", "encoder", "teacher")
"""Settings of a family that may name a file or folder."""
_ROOT = Path(__file__).parents[1]
_SHARED = ("tasks.py", "data", "metrics", "training")
"""What every family is trained with."""
_FITTING = ("_cell.py", "_fit.py", "_companions.py", "_prepare.py", "_search*.py")
_FAMILY = re.compile(r"demur\.models\.([a-z]\w*)")


@cache
def hash_code(family: type[BaseClassifier[Any]]) -> str:
    """Hash of the sources a family's results are computed by, so that edited code reuses nothing of the old.

    A family is its own package, those it imports, and what all share. One that looks others up by name, as an
    ensemble does, depends on all of them.
    """
    models = _ROOT / "models"
    found = [*_sources(_ROOT / part for part in _SHARED), *models.glob("_*.py")]
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


def hash_files(settings: Any, within: str = "") -> dict[str, str]:
    """Hashes of the files and folders that settings name at any depth, such as a list of rules or an encoder."""
    found: dict[str, str] = {}
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            if name in PATH_SETTINGS and isinstance(value, str) and value and (path := Path(value)).exists():
                found[f"{within}{name}"] = _hash_path(path)
            else:
                found |= hash_files(value, f"{within}{name}.")
    elif isinstance(settings, list | tuple):
        for number, value in enumerate(settings):
            found |= hash_files(value, f"{within}{number}.")
    return found


def hash_split(split: Split) -> str:
    """Hash of which rows train and which are tested."""
    valid = split.valid.tolist() if split.valid is not None else None
    return hash_value([split.name, split.fold, split.train.tolist(), split.test.tolist(), valid])


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
        if re.search(r"\b(CLASSIFIERS|find_preset|list_presets)\b", text):
            return [models]
        todo += [models / name for name in _FAMILY.findall(text) if (models / name).is_dir()]
    return sorted(seen)


def _sources(parts: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for part in parts:
        inside = part.rglob("*") if part.is_dir() else [part]
        found += [path for path in inside if path.suffix in (".py", ".yaml")]
    return found
