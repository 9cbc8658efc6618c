"""Everything an experiment has observed in one stage: rows in, tests and figures out, all of it plain state.

In the shadow stage all arms judge the same items, and pairs are compared; afterwards each subject sees one arm,
and arms are compared as independent streams. Of a subject with many rows the first counts and no other, since its
rows are alike; a request that names no subject is a subject of its own. Failures have no subject and depend on the
server more than on who asks, so every row counts for the error rate.

Rows (``plain``) and rows with feedback (``labelled``) are two streams, each in its own order of time.

Whoever holds a key may send false feedback, so the labelled stream is observed over again without each key:
nothing that one key says, or is the first to say, reaches the observations without it. Keys are dealt into a few
groups in the order in which they come, and a group is left out at a time: many keys cost no more than a few.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from demur.errors import DataError
from demur.metrics import SequentialMean, SequentialQuantile
from demur.serve.experiments._config import CHAMPION, ExperimentConfig
from demur.serve.experiments._guards import Bound, Comparison, new_comparison, new_guard, restore_tests
from demur.serve.experiments._metrics import METRICS, is_labelled, values_of
from demur.serve.experiments._seen import SeenSet

if TYPE_CHECKING:
    from demur.store import PredictionRow

_MOST_PAIRS = 1000
"""Items that wait for the answer of another arm; of more the oldest are let go."""
BALANCE_LEVEL = 0.999
KEY_GROUPS = 5
"""Groups that users' keys are dealt into; each without which the labelled stream is observed too."""
Values = dict[str, float]


class Streams:
    """The observations of one stage.

    Parameters
    ----------
    config
        Of the experiment; ``threat_labels`` must be known.
    weights
        Arm to weight.
    is_paired
        Whether arms judge the same items (the shadow stage).
    """

    def __init__(self, config: ExperimentConfig, weights: Mapping[str, float], *, is_paired: bool) -> None:
        self.config, self.is_paired = config, is_paired
        self.weights = {"plain": dict(weights), "labelled": dict(weights)}
        self._threats = frozenset(config.threat_labels or ())
        challengers = config.arms[1:]
        self.tests = {arm: new_comparison(config, arm, weights, is_paired=is_paired) for arm in challengers}
        self.guards = {
            arm: [new_guard(config, guard, arm, weights, is_paired=is_paired) for guard in config.guards]
            for arm in challengers
        }
        self.rows = dict.fromkeys(config.arms, 0)
        self.tallies: dict[str, dict[str, list[float]]] = {arm: {} for arm in config.arms}
        """Arm to metric to rows that count and their sum."""
        self.latency = {arm: SequentialQuantile(0.95) for arm in config.arms}
        self.balance = {arm: self._new_balance(arm) for arm in challengers}
        """Share of a challenger among what it and the champion were given, against the weights."""
        self._times: dict[str, list[float]] = {arm: [] for arm in config.arms}
        self._given: dict[str, list[float]] = {arm: [] for arm in challengers}
        self._seen = {"plain": SeenSet(), "labelled": SeenSet()}
        self._pairs: dict[str, dict[str, dict[str, Any]]] = {"plain": {}, "labelled": {}}
        self.keys: dict[str, list[int]] = {}
        """Users' key to its group and the labels that came with it."""
        self.without: list[Streams] = []
        """The labelled stream without each group of keys; none for a group that has said nothing."""

    def _new_balance(self, arm: str) -> SequentialMean:
        weights = self.weights["plain"]
        share = weights[arm] / (weights[arm] + weights[CHAMPION])
        return SequentialMean(share, level=BALANCE_LEVEL)

    # Observations

    def set_weights(self, kind: str, weights: Mapping[str, float]) -> None:
        """Take other weights for what comes from now on in one of the two streams."""
        if dict(weights) == self.weights[kind]:
            return
        self.flush()
        for view in self.without if kind == "labelled" else ():
            view.set_weights(kind, weights)
        self.weights[kind] = dict(weights)
        for arm in self.config.arms[1:]:
            for one in self._comparisons(arm):
                if METRICS[one.metric].is_labelled == (kind == "labelled"):
                    one.test.set_weights((weights[CHAMPION], weights[arm]))
            if kind == "plain":
                self.balance[arm] = self._new_balance(arm)

    def add_prediction(self, row: PredictionRow) -> None:
        """Take an answer."""
        if row.arm not in self.rows or row.is_shadow != (self.is_paired and row.arm != CHAMPION):
            return
        self.rows[row.arm] += 1
        self._times[row.arm].append(max(0.0, row.latency_ms))
        values = values_of(row, None, self._threats, is_labelled=False)
        self._watch(row.arm, values, is_row=True)
        if not self.is_paired:
            self._observe(row.arm, {"error_rate": values.pop("error_rate")})
        self._count("plain", row, values)

    def add_labelled(self, row: PredictionRow, truth: str, key: str | None = None) -> None:
        """Take what is true of an answer.

        Parameters
        ----------
        key
            The key of the user who says so, empty where there are none; None: people or a judge, who are trusted.
        """
        if row.arm not in self.rows or row.is_shadow != (self.is_paired and row.arm != CHAMPION):
            return
        group = None if key is None or not self.config.confirm_moves else self._group_of(key)
        for number, one in enumerate(self.without):
            if number != group:
                one.add_labelled(row, truth)
        self._count("labelled", row, values_of(row, truth, self._threats, is_labelled=True))

    def _group_of(self, key: str) -> int:
        """The group of a user's key; the first of a group parts from what was said without it so far."""
        entry = self.keys.setdefault(key, [len(self.keys) % KEY_GROUPS, 0])
        entry[1] += 1
        if entry[0] == len(self.without):
            self.flush()
            self.without.append(self._labelled_only())
        return entry[0]

    def _labelled_only(self) -> Streams:
        """A copy of the labelled stream, which goes on by itself; its tests of other metrics are empty."""
        made = Streams(self.config, self.weights["labelled"], is_paired=self.is_paired)
        for arm, tallies in self.tallies.items():
            made.tallies[arm] = {name: list(pair) for name, pair in tallies.items() if is_labelled(name)}
        for arm, test in self.tests.items():
            if is_labelled(test.metric):
                made.tests[arm] = deepcopy(test)
            for number, guard in enumerate(self.guards[arm]):
                if is_labelled(self.config.guards[number].metric):
                    made.guards[arm][number] = deepcopy(guard)
        made._seen["labelled"] = deepcopy(self._seen["labelled"])
        made._pairs["labelled"] = deepcopy(self._pairs["labelled"])
        return made

    def views(self, metric: str) -> list[Streams]:
        """The observations that must all show what moves an experiment by a metric: all, and without each key."""
        return [self, *self.without] if is_labelled(metric) else [self]

    def add_failures(self, arm: str, count: int) -> None:
        """Take requests that an arm should have answered and could not; nobody knows whose they were."""
        if arm not in self.rows:
            return
        values = {"error_rate": 1.0}
        for _ in range(count):
            self._watch(arm, values, is_row=True)
            if self.is_paired and arm != CHAMPION:
                self._watch(arm, values, is_row=False)
                self._compare_pair(arm, {"error_rate": 0.0}, values)
                self._tally(arm, values)
            elif not self.is_paired:
                self._observe(arm, values)

    def _count(self, kind: str, row: PredictionRow, values: Values) -> None:
        """Count a row unless its subject was counted."""
        assert row.arm is not None
        if self.is_paired:
            self._pair(kind, row, row.arm, values)
        elif self._is_new(kind, row):
            self._observe(row.arm, values)
            if kind == "plain":
                self._weigh(row.arm)

    def _is_new(self, kind: str, row: PredictionRow, of: str = "") -> bool:
        """Whether a row is its subject's first, for an arm ``of`` where arms judge the same items.

        Answers come once each, so of those of a request without a subject the first item counts, and nothing is
        remembered of it: a set of all requests would grow for ever.
        """
        is_row = self.config.unit == "row"
        if kind == "plain" and (is_row or not row.subject):
            return is_row or row.item == 0
        unit = f"s {row.subject}" if row.subject else f"r {row.request_id}"
        name = f"{row.request_id}/{row.item}" if is_row else unit
        return self._seen[kind].add(f"{of} {name}" if of else name)

    def _observe(self, arm: str, values: Values) -> None:
        """One row that counts, of an arm that had the item to itself."""
        self._tally(arm, values)
        self._watch(arm, values, is_row=False)
        for challenger in self.config.arms[1:]:
            if arm in (CHAMPION, challenger):
                for one in self._comparisons(challenger):
                    if one.metric in values:
                        one.add(int(arm == challenger), values[one.metric])

    def _weigh(self, arm: str) -> None:
        for challenger in self.config.arms[1:]:
            if arm in (CHAMPION, challenger):
                self._given[challenger].append(float(arm == challenger))

    def _pair(self, kind: str, row: PredictionRow, arm: str, values: Values) -> None:
        """Bring together what the champion and its shadows said of one item.

        Of a subject with many pairs the first counts, but for errors all do: a failure has no subject.
        """
        waiting, item = self._pairs[kind], f"{row.request_id}/{row.item}"
        entry = waiting.setdefault(item, {"values": {}, "done": []})
        entry["values"].setdefault(arm, values)
        first = entry["values"].get(CHAMPION)
        for challenger in self.config.arms[1:] if first is not None else ():
            second = entry["values"].get(challenger)
            if second is None or challenger in entry["done"]:
                continue
            is_new = self._is_new(kind, row, challenger)
            one, other = (first, second) if is_new else (_errors_of(first), _errors_of(second))
            if not entry["done"]:
                self._tally(CHAMPION, one)
            self._tally(challenger, other)
            self._watch(challenger, other, is_row=False)
            self._compare_pair(challenger, one, other)
            entry["done"].append(challenger)
        if len(entry["done"]) == len(self.config.challengers):
            del waiting[item]
        while len(waiting) > _MOST_PAIRS:
            del waiting[next(iter(waiting))]

    def _compare_pair(self, challenger: str, first: Values, second: Values) -> None:
        for one in self._comparisons(challenger):
            if one.metric in first and one.metric in second:
                one.add_pair(first[one.metric], second[one.metric])

    def _comparisons(self, challenger: str) -> list[Comparison]:
        return [self.tests[challenger], *(one for one in self.guards[challenger] if isinstance(one, Comparison))]

    def _watch(self, arm: str, values: Values, *, is_row: bool) -> None:
        """Let the bounds on a challenger's own rates see a row."""
        for one in self.guards.get(arm, ()):
            if isinstance(one, Bound) and one.guard.counts_rows == is_row:
                one.add(values)

    def _tally(self, arm: str, values: Values) -> None:
        for metric, value in values.items():
            found = self.tallies[arm].setdefault(metric, [0, 0.0])
            found[0] += 1
            found[1] += min(value, self.config.latency_cap_ms) if metric == "latency_ms" else value

    def flush(self) -> None:
        """Let every test have what waits for it; before figures are read or the state is written."""
        for arm in self.config.arms[1:]:
            for one in (self.tests[arm], *self.guards[arm]):
                one.flush()
            self.balance[arm].add_many(self._given[arm])
            self._given[arm] = []
        for arm, times in self._times.items():
            self.latency[arm].add_many(times)
            self._times[arm] = []
        for view in self.without:
            view.flush()

    # Figures and state

    @property
    def is_balanced(self) -> bool:
        """Whether arms get the shares they should, as far as can be told."""
        if self.is_paired or self.config.unit == "row":
            return True
        return not any(one.result().is_rejected for one in self.balance.values())

    def counted(self, arm: str) -> int:
        """Rows of an arm that count by the metric the experiment is judged by."""
        return int(self.tallies[arm].get(self.config.metric, [0, 0.0])[0])

    def to_json(self) -> dict[str, Any]:
        """Everything there is to know, as plain values that :meth:`from_json` reads."""
        self.flush()
        return {
            "is_paired": self.is_paired,
            "weights": self.weights,
            "rows": self.rows,
            "tallies": self.tallies,
            "tests": {arm: one.test.to_json() for arm, one in self.tests.items()},
            "guards": {arm: [one.test.to_json() for one in tests] for arm, tests in self.guards.items()},
            "balance": {arm: one.to_json() for arm, one in self.balance.items()},
            "latency": {arm: one.to_json() for arm, one in self.latency.items()},
            "seen": {kind: one.to_json() for kind, one in self._seen.items()},
            # As a list, because a database may sort the keys of an object, and the oldest are let go first.
            "pairs": {
                kind: [[item, one["values"], one["done"]] for item, one in waiting.items()]
                for kind, waiting in self._pairs.items()
            },
            # As a list, because a database may sort the keys of an object, and keys are dealt out as they came.
            "keys": [[key, *entry] for key, entry in self.keys.items()],
            "without": [one.to_json() for one in self.without],
        }

    @classmethod
    def from_json(cls, config: ExperimentConfig, state: Mapping[str, Any]) -> Streams:
        """The observations that :meth:`to_json` wrote.

        Raises
        ------
        DataError
            They are none, or of other arms; stop the experiment and start a new one.
        """
        try:
            made = cls(config, state["weights"]["plain"], is_paired=bool(state["is_paired"]))
            made.weights = {kind: dict(state["weights"][kind]) for kind in made.weights}
            for arm in config.arms[1:]:
                restore_tests([made.tests[arm]], [state["tests"][arm]])
                restore_tests(made.guards[arm], state["guards"][arm])
                made.balance[arm] = SequentialMean.from_json(state["balance"][arm])
            for arm in config.arms:
                made.rows[arm] = int(state["rows"][arm])
                made.tallies[arm] = {metric: list(pair) for metric, pair in state["tallies"][arm].items()}
                made.latency[arm] = SequentialQuantile.from_json(state["latency"][arm])
            for kind, seen in state.get("seen", {}).items():  # not there once the stage is over
                made._seen[kind] = SeenSet.from_json(seen)
            for kind, waiting in state.get("pairs", {}).items():
                made._pairs[kind] = {
                    item: {"values": dict(values), "done": list(done)} for item, values, done in waiting
                }
            made.keys = {str(key): [int(group), int(count)] for key, group, count in state.get("keys", [])}
            if "without" in state:
                made.without = [cls.from_json(config, one) for one in state["without"]]
            elif config.confirm_moves and "user" in config.sources:  # older: nobody knows whose labels it has
                made.without = [
                    cls(config, made.weights["labelled"], is_paired=made.is_paired) for _ in range(KEY_GROUPS)
                ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"the state of experiment '{config.name}' cannot be read ({error}); stop it and start a new one"
            ) from None
        return made


def _errors_of(values: Values) -> Values:
    """What is known of a row beside whose it was: whether it was an error."""
    return {name: value for name, value in values.items() if name == "error_rate"}
