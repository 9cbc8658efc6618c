"""Whether the source of a row gives its label away, so that a model may score by knowing where texts come from.

Three questions: do labels depend on the source; can a plain classifier tell the source from the text; and
does a judge that sees the source alone reach the winner's score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demur.analysis._balance import Balance
from demur.analysis._baselines import Baseline
from demur.analysis._config import AnalysisConfig
from demur.analysis._pairs import Difference
from demur.data import Records
from demur.metrics import Bootstrap, Measurement, bootstrap, percentile_interval
from demur.tasks import Task

LEAST_ROWS, LEAST_GROUPS, FOLDS = 10, 3, 3
"""A source with fewer rows or groups is left out of the question whether texts tell their source."""
_LONGEST = 2000
_METRIC = "recall_macro"


@dataclass(frozen=True)
class SourceTelling:
    """How well a plain classifier tells the source from the text, on rows of unseen groups."""

    value: float | None
    """Balanced accuracy."""
    low: float | None
    high: float | None
    chance: float | None
    """Balanced accuracy of calling always the same: one over the number of sources."""
    n: int
    sources: tuple[str, ...]
    reason: str | None = None


def check_confound(records: Records, task: Task, config: AnalysisConfig | None = None) -> SourceTelling:
    """Whether word n-grams tell the source of a row, cross-validated by group.

    Parameters
    ----------
    records
        Rows with sources and groups.
    task
        Gives the texts that are read.
    config
        Draws, level, seed, and the most rows read.

    Returns
    -------
    SourceTelling
        Without a value, and with the reason, where there are not two sources with rows enough.
    """
    config = config or AnalysisConfig()
    rows, sources, names = _usable_rows(records, config)
    if len(names) < 2:
        reason = f"fewer than two sources have {LEAST_ROWS} rows in {LEAST_GROUPS} groups"
        return SourceTelling(None, None, None, None, len(rows), tuple(names), reason)
    kept = records.take(rows)
    texts = [
        "\n".join(part[:_LONGEST] for part in parts)
        for parts in zip(*(kept.texts(field) for field in task.fields), strict=True)
    ]
    groups = kept.groups()
    called = _tell_sources(texts, sources, groups, config.seed)
    pseudo = Task(name="told_source", labels=tuple(f"s{number}" for number in range(len(names))))
    measurement = Measurement(pseudo, sources, called, None, groups, (_METRIC,))
    value = float(measurement.measure(np.ones((1, measurement.n_groups)))[_METRIC][0])
    settings = Bootstrap(draws=config.draws, level=config.level, seed=config.seed)
    draws = bootstrap(measurement.measure, measurement.n_groups, settings, rows=len(rows))
    bounds = percentile_interval(draws.get(_METRIC, np.empty(0)), config.level, measurement.n_groups)
    return SourceTelling(value, bounds.low, bounds.high, 1 / len(names), len(rows), tuple(names), bounds.reason)


def _usable_rows(
    records: Records, config: AnalysisConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """Rows to read, their source numbers, and the sources; whole groups are drawn where there are too many."""
    sources, groups = records.column("source"), records.groups()
    names = []
    for name in sorted({str(source) for source in sources if source is not None}):
        at = np.flatnonzero(sources == name)
        if len(at) >= LEAST_ROWS and len(np.unique(groups[at])) >= LEAST_GROUPS:
            names.append(name)
    rows = np.flatnonzero(np.isin(np.array([str(source) for source in sources]), names))
    if len(rows) > config.source_rows:
        order = np.random.default_rng(config.seed).permutation(int(groups.max()) + 1)
        ranked = rows[np.argsort(order[groups[rows]], kind="stable")]
        rows = np.sort(ranked[: config.source_rows])
    numbers = {name: number for number, name in enumerate(names)}
    return rows, np.array([numbers[str(source)] for source in sources[rows]], dtype=np.int64), names


def _tell_sources(
    texts: Sequence[str], sources: NDArray[np.int64], groups: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """The source called for each text by TF-IDF and logistic regression fitted on other groups, ``(n,)``."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline

    called = np.zeros(len(texts), dtype=np.int64)
    listed = np.array([*texts, None], dtype=object)[:-1]
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in splitter.split(listed, sources, groups):
        if len(np.unique(sources[train])) < 2:
            called[test] = np.bincount(sources[train]).argmax()
            continue
        model = make_pipeline(
            TfidfVectorizer(max_features=20_000, sublinear_tf=True, token_pattern=r"(?u)\b\w+\b|[^\w\s]"),
            LogisticRegression(C=4.0, class_weight="balanced", max_iter=1000, tol=1e-3),
        )
        called[test] = model.fit(listed[train], sources[train]).predict(listed[test])
    return called


def confound_warnings(
    task: Task, balances: Sequence[Balance], baselines: Sequence[Baseline], told: SourceTelling | None
) -> list[str]:
    """What the checks found, in sentences; empty where nothing is wrong."""
    strong = [one for one in balances if one.name in _PROPERTIES and one.test.is_strong]
    return [*(_association_warning(one, told) for one in strong), *_baseline_warnings(baselines)]


_PROPERTIES = {"source": "source", "answerer": "answering model"}
_MEANING = {
    False: "the score is not shown to come from the texts",
    True: "this figure alone does not show that the winner tells labels apart",
}
_METRIC_NAMES = {"custom_score": "security score", "f1_macro": "macro-F1"}


def _association_warning(balance: Balance, told: SourceTelling | None) -> str:
    what = _PROPERTIES[balance.name]
    sure = [
        f"'{value}' has only '{balance.labels[int(np.argmax(row))]}'"
        for value, row in zip(balance.values, balance.counts, strict=True)
        if sum(row) and max(row) == sum(row)
    ]
    shown = f"; {', '.join(sure[:3])}{', ...' if len(sure) > 3 else ''}" if sure else ""
    tells = ""
    if balance.name == "source" and told and told.low is not None and told.low > (told.chance or 1):
        tells = (
            f", and texts tell their source (balanced accuracy {told.value:.2f}, chance {told.chance:.2f}), so a "
            "model can score by telling sources apart"
        )
    return (
        f"labels depend strongly on the {what} (Cramér's V {balance.test.cramers_v:.2f}, n={balance.test.n}"
        f"{shown}){tells}; go by the figures with the {what} held out"
    )


def _baseline_warnings(baselines: Sequence[Baseline]) -> list[str]:
    """One sentence for a protocol and figure: the best baseline without texts that the winner does not clear."""
    worst: dict[tuple[str, str], tuple[float, str]] = {}
    for baseline in baselines:
        for metric, found in baseline.metrics.items():
            if found.a is None or found.b is None or not is_reached(found):
                continue
            how = "always calls one label" if baseline.sees == "nothing" else f"knows only the {baseline.sees}"
            name = _METRIC_NAMES.get(metric, metric)
            text = (
                f"a judge that reads no text and {how} has {name} {found.b:.3f} under '{baseline.protocol}' where "
                f"the winner has {found.a:.3f} (difference {found.a - found.b:+.3f}"
                f"{_bounds(found)}, n={baseline.n}): {_MEANING[baseline.sees == 'nothing']}"
            )
            key = (baseline.protocol, metric)
            if key not in worst or found.b > worst[key][0]:
                worst[key] = (found.b, text)
    return [text for _, text in worst.values()]


def is_reached(found: Difference) -> bool:
    """Whether a baseline is level with the winner or above: the interval of the difference is not above 0."""
    if found.difference is None:
        return False
    return found.difference <= 0 or (found.low is not None and found.low <= 0)


def _bounds(found: Difference) -> str:
    return "" if found.low is None or found.high is None else f" [{found.low:+.3f}, {found.high:+.3f}]"
