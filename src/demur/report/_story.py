"""What the figures of a task mean in sentences: who won and by how much, and what cannot be claimed."""

from __future__ import annotations

from collections.abc import Sequence

from demur.metrics import Estimate
from demur.report import _words as words
from demur.report._compare import Difference
from demur.report._run import RunView
from demur.report._views import ModelView, TaskView, has_interval

SMALL_ROWS, SMALL_GROUPS = 200, 50
MOST_SKIPPED = 2
"""Skipped models that each have a sentence; where there are more, one sentence names them all."""
"""Fewer test rows or groups than these are called few: a rate then moves by several points by chance."""
NOTABLE_FALL = 0.05
_SOURCES = 6
_HELD_OUT = {
    "leave_one_model_out": "on answering models it was not trained on",
    "leave_one_source_out": "on sources it was not trained on",
    "blind": "on the blind set",
}


def question(run: RunView, task: TaskView) -> str:
    """What was asked of the task's models."""
    fields = words.join_words([str(field) for field in task.task.get("fields") or ()])
    labels = words.join_words([f"“{label}”" for label in task.labels], "or")
    count = len(task.models)
    models = f"Which of {count} models" if count > 1 else "How well one model"
    verb = "best tells" if count > 1 else "tells"
    return f"{models} {verb} {labels} from the {fields or 'text'}{'?' if count > 1 else '.'}"


def reason(task: TaskView) -> str:
    """Why the winner won, as a sentence."""
    return _sentence(task.why) if task.why.strip() else ""


def origin(task: TaskView) -> str:
    """Which rows the headline figures are of, and where they come from."""
    sentences = []
    for name, title in ((task.main_protocol or "", "Figures on the"), ("blind", "Blind set:")):
        evaluation = next((m.evaluations[name] for m in task.usable if name in m.evaluations), None)
        if evaluation is None:
            continue
        named = f" {words.protocol_name(name)}:" if name != "blind" else ""
        sources = [str(source) for source in (task.splits.get(name, {}).get("sources") or {})]
        shown = [*sources[:_SOURCES], *([f"{len(sources) - _SOURCES} more"] if len(sources) > _SOURCES else [])]
        of = f" from {words.join_words(shown)}" if shown else ""
        rows = f"{words.count(evaluation.n)} rows in {words.count(evaluation.groups)} groups"
        sentences.append(f"{title}{named} {rows}{of}.")
    if task.usable and not any("blind" in model.evaluations for model in task.usable):
        sentences.append("There is no blind set.")
    return " ".join(sentences)


def standing(task: TaskView, found: Sequence[Difference]) -> str:
    """How far ahead of the rules and the runner-up the winner is, with the interval of the difference."""
    parts = []
    for other in (task.rules, task.runner_up):
        gap = _gap(found, other, task.main_protocol)
        if gap is None or other is None:
            continue
        name = "the rules" if other.is_rules else other.name
        parts.append(f"{words.with_interval(gap.difference, sign=True)} against {name}")
    if not parts:
        return ""
    return f"Difference in security score on the same rows: {words.join_words(parts)}."


def cautions(run: RunView, task: TaskView, found: Sequence[Difference]) -> list[str]:
    """What the result does not show, the weightiest first."""
    winner = task.winner
    said = []
    if _is_starter(run):
        said.append(
            "The data is demur's own starter corpus, written for trying things out: these figures say nothing "
            "about real traffic."
        )
    if winner is not None:
        said += _small_numbers(task, winner)
        said += _unproven_leads(task, winner, found)
        said += _falls(winner)
        said += [_sentence(text) for text in _evaluation_warnings(winner)]
    if not any("blind" in model.evaluations for model in task.usable) and not any(
        "blind" in w for w in task.warnings
    ):
        said.append("There is no blind set for this task, so nothing here tests it on data from elsewhere.")
    said += [_sentence(str(text)) for text in (*run.statistics(task).get("warnings", ()), *task.warnings)]
    said += [text for _, text in left_out(task)]
    said.append(
        "The labels are taken as given: a model can only be as right as they are, and how well people agree on "
        "them was not measured in this run."
    )
    return list(dict.fromkeys(said))


def left_out(task: TaskView) -> list[tuple[str, str]]:
    """Status and sentence of models without figures; of many skipped ones the first's reason, which most share."""
    skipped = [model for model in task.failed if model.status == "skipped"]
    gathered = skipped if len(skipped) > MOST_SKIPPED else []
    said = [
        (
            model.status,
            f"{model.name} {'was skipped' if model.status == 'skipped' else 'failed'} and is not compared: "
            f"{_reason(model)}",
        )
        for model in task.failed
        if model not in gathered
    ]
    if gathered:
        names = words.join_words([model.name for model in gathered])
        said.append(
            (
                "skipped",
                f"{len(gathered)} models were skipped and are not compared: {names}. The reason for "
                f"{gathered[0].name}: {_reason(gathered[0])}",
            )
        )
    return said


def _reason(model: ModelView) -> str:
    return _stop(model.reason or "no reason recorded")


def _is_starter(run: RunView) -> bool:
    data = run.config.get("data")
    paths = (
        [str(source.get("path", "")) for source in data if isinstance(source, dict)]
        if isinstance(data, list)
        else []
    )
    return any(path.split(":")[0] == "starter" for path in paths)


def _small_numbers(task: TaskView, winner: ModelView) -> list[str]:
    evaluation = winner.evaluations.get(task.main_protocol or "")
    if evaluation is None:
        return []
    few = []
    if 0 < (evaluation.n or 0) < SMALL_ROWS:
        few.append(f"{evaluation.n} rows")
    is_said = any("groups" in warning for warning in evaluation.warnings)
    if 0 < (evaluation.groups or 0) < SMALL_GROUPS and not is_said:
        few.append(f"{evaluation.groups} groups of related rows")
    if not few:
        return []
    return [
        f"The {words.protocol_name(task.main_protocol)} has only {words.join_words(few)}: read the intervals, not "
        "the third decimal."
    ]


def _unproven_leads(task: TaskView, winner: ModelView, found: Sequence[Difference]) -> list[str]:
    said = []
    if winner.is_rules:
        said.append("The keyword rules won: on this data no trained model earned its keep.")
    gap = _gap(found, task.rules, task.main_protocol)
    if gap is not None and not gap.is_shown:
        below = gap.difference.value is not None and gap.difference.value < 0
        verdict = "scores below the keyword rules" if below else "is not shown to be better than the keyword rules"
        said.append(
            f"It {verdict}: the difference in security score is "
            f"{words.with_interval(gap.difference, sign=True)}{_corrected(gap)}."
        )
    runner = task.runner_up
    gap = _gap(found, runner, task.main_protocol)
    if gap is None or runner is None:
        return said
    if runner.failed_thresholds and gap.difference.value is not None and gap.difference.value < 0:
        said.append(
            f"{runner.name} scores higher on these rows but misses a threshold: "
            f"{'; '.join(runner.failed_thresholds)}."
        )
    elif gap.difference.value is not None and gap.difference.value < 0:
        said.append(
            f"{runner.name} scores higher on these rows; the choice was made on other rows, as it must be, or the "
            "winner's figure would flatter it."
        )
    elif not gap.is_shown:
        said.append(
            f"It is not shown to be better than {runner.name}: the difference is "
            f"{words.with_interval(gap.difference, sign=True)}{_corrected(gap)}."
        )
    return said


def _corrected(gap: Difference) -> str:
    """The p-value over all pairs, where it alone says that nothing is shown."""
    if gap.p is None or gap.verdict != "not beyond many tests":
        return ""
    return f", and p = {words.chance(gap.p)} once it is adjusted over all pairs of models"


def _falls(winner: ModelView) -> list[str]:
    """Where the macro-F1 falls by more than ``NOTABLE_FALL`` outside the pooled rows, in one sentence."""
    pooled = winner.metric("f1_macro")
    if pooled.value is None:
        return []
    places = []
    for protocol, place in _HELD_OUT.items():
        there = winner.metric("f1_macro", protocol)
        if there.value is not None and pooled.value - there.value >= NOTABLE_FALL:
            overlap = "" if _are_apart(pooled, there) else " (the intervals overlap)"
            places.append(f"{words.with_interval(there, 2)} {place}{overlap}")
    if not places:
        return []
    figures = "figures" if len(places) > 1 else "figure"
    return [
        f"Its macro-F1 is {words.with_interval(pooled, 2)} on the {words.protocol_name(winner.main_protocol)}, "
        f"but {words.join_words(places)}. Expect the lower {figures} on what it has not seen."
    ]


def _are_apart(above: Estimate, below: Estimate) -> bool:
    return has_interval(above) and has_interval(below) and (above.low or 0) > (below.high or 0)


def _evaluation_warnings(winner: ModelView) -> list[str]:
    kept = []
    for protocol, evaluation in winner.evaluations.items():
        if protocol == "valid":  # those rows chose the winner; no figure of theirs is claimed
            continue
        kept += [f"{words.protocol_name(protocol)}: {warning}" for warning in evaluation.warnings]
    return kept


def _gap(found: Sequence[Difference], other: ModelView | None, protocol: str | None) -> Difference | None:
    if other is None:
        return None
    return next(
        (d for d in found if d.other == other.name and d.protocol == protocol and d.metric == "custom_score"), None
    )


def _sentence(text: str) -> str:
    shown = words.plain(text)
    return f"{shown[:1].upper()}{shown[1:].rstrip('.')}."


def _stop(text: str) -> str:
    return f"{text.rstrip('.')}."
