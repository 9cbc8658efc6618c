"""The golden set: fixed by its hash, never trained on, and nothing that resembles it is trained on either."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.errors import ConfigError, DataError, LeakError
from demur.paths import hash_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from demur.data import Records
    from demur.serve.retrain._config import TaskConfig
    from demur.tasks import Task

_SHOWN = 3


def check_hash(config: TaskConfig) -> str:
    """The hash of the golden set, which must be the one in the configuration.

    Raises
    ------
    ConfigError
        The configuration freezes none, or the file is not there.
    DataError
        The file is another than the one that was frozen.
    """
    path = Path(config.golden)
    if not path.is_file():
        raise ConfigError(f"there is no golden set {path}; give a file of labelled records as golden:")
    found = hash_file(path)
    if config.golden_sha256 is None:
        raise ConfigError(
            f"the golden set {path} is not frozen; if it is as it should be, write golden_sha256: {found}",
            key="golden_sha256",
        )
    if found != config.golden_sha256:
        raise DataError(
            f"the golden set {path} was changed: its hash is {found[:12]}, not {config.golden_sha256[:12]}; "
            "restore the file, or freeze the new one on purpose (figures of both do not compare)"
        )
    return found


def read_golden(config: TaskConfig, task: Task) -> Records:
    """The rows of the golden set, repaired as models see texts, each with a language where it can be told.

    Raises
    ------
    ConfigError, DataError
        As :func:`check_hash`; or a row is empty, not labelled, or contradicts another.
    """
    from demur.data import CleanConfig, clean_records, read_records

    check_hash(config)
    rows = read_records(config.golden, tasks=[task])
    labelled = rows.labelled(task)
    settings = CleanConfig(drop_duplicates=False, near_duplicates=False, max_chars=10_000_000)
    cleaned, report = clean_records(labelled, settings, [task])
    lost = len(rows) - len(cleaned)
    if lost:
        steps = [step.step for step in report.steps if step.rejected] or ["rows without a label"]
        raise DataError(
            f"{lost} of {len(rows)} rows of the golden set cannot be used ({', '.join(steps)}); take them out of "
            f"{config.golden} and freeze it anew"
        )
    missing = [name for name in config.compare.slices if name not in _known_columns(task, cleaned)]
    if missing:
        raise DataError(
            f"the golden set has no column '{missing[0]}', by which slices are guarded; add it, or take it out of "
            "compare.slices"
        )
    return cleaned


def _known_columns(task: Task, records: Records) -> set[str]:
    from demur.serve.retrain._config import COMMON_SLICES

    return {*COMMON_SLICES, *records.frame.columns, task.name}


def near_rows(texts: list[str], others: list[str], threshold: float) -> NDArray[np.bool_]:
    """Which of ``texts`` are, directly or through others, near duplicates of one of ``others``, ``(n,)``."""
    import numpy as np

    from demur.data import near_duplicate_clusters

    if not texts or not others:
        return np.zeros(len(texts), dtype=np.bool_)
    clusters = near_duplicate_clusters([*others, *texts], threshold)
    found: NDArray[np.bool_] = np.isin(clusters[len(others) :], clusters[: len(others)])
    return found


def find_leaks(golden: Records, rows: Records, task: Task, threshold: float) -> NDArray[np.bool_]:
    """Which rows may not be trained on: of a group of the golden set, or near one of its texts, ``(n,)``.

    Both must have been given groups together.
    """
    import numpy as np

    from demur.data import text_keys

    known = set(golden.texts("group"))
    in_group = np.array([group in known for group in rows.texts("group")], dtype=np.bool_)
    near = near_rows(text_keys(rows, task.fields).to_list(), text_keys(golden, task.fields).to_list(), threshold)
    found: NDArray[np.bool_] = in_group | near
    return found


def refuse_leaks(golden: Records, rows: Records, task: Task, threshold: float) -> dict[str, Any]:
    """Refuse training rows that stand in the golden set, or nearly do; what was checked.

    Raises
    ------
    LeakError
        Some do.
    """
    leaks = find_leaks(golden, rows, task, threshold)
    if leaks.any():
        ids = [id for id, is_leak in zip(rows.texts("id"), leaks, strict=True) if is_leak][:_SHOWN]
        raise LeakError(
            f"{int(leaks.sum())} training rows stand in the golden set or nearly do, such as {', '.join(ids)}; "
            "gather the data again"
        )
    return {"train": len(rows), "golden": len(golden), "similarity": threshold}
