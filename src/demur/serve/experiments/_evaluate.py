"""Brings the observations of an experiment up to date: from its saved state and the store to a new state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from demur.serve.experiments._config import ExperimentConfig, ExperimentsConfig
from demur.serve.experiments._read import Cursor, read_failures, read_labelled, read_predictions
from demur.serve.experiments._streams import Streams

if TYPE_CHECKING:
    from demur.store import ExperimentEvent, ExperimentRow, Store


@dataclass(frozen=True)
class Weights:
    """Which weights held when, and when they were new."""

    changes: tuple[tuple[datetime, dict[str, float]], ...]
    """Time and weights; the first time is the begin of the stage."""
    settle_s: float
    """Seconds after each change in which not every worker may know of it."""

    def at(self, time: datetime) -> dict[str, float]:
        """The weights at a time."""
        return [weights for since, weights in self.changes if since <= time or since == self.changes[0][0]][-1]

    def is_settled(self, time: datetime) -> bool:
        """Whether an answer of that time counts: the stage had begun, and every worker knew."""
        settle = timedelta(seconds=self.settle_s)
        return time >= self.changes[0][0] and not any(since <= time < since + settle for since, _ in self.changes)


@dataclass(frozen=True)
class Evaluation:
    """An experiment's observations at a time."""

    streams: Streams
    state: dict[str, Any]
    """Of the stage, to be saved."""
    rows: int
    """Rows that were new."""
    is_behind: bool
    """Whether more wait in the store."""


def stage_since(row: ExperimentRow) -> datetime:
    """When an experiment came into its stage."""
    moves: Mapping[str, Any] = row.state.get("moves", {})
    found = moves.get(row.stage)
    return datetime.fromisoformat(found["at"]) if found else row.at


def weight_changes(store: Store, row: ExperimentRow) -> list[tuple[datetime, dict[str, float]]]:
    """When weights were changed by command, and to what, in order of time.

    They are events, and are kept in the state too, since old events may be deleted.
    """
    found = {at: dict(weights) for at, weights in row.state.get("weights", [])}
    found |= {event.at.isoformat(): dict(event.facts["weights"]) for event in store.events(row.id, kind="weights")}
    return sorted((datetime.fromisoformat(at), weights) for at, weights in found.items())


def current_weights(store: Store, row: ExperimentRow, config: ExperimentConfig) -> dict[str, float]:
    """Arm to weight as they are now: as configured, or as the last command set them."""
    changes = weight_changes(store, row)
    return changes[-1][1] if changes else config.weights


def weights_of(store: Store, row: ExperimentRow, config: ExperimentConfig, settle_s: float) -> Weights:
    """Which weights held when in the stage that an experiment is in."""
    since, first = stage_since(row), config.weights
    changes = weight_changes(store, row)
    for at, weights in changes:
        first = weights if at <= since else first
    return Weights(((since, first), *(one for one in changes if one[0] > since)), settle_s)


def load_streams(row: ExperimentRow, config: ExperimentConfig, weights: Mapping[str, float]) -> Streams:
    """The observations so far in the stage that an experiment is in.

    Raises
    ------
    DataError
        The state cannot be read; stop the experiment.
    """
    saved = row.state.get("stages", {}).get(row.stage)
    if saved is None:
        return Streams(config, weights, is_paired=row.stage == "shadow")
    return Streams.from_json(config, saved["streams"])


def evaluate(
    store: Store, row: ExperimentRow, config: ExperimentConfig, settings: ExperimentsConfig, now: datetime
) -> Evaluation:
    """Read what is new and count it.

    Raises
    ------
    DataError
        The state cannot be read; stop the experiment.
    StoreUnavailableError
        The database does not answer; nothing was changed.
    """
    return _Evaluator(store, row, config, settings, now - timedelta(seconds=settings.lag_s)).run()


class _Evaluator:
    """One evaluation: reads up to a time and counts."""

    def __init__(
        self,
        store: Store,
        row: ExperimentRow,
        config: ExperimentConfig,
        settings: ExperimentsConfig,
        until: datetime,
    ) -> None:
        self.store, self.id, self.config, self.settings, self.until = store, row.id, config, settings, until
        self.weights = weights_of(store, row, config, settings.settle_s)
        self.streams = load_streams(row, config, self.weights.changes[0][1])
        saved = row.state.get("stages", {}).get(row.stage, {}).get("cursors", {})
        self.cursors = {
            kind: Cursor.from_json(saved[kind]) if kind in saved else Cursor(stage_since(row))
            for kind in ("plain", "labelled", "failures")
        }

    def run(self) -> Evaluation:
        answers, labels = self._take_answers(), self._take_labels()
        state = {
            "streams": self.streams.to_json(),
            "cursors": {kind: cursor.to_json() for kind, cursor in self.cursors.items()},
        }
        is_behind = max(answers, labels) >= self.settings.most_rows
        return Evaluation(self.streams, state, answers + labels, is_behind)

    def _take_answers(self) -> int:
        """Count answers and failures, merged by time; how many answers."""
        failures = read_failures(self.store, self.id, self.cursors["failures"], self.until)
        taken = 0
        for row in read_predictions(
            self.store, self.id, self.cursors["plain"], self.until, self.settings.page_rows
        ):
            self._take_failures(failures, row.at)
            if self.weights.is_settled(row.at):
                self.streams.set_weights("plain", self.weights.at(row.at))
                self.streams.add_prediction(row)
            taken += 1
            if taken >= self.settings.most_rows:
                return taken
        self._take_failures(failures, self.until)
        return taken

    def _take_failures(self, failures: list[ExperimentEvent], before: datetime) -> None:
        while failures and failures[0].at <= before:
            one = failures.pop(0)
            self.cursors["failures"].pass_by(one.at, one.id)
            if self.weights.is_settled(one.at):
                self.streams.set_weights("plain", self.weights.at(one.at))
                self.streams.add_failures(str(one.facts.get("arm")), int(one.facts.get("count", 1)))

    def _take_labels(self) -> int:
        """Count answers with feedback; how many."""
        taken = 0
        for one in read_labelled(
            self.store, self.id, self.cursors["labelled"], self.until, self.settings.page_rows
        ):
            if one.feedback.source in self.config.sources and self.weights.is_settled(one.prediction.at):
                self.streams.set_weights("labelled", self.weights.at(one.feedback.at))
                key = (one.feedback.key_id or "") if one.feedback.source == "user" else None
                self.streams.add_labelled(one.prediction, one.feedback.label, key)
            taken += 1
            if taken >= self.settings.most_rows:
                break
        return taken
