"""What a model brings beyond a label: calibration, thresholds for a false-positive rate, abstention, members."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from demur.metrics import Estimate
from demur.report import _words as words
from demur.report._views import ModelView, TaskView, finite, parse_estimate


def _ready(task: TaskView, key: str) -> Iterator[tuple[ModelView, Any]]:
    for model in task.ranked():
        ready = model.raw.get("ready")
        if isinstance(ready, Mapping) and ready.get(key):
            yield model, ready[key]


def calibration_rows(task: TaskView) -> list[dict[str, Any]]:
    """How each model's probabilities were calibrated, and their error before and after."""
    return [
        {
            "model": model,
            "method": str(found.get("method") or "none"),
            "reason": str(found.get("reason") or ""),
            "rows": found.get("rows"),
            "before": parse_estimate(found.get("ece_before")),
            "after": parse_estimate(found.get("ece_after")),
            "loss": tuple(parse_estimate(found.get(f"log_loss_{when}")).value for when in ("before", "after")),
        }
        for model, found in _ready(task, "calibration")
        if isinstance(found, Mapping)
    ]


def operating_rows(task: TaskView) -> list[dict[str, Any]]:
    """Thresholds of each model for the false-positive rates asked for, and what they do on which rows."""
    return [
        {
            "model": model,
            "name": str(point.get("name")),
            "rate": _share(point.get("rate")),
            "threshold": _bounded(point, "threshold"),
            "sides": [
                {
                    "rows": side,
                    "false_positives": _bounded(found, "false_positive_rate"),
                    "recall": _bounded(found, "recall"),
                }
                for side, found in _sides(model, point, _same_point)
            ],
            "negatives": point.get("negatives"),
            "note": str(_bounded(point, "threshold").reason or point.get("reason") or point.get("warning") or ""),
        }
        for model, points in _ready(task, "operating")
        for point in (points if isinstance(points, list) else ())
    ]


def abstention_rows(task: TaskView) -> list[dict[str, Any]]:
    """How often each model says that it is unsure, on which rows, and what that guarantees."""
    return [
        {
            "model": model,
            "method": str(found.get("method") or words.MISSING),
            "alpha": _share(found.get("alpha")),
            "sides": [
                {
                    "rows": side,
                    "coverage": parse_estimate(measured.get("coverage")),
                    "unsure": parse_estimate(measured.get("unsure")),
                    "wrong": parse_estimate(measured.get("wrong_when_sure")),
                }
                for side, measured in _sides(model, found, _same_sets)
            ],
            "note": str(found.get("reason") or found.get("guarantee") or ""),
        }
        for model, found in _ready(task, "conformal")
        if isinstance(found, Mapping)
    ]


def _sides(
    model: ModelView,
    valid: Mapping[str, Any],
    find: Callable[[Mapping[str, Any], Mapping[str, Any]], Any],
) -> list[tuple[str, Mapping[str, Any]]]:
    """What was measured on test and blind rows, which chose nothing, before what the validation rows say."""
    ready: Mapping[str, Any] = model.raw["ready"]
    found = []
    for side in ("test", "blind"):
        checked = ready.get(side)
        measured = find(checked, valid) if isinstance(checked, Mapping) else None
        if isinstance(measured, Mapping):
            found.append((side, measured))
    return [*found, ("validation", valid)]


def _same_point(checked: Mapping[str, Any], point: Mapping[str, Any]) -> Any:
    if _bounded(point, "threshold").value is None:
        return None
    listed = checked.get("operating")
    points = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    return next((one for one in points if one.get("name") == point.get("name")), None)


def _same_sets(checked: Mapping[str, Any], _: Mapping[str, Any]) -> Any:
    return checked.get("conformal")


def diversity_blocks(task: TaskView) -> list[dict[str, Any]]:
    """Members of each ensemble, how alike pairs of them answer, and any other figure of their diversity."""
    blocks = []
    for model in task.usable:
        found = model.raw.get("diversity")
        if not isinstance(found, Mapping) or not found:
            continue
        members = [one for one in found.get("members") or () if isinstance(one, Mapping)]
        pairs = [one for one in found.get("pairs") or () if isinstance(one, Mapping)]
        means = found.get("mean")
        figures = dict(found) | (
            {f"mean {name}": one for name, one in means.items()} if isinstance(means, Mapping) else {}
        )
        blocks.append(
            {
                "model": model,
                "members": _table(members),
                "pairs": _table(pairs),
                "figures": [(_title(key), _cell(value)) for key, value in figures.items() if _is_figure(value)],
            }
        )
    return blocks


def _table(rows: list[Mapping[str, Any]]) -> dict[str, Any] | None:
    names = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if all(row.get(name) is None or _is_figure(row[name]) for row in rows)
    ]
    if not names:
        return None
    cells = [[(_cell(row.get(name)), not isinstance(row.get(name), str)) for name in names] for row in rows]
    return {"columns": [_title(name) for name in names], "rows": cells}


def _is_figure(value: Any) -> bool:
    """A text, a number, or a figure with its interval."""
    if isinstance(value, Mapping):
        return "value" in value
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def _title(name: str) -> str:
    shown = name.replace("_", " ")
    return shown[:1].upper() + shown[1:]


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return words.with_interval(parse_estimate(value), 2)
    if value is None or isinstance(value, str):
        return words.MISSING if value is None else value
    return words.count(value) if isinstance(value, int) else words.number(value)


def _share(value: Any) -> str:
    found = finite(value)
    return words.MISSING if found is None else f"{100 * found:g} %"


def _bounded(point: Mapping[str, Any], name: str) -> Estimate:
    if isinstance(point.get(name), Mapping):
        return parse_estimate(point[name])
    return Estimate(
        finite(point.get(name)), finite(point.get(f"{name}_low")), finite(point.get(f"{name}_high")), 0
    )
