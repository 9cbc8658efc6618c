"""What is told of an item, and the row that is recorded of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from demur.serve.api._record import keep_text
from demur.serve.pool import judged_field

if TYPE_CHECKING:
    from demur.serve.api._ask import Question
    from demur.serve.api._call import Call
    from demur.serve.api._parts import Parts
    from demur.serve.pool import Route, ServedModel, Verdict
    from demur.store import PredictionRow
    from demur.tasks import Task


@dataclass(frozen=True)
class Told:
    """What a task says of an item."""

    task: Task
    model: ServedModel
    route: Route
    verdict: Verdict
    is_flagged: bool


def tell(parts: Parts, task: Task, model: ServedModel, route: Route, verdict: Verdict) -> Told:
    """A verdict with what is made of it: flagged by the chosen operating point, else by its label."""
    point = parts.config.operating_point
    if point is None or point not in verdict.flagged:
        point = next(iter(verdict.flagged), None)
    is_flagged = verdict.label in task.threat_labels if point is None else verdict.flagged[point]
    return Told(task, model, route, verdict, is_flagged)


def to_row(parts: Parts, call: Call, place: int, told: Told, question: Question) -> PredictionRow:
    """What is recorded of one answer."""
    from demur.store import PredictionRow

    assert call.answer_id is not None
    verdict, texts = told.verdict, question.items[place].given_to({judged_field(told.task)})
    kept = keep_text(texts, parts.config.text.log, parts.identity)
    return PredictionRow(
        request_id=call.answer_id,
        item=place,
        task=told.task.name,
        model=told.model.name,
        version=told.model.version,
        label=verdict.label,
        probabilities=verdict.probabilities,
        threat_score=verdict.threat_score,
        experiment=told.route.experiment,
        arm=told.route.arm,
        threshold=told.model.thresholds[told.task.name] or None,
        is_flagged=told.is_flagged,
        is_unsure=verdict.unsure,
        key_id=call.caller.key_id,
        subject=question.subject,
        prompt=kept.prompt,
        response=kept.response,
        prompt_hash=kept.prompt_hash,
        response_hash=kept.response_hash,
        prompt_chars=len(texts.prompt or ""),
        response_chars=len(texts.response or ""),
        language=texts.language if parts.config.text.language else None,
        latency_ms=1000 * call.seconds,
    )
