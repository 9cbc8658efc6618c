"""The page and its form as bytes, with what browsers may do with them: nothing but show them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from demur.errors import require
from demur.serve.dashboard import _words as words
from demur.serve.dashboard._answers import chart_task, chart_traffic, make_tiles
from demur.serve.dashboard._attention import find_concerns
from demur.serve.dashboard._drift import view_drift
from demur.serve.dashboard._experiments import view_experiments
from demur.serve.dashboard._history import view_flagged, view_models, view_retrains
from demur.serve.dashboard._span import REFRESH_S, SPANS

if TYPE_CHECKING:
    from demur.serve.dashboard._config import DashboardConfig
    from demur.serve.dashboard._gather import Snapshot
    from demur.serve.dashboard._local import LocalFacts
    from demur.serve.dashboard._span import SpanName
    from demur.tasks import Task


@dataclass(frozen=True)
class Asked:
    """What a viewer wants to see."""

    span: SpanName
    refresh_s: int | None = None
    """Seconds after which the page is to load itself again; None: never."""
    is_browser: bool = True
    """Whether there is a session that can be ended."""


@dataclass(frozen=True)
class Seen:
    """What there is to show."""

    local: LocalFacts
    snapshot: Snapshot | None
    problem: str | None
    """Why the snapshot is old, or not there."""
    tasks: Mapping[str, Task]


def draw_page(asked: Asked, seen: Seen, config: DashboardConfig) -> bytes:
    """The dashboard."""
    found, local = seen.snapshot, seen.local
    context: dict[str, Any] = {
        "asked": asked,
        "local": local,
        "found": found,
        "problem": seen.problem,
        "spans": SPANS,
        "choices": REFRESH_S,
        "concerns": find_concerns(local, found),
        "excerpt": config.excerpt,
    }
    if found is not None:
        running, ended = view_experiments(found)
        context |= {
            "tiles": make_tiles(found),
            "traffic": chart_traffic(found),
            "tasks": [chart_task(found, name, seen.tasks.get(name)) for name in found.tasks],
            "drift": view_drift(found),
            "experiments": running,
            "ended": ended,
            "models": view_models(found, local),
            "retrains": view_retrains(found),
            "flagged": view_flagged(found, config.excerpt),
        }
    return _render("dashboard.html.j2", context)


def draw_login(query: Mapping[str, str], problem: str | None = None, *, is_open: bool = False) -> bytes:
    """The form that takes a key.

    Parameters
    ----------
    query
        What the page behind it is asked for with.
    problem
        Why there is no page yet.
    is_open
        Whether the key would travel unencrypted to another machine.
    """
    return _render("login.html.j2", {"query": dict(query), "problem": problem, "is_open": is_open})


def draw_problem(status: int, message: str) -> bytes:
    """A page that says why there is no other."""
    return _render("problem.html.j2", {"status": status, "message": message})


def page_headers() -> dict[str, str]:
    """What browsers are told of every page: one style sheet by its hash, forms to this server, nothing else."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    policy = [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "img-src data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
    return {
        "Content-Security-Policy": "; ".join(policy),
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }


def _render(name: str, context: Mapping[str, Any]) -> bytes:
    markup = require("markupsafe", extra="serve")
    template = _environment().get_template(name)
    text = template.render(**context, style=markup.Markup(_style()))
    return str(text).encode("utf-8", "replace")


@cache
def _environment() -> Any:
    """The report's engine and filters, with templates of our own before its own.

    Whatever is written into a page passes through ``shown`` first, and is escaped then.
    """
    from demur.report import page_environment

    environment = page_environment("demur.serve.dashboard").overlay(finalize=_finalize)
    environment.filters |= {name: getattr(words, name) for name in ("milliseconds", "size", "plain")}
    return environment


def _finalize(value: Any) -> Any:
    return value if hasattr(value, "__html__") else words.shown(value)


@cache
def _style() -> str:
    return str(_environment().get_template("style.css.j2").render())
