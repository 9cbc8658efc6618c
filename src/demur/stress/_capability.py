"""What a model can still do: tasks of lm-eval, of its own or from the user's folder.

Other figures say what is left of refusals; an attack that takes a model's wits along with them has won little.
Tasks are slow, so they are asked of the untampered model and of the state that an attack ends in.
"""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import NormalDist
from typing import Any

from demur.errors import ConfigError, DemurError, NoMemoryError, RunError, is_disk_full, near_match, require
from demur.llm import Target, evaluating
from demur.metrics import wilson_interval
from demur.paths import hash_file, hash_value
from demur.stress._config import CapabilityConfig
from demur.training import seeded

_EXTRA = "capability"
_SHARES = ("acc", "acc_norm", "exact_match")
"""Metrics that are a share of documents."""


def check_capability(config: CapabilityConfig) -> None:
    """Make sure that the tasks can be found, before any of them is asked.

    Parameters
    ----------
    config
        Their names.

    Raises
    ------
    MissingDependencyError
        lm-eval is not installed.
    ConfigError
        There is no task of a name.
    """
    if config.tasks:
        _manage_tasks(config)


def hash_capability(config: CapabilityConfig) -> str:
    """SHA-256 of what decides the figures: tasks, their own files, the library.

    Parameters
    ----------
    config
        The tasks.
    """
    folder = Path(config.include_path).expanduser() if config.include_path else None
    files = sorted(one for one in folder.rglob("*") if one.is_file()) if folder is not None else []
    try:
        library = version("lm-eval")
    except PackageNotFoundError:
        library = ""
    plain = config.model_dump(mode="json", exclude={"batch_size"})
    return hash_value(
        [plain, library, [[str(one.relative_to(folder)), hash_file(one)] for one in files if folder]]
    )


def measure_capability(target: Target, config: CapabilityConfig) -> list[dict[str, Any]]:
    """Figures of all tasks: task, metric, value, standard error, number of documents.

    Parameters
    ----------
    target
        The model; asked through its chat template where that is wanted.
    config
        The tasks.

    Raises
    ------
    MissingDependencyError
        lm-eval is not installed.
    ConfigError
        There is no task of a name.
    NoMemoryError
        Memory ran out.
    RunError
        A task could not be done; its data may not be here.
    """
    manager = _manage_tasks(config)
    try:
        # lm-eval seeds the whole process.
        with seeded(0), _quiet(), evaluating(target.module):
            # It sets tokens of its own on the tokenizer.
            tokenizer = copy.deepcopy(target.tokenizer)
            tokenizer.chat_template = target.template
            model = require("lm_eval.models.huggingface", extra=_EXTRA).HFLM(
                pretrained=target.module, tokenizer=tokenizer, backend="causal", batch_size=config.batch_size
            )
            found = require("lm_eval", extra=_EXTRA).simple_evaluate(
                model=model,
                tasks=list(config.tasks),
                num_fewshot=config.few_shot,
                limit=config.limit,
                task_manager=manager,
                log_samples=False,
                bootstrap_iters=1000,
                system_instruction=target.system if config.chat else None,
                apply_chat_template=config.chat,
            )
    except DemurError:
        raise
    except Exception as error:
        raise _explain(error) from error
    return read_figures(found)


def read_figures(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Figures from what lm-eval gives back.

    Parameters
    ----------
    found
        Its results.
    """
    figures = []
    for task, values in found["results"].items():
        counts = found.get("n-samples", {}).get(task, {})
        n = counts.get("effective", values.get("sample_len"))
        for name, value in values.items():
            metric, comma, way = name.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = values.get(f"{metric}_stderr,{way}")
            figures.append(
                {
                    "task": task,
                    "metric": metric if way == "none" else f"{metric}_{way}",
                    "value": float(value),
                    "stderr": float(error) if isinstance(error, int | float) else None,
                    "n": None if n is None else int(n),
                    "is_group": task in found.get("groups", {}),
                }
            )
    return figures


def capability_rows(figures: Sequence[Mapping[str, Any]], level: float) -> list[dict[str, Any]]:
    """The figures as rows of tables: ``capability:TASK:METRIC``, and its standard error.

    Shares of documents have Wilson's interval; others the value and so many standard errors.

    Parameters
    ----------
    figures
        From :func:`measure_capability`.
    level
        Share the intervals should cover.
    """
    rows = []
    for one in figures:
        low, high = _interval(one, level)
        name = f"capability:{one['task']}:{one['metric']}"
        shared = {"judge": "", "n": one["n"], "reason": None}
        rows.append(shared | {"metric": name, "value": one["value"], "low": low, "high": high})
        rows.append(shared | {"metric": f"{name}:stderr", "value": one["stderr"], "low": None, "high": None})
    return rows


def _interval(one: Mapping[str, Any], level: float) -> tuple[float | None, float | None]:
    is_share = one["metric"].removesuffix("_none") in _SHARES and not one["is_group"]
    if is_share and one["n"] and 0 <= one["value"] <= 1:
        low, high = wilson_interval(round(one["value"] * one["n"]), one["n"], level)
        return low, high
    if one["stderr"] is None:
        return None, None
    half = NormalDist().inv_cdf((1 + level) / 2) * one["stderr"]
    return one["value"] - half, one["value"] + half


def _manage_tasks(config: CapabilityConfig) -> Any:
    """lm-eval's index of tasks, without its own where the user's folder has all that is asked."""
    with _quiet():
        tasks = require("lm_eval.tasks", extra=_EXTRA)
        folder = config.include_path
        if folder is not None and not Path(folder).expanduser().is_dir():
            raise ConfigError(
                f"there is no folder {folder} of tasks; check the path", key="capability.include_path"
            )
        place = None if folder is None else str(Path(folder).expanduser())
        manager = tasks.TaskManager(include_path=place, include_defaults=False) if place else None
        if manager is None or set(config.tasks) - set(manager.all_tasks):
            manager = tasks.TaskManager(include_path=place)
    if unknown := [one for one in config.tasks if one not in manager.all_tasks]:
        raise ConfigError(
            f"lm-eval knows no task '{unknown[0]}'{near_match(unknown[0], manager.all_tasks)}; name one of its "
            "tasks, or give a folder of your own as include_path",
            key="capability.tasks",
        )
    return manager


def _explain(error: Exception) -> DemurError:
    # torch's own error for a full GPU is not imported for its name.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return NoMemoryError("memory ran out while measuring capability; lower capability.batch_size")
    if is_disk_full(error):
        return RunError("no disk space left while measuring capability; free some space, then run the same again")
    reason = " ".join(str(error).split())[:160]
    return RunError(
        f"a task of lm-eval could not be done ({type(error).__name__}: {reason}); fetch its data once where a hub "
        "can be reached, or leave the task out; what was done is kept"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep lm-eval from drawing bars, and from telling of itself."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
