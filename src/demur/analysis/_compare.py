"""All tests between the models of a task under each protocol, from their predictions alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from demur.analysis._config import AnalysisConfig
from demur.analysis._detectable import Detectable, detectable_differences
from demur.analysis._folds import fold_scores
from demur.analysis._pairs import Pair, compare_pairs
from demur.analysis._predicted import Loader, Predicted, sort_rows
from demur.analysis._ranks import FEW_BLOCKS, Ranks, rank_models
from demur.metrics import LOWER_IS_BETTER
from demur.tasks import Task

COMPARED = ("test", "cv", "leave_one_model_out", "leave_one_source_out", "blind")
"""Protocols whose rows models are compared on: never those the winner was chosen on alone."""
RANKED = {"cv": "folds", "leave_one_model_out": "answering models", "leave_one_source_out": "sources"}
"""Protocols with parts to rank models over, and what the parts are."""


@dataclass(frozen=True)
class Standing:
    """Ranks of the models over the parts of one protocol, by one figure."""

    ranks: Ranks
    parts: tuple[str, ...]
    caveat: str
    """What the ranks cannot show."""


@dataclass(frozen=True)
class ProtocolStatistics:
    """Everything said of the models under one protocol."""

    models: tuple[str, ...]
    n: int
    """Rows of the model with most of them."""
    groups: int
    pairs: tuple[Pair, ...]
    detectable: Mapping[str, Detectable]
    ranks: Mapping[str, Standing]


def compare_task(
    task: Task,
    models: Sequence[str],
    load: Loader,
    config: AnalysisConfig | None = None,
    protocols: Sequence[str] = COMPARED,
) -> dict[str, ProtocolStatistics]:
    """Test the models of a task against each other under every protocol at least two of them have.

    Parameters
    ----------
    task
        The task judged.
    models
        Names of the models, in the order of the tables.
    load
        Reader of their predictions.
    config
        Draws, level, seed and figures.
    protocols
        The protocols to look for.
    """
    config = config or AnalysisConfig()
    found = {}
    for protocol in protocols:
        predicted = {
            name: rows
            for name in models
            if (rows := load(name, protocol)) is not None and len(rows) and rows.proba.shape[1] == len(task.labels)
        }
        if len(predicted) < 2:
            continue
        pairs = compare_pairs(task, predicted, protocol, config)
        longest = max(predicted.values(), key=len)
        found[protocol] = ProtocolStatistics(
            models=tuple(predicted),
            n=len(longest),
            groups=int(longest.groups.max()) + 1,
            pairs=tuple(pairs),
            detectable=detectable_differences(pairs, config),
            ranks=rank_over_parts(task, predicted, protocol, config) if protocol in RANKED else {},
        )
    return found


def rank_over_parts(
    task: Task, predicted: Mapping[str, Predicted], protocol: str, config: AnalysisConfig
) -> dict[str, Standing]:
    """Models ranked over the folds, or the held-out values, of one protocol, by each figure.

    Parts are those that most models share. A model that was cross-validated on other folds is judged on the
    same parts: each of its rows was predicted by a fit that had not seen it.

    Parameters
    ----------
    task
        The task judged.
    predicted
        Predictions of each model under ``protocol``.
    protocol
        One of ``RANKED``.
    config
        Level and figures.
    """
    rows = {name: sort_rows(found) for name, found in predicted.items()}
    ids = Counter(tuple(found.ids) for found in rows.values()).most_common(1)[0][0]
    rows = {name: found for name, found in rows.items() if tuple(found.ids) == ids}
    folds = Counter(tuple(found.column("fold")) for found in rows.values()).most_common(1)[0][0]
    if len(rows) < 2 or None in folds:
        return {}
    same = {name: replace(one, columns={**one.columns, "fold": list(folds)}) for name, one in rows.items()}
    scores = {name: fold_scores(task, one, config.metrics) for name, one in same.items()}
    parts = tuple(sorted({fold for fold in folds if fold}))
    found = {}
    for metric in config.metrics:
        table = np.stack([scores[name][metric] for name in rows], axis=1)  # (parts, models)
        table = table[~np.isnan(table).any(axis=1)] * (-1 if metric in LOWER_IS_BETTER else 1)
        if len(table) > 1:
            ranks = rank_models(list(rows), table, config.alpha)
            found[metric] = Standing(ranks, parts, _caveat(ranks, protocol))
    return found


def _caveat(ranks: Ranks, protocol: str) -> str:
    what, k = RANKED[protocol], len(ranks.models)
    said = f"the fits of different {what} share training rows, so these ranks are not independent"
    if ranks.critical_difference >= k - 1:
        return (
            f"{ranks.blocks} {what} are too few for ranks of {k} models to differ at all: mean ranks lie at most "
            f"{k - 1} apart and would have to differ by {ranks.critical_difference:.2f}; {said}"
        )
    if ranks.blocks < FEW_BLOCKS:
        return f"with only {ranks.blocks} {what}, only large and steady differences show in ranks; {said}"
    return said
