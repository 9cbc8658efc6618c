"""What tampering costs on ordinary text: perplexity and KL to the untampered base, with intervals over texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.errors import LongRowError
from demur.llm import Conversation, Target, perplexity, token_kl
from demur.metrics import Bootstrap, Estimate, bootstrap, percentile_interval

Floats = NDArray[np.float64]
_NO_ROWS = "no interval: an earlier version kept no figures of single texts"
_NO_TOKENS = "no interval: none is reckoned of a percentile over tokens"


def measure_utility(target: Target, reference: Target, texts: Sequence[Conversation]) -> dict[str, Any]:
    """Perplexity and KL of a model on texts, of all and of each.

    Parameters
    ----------
    target
        The model.
    reference
        The untampered base.
    texts
        Answered conversations; what the assistant says counts.

    Raises
    ------
    LongRowError
        A text is longer than the model reads.
    """
    try:
        scored = perplexity(target, texts)
    except LongRowError as error:
        raise LongRowError(f"data.texts: {error}", key="data.texts") from error
    kl = token_kl(target, reference, [target.encode(one) for one in texts])
    values = {"perplexity": scored.value, "kl_mean": kl.mean, "kl_p99": kl.p99, "kl_first": kl.first_mean}
    rows = {"tokens": scored.tokens, "nll": scored.nll, "kl": kl.rows, "kl_first": kl.first}
    return {"n": len(texts), "values": values, "rows": {name: one.tolist() for name, one in rows.items()}}


def utility_estimates(utility: Mapping[str, Any], draws: int, level: float) -> dict[str, Estimate]:
    """The figures with intervals that draw whole texts with replacement.

    Parameters
    ----------
    utility
        From :func:`measure_utility`.
    draws
        Bootstrap draws; 0: no intervals.
    level
        Share the intervals should cover.
    """
    n, rows = utility["n"], utility.get("rows")
    drawn = _draw({name: np.array(one) for name, one in rows.items()}, draws) if rows else {}
    found = {}
    for name, value in utility["values"].items():
        if name in drawn:
            low, high, reason = percentile_interval(drawn[name], level, n)
            found[name] = Estimate(value, low, high, n, reason)
        else:
            found[name] = Estimate(value, None, None, n, _NO_TOKENS if rows else _NO_ROWS)
    return found


def _draw(rows: Mapping[str, Floats], draws: int) -> Mapping[str, Floats]:
    """Draws of the figures that are means over tokens, or over texts."""
    tokens = rows["tokens"].astype(np.float64)

    def figures(weights: Floats) -> Mapping[str, Floats]:
        total = weights @ tokens
        over = np.where(total > 0, total, np.nan)
        return {
            "perplexity": np.exp(weights @ (tokens * rows["nll"]) / over),
            "kl_mean": weights @ (tokens * rows["kl"]) / over,
            "kl_first": weights @ rows["kl_first"] / weights.sum(axis=1),
        }

    return bootstrap(figures, len(tokens), Bootstrap(draws=draws))
