"""How numbers, metrics and protocols read: one wording for the pictures, the page and the terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from demur.metrics import Estimate
from demur.report._views import finite, has_interval

MISSING = "—"
METRICS = {
    "custom_score": "security score",
    "f1_macro": "macro-F1",
    "precision_macro": "macro precision",
    "recall_macro": "macro recall",
    "accuracy": "accuracy",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "false_alarm_rate": "false-alarm rate",
    "missed_threat_rate": "missed-threat rate",
    "ece": "calibration error (ECE)",
    "recall_at_fpr_1": "recall at 1 % false positives",
    "recall_at_fpr_0_1": "recall at 0.1 % false positives",
}
PROTOCOL_NAMES = {
    "valid": "validation split",
    "test": "test split",
    "cv": "grouped cross-validation",
    "leave_one_model_out": "leave one answering model out",
    "leave_one_source_out": "leave one source out",
    "blind": "blind set",
}
_PLAIN = {
    "custom_score": METRICS["custom_score"],
    "f1_macro": METRICS["f1_macro"],
    "f1_external": "macro-F1 on the blind set",
    "is null": "is not known",
    "leave_one_model_out": PROTOCOL_NAMES["leave_one_model_out"],
    "leave_one_source_out": PROTOCOL_NAMES["leave_one_source_out"],
}
_CLASS_METRIC = re.compile(r"(precision|recall|f1)_c(\d+)")


def number(value: Any, digits: int = 3) -> str:
    """A number with fixed decimals; an em dash where there is none."""
    found = finite(value)
    return MISSING if found is None else f"{found:.{digits}f}".replace("-", "−")


def signed(value: Any, digits: int = 3) -> str:
    """A difference with its sign; an em dash where there is none."""
    found = finite(value)
    return MISSING if found is None else f"{found:+.{digits}f}".replace("-", "−")


def interval(estimate: Estimate, digits: int = 3, sign: bool = False) -> str:
    """``low to high``; an em dash where there is no interval."""
    if not has_interval(estimate):
        return MISSING
    write = signed if sign else number
    return f"{write(estimate.low, digits)} to {write(estimate.high, digits)}"


def with_interval(estimate: Estimate, digits: int = 3, sign: bool = False) -> str:
    """``value [low, high]``; the value alone without interval; an em dash without value."""
    write = signed if sign else number
    if not has_interval(estimate):
        return write(estimate.value, digits)
    return f"{write(estimate.value, digits)} [{write(estimate.low, digits)}, {write(estimate.high, digits)}]"


def chance(value: Any) -> str:
    """A p-value: two digits, ``<0.001`` below that; an em dash where there is none."""
    found = finite(value)
    if found is None:
        return MISSING
    if found < 0.001:
        return "<0.001"
    return f"{found:.3f}" if found < 0.1 else f"{found:.2f}"


def count(value: Any) -> str:
    """A whole number with thin groups of three; an em dash where there is none."""
    found = finite(value)
    return MISSING if found is None else f"{int(found):,}".replace(",", "\u202f")


def duration(seconds: Any) -> str:
    """Seconds as people say them: ``0.02 s``, ``4.2 s``, ``42 s``, ``3 min 20 s``, ``1 h 05 min``."""
    found = finite(seconds)
    if found is None:
        return MISSING
    if found < 10:
        return f"{found:.1f} s" if found >= 1 else f"{found:.2f} s"
    whole = round(found)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def measured(value: Any) -> str:
    """A measurement, such as milliseconds or megabytes, with as many decimals as its size bears."""
    found = finite(value)
    if found is None:
        return MISSING
    return f"{found:.0f}" if found >= 100 else f"{found:.1f}" if found >= 1 else f"{found:.2f}"


def metric_name(metric: str, labels: Sequence[str] = ()) -> str:
    """A metric as people say it; ``f1_c1`` becomes ``F1 of hard_refusal``."""
    match = _CLASS_METRIC.fullmatch(metric)
    if not match:
        return METRICS.get(metric, metric)
    kind = "F1" if match[1] == "f1" else match[1]
    index = int(match[2])
    return f"{kind} of {labels[index] if index < len(labels) else f'class {index}'}"


def protocol_name(protocol: str | None) -> str:
    """A protocol as people say it."""
    return PROTOCOL_NAMES.get(protocol or "", protocol or MISSING)


def plain(text: str) -> str:
    """A sentence with the names of metrics and protocols as people say them."""
    shown = text.strip()
    for key, name in _PLAIN.items():
        shown = shown.replace(key, name)
    return shown


def task_title(name: str) -> str:
    """A task's name as a heading: ``prompt_risk`` becomes ``Prompt risk``."""
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def shorten(text: str, limit: int) -> str:
    """The text, its middle replaced by an ellipsis where it is longer than ``limit``."""
    if len(text) <= limit:
        return text
    head = limit // 2
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"


def join_words(items: Sequence[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"
