"""What a search varies by default, for each head."""

from __future__ import annotations

from typing import Any

_Space = dict[str, dict[str, Any]]
_PROMPT: _Space = {"prompt_weight": {"choices": [0.0, 0.03, 0.1, 0.3, 1.0]}}
_TERMS: _Space = {"best_terms": {"choices": [1000, 3000, 10_000]}}
_BOOSTING: _Space = {
    "learning_rate": {"low": 0.02, "high": 0.3, "log": True},
    "max_depth": {"low": 2, "high": 8, "int": True},
    "trees": {"low": 50, "high": 400, "int": True},
}
SPACES: dict[str, _Space] = {
    "logreg": {"c": {"low": 0.05, "high": 50, "log": True}} | _PROMPT,
    "svm": {"c": {"low": 0.05, "high": 50, "log": True}} | _PROMPT,
    "svc": {
        "c": {"low": 0.1, "high": 100, "log": True},
        "gamma": {"low": 0.1, "high": 10, "log": True},
        "components": {"choices": [100, 200, 400]},
    },
    "nb": {"smoothing": {"low": 0.01, "high": 3, "log": True}} | _PROMPT,
    "forest": {"trees": {"choices": [100, 300]}} | _TERMS | _PROMPT,
    "xgboost": _BOOSTING | _TERMS,
    "lightgbm": _BOOSTING | _TERMS,
}
"""Head to its space, in the form of ``BaseClassifier.search_space``."""
