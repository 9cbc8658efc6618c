"""The model card of a saved classifier: Hugging Face front matter and plain words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.paths import write_text

if TYPE_CHECKING:
    from demur.metrics import Estimate
    from demur.models._base import BaseClassifier

_CARD = """---
library_name: demur
pipeline_tag: text-classification
license: mit
tags: [demur, safety, {task}, {family}]
---
# {task}: {family}

{description}

| | |
| --- | --- |
| reads | {fields} |
| labels | {labels} |
| family | `{family}` |
| settings | `{config}` |
| chosen by tuning | `{best}` |
| seed | {seed} |
| made with | {versions} |
{ready}
```python
import demur

classifier = demur.load("this-folder")
classifier.predict([{{"prompt": "...", "response": "..."}}]).frame()
```

How it did, on which rows and with which intervals, stands in the run folder it was made in
(`results.csv`, `report.html`). Figures of other data do not carry over: measure it on yours.
Loading checks the hash of every file and that the model still gives the probabilities it gave when saved.
"""


def write_card(classifier: BaseClassifier[Any], folder: Path, manifest: dict[str, Any]) -> None:
    """Write ``README.md`` into a saved classifier's folder."""
    task = classifier.task
    text = _CARD.format(
        task=task.name,
        family=classifier.family,
        description=task.description or f"Classifier of the task `{task.name}`.",
        fields=" and ".join(task.fields),
        labels=", ".join(f"`{label}`" for label in task.labels),
        config=classifier.config.model_dump_json(),
        best=classifier.best_params or "nothing",
        seed=classifier.seed,
        versions=", ".join(f"{name} {number}" for name, number in manifest["versions"].items()),
        ready=_describe_ready(classifier),
    )
    write_text(folder / "README.md", text)


def _describe_ready(classifier: BaseClassifier[Any]) -> str:
    """Calibration, thresholds and the promise of abstention, each where the classifier has it."""
    lines = []
    if classifier.calibration is not None:
        lines += ["", f"Probabilities are calibrated ({classifier.calibration.method})."]
    if classifier.operating is not None:
        lines += [
            "",
            "| operating point | flagged above | false-positive rate | recall |",
            "| --- | --- | --- | --- |",
        ]
        lines += [
            f"| `{point.name}` | {_show(point.threshold)} | {_show(point.false_positive_rate)} | "
            f"{_show(point.recall)} |"
            for point in classifier.operating.points
        ]
    if classifier.conformal is not None:
        lines += ["", f"Abstention: {classifier.conformal.guarantee}."]
    return "\n".join([*lines, ""])


def _show(figure: Estimate) -> str:
    if figure.value is None:
        return f"none: {figure.reason}"
    interval = "" if figure.low is None else f" [{figure.low:.4g}, {figure.high:.4g}]"
    return f"{figure.value:.4g}{interval}, n={figure.n}"
