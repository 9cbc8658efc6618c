"""``demur serve``: the guard, until it is told to end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from demur.serve import Ground, ServeConfig


def serve(
    config: Annotated[Path | None, typer.Argument(help="A YAML or JSON file; without one: defaults.")] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option("--model", "-m", help="A saved model or a run folder; several with several options."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port (default: 8000); 0: any free.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that answer (default: 1).")] = None,
    no_keys: Annotated[
        bool, typer.Option("--no-keys", help="Classify for anybody who asks; administration takes a key still.")
    ] = False,
    use_configured: Annotated[
        bool, typer.Option("--use-configured", help="Serve the given models even where others were promoted.")
    ] = False,
) -> None:
    """Serve classifiers as a guard over HTTP.

    Ends on SIGTERM or Ctrl-C, once what was begun is answered and recorded; SIGHUP restarts the workers in turn.
    """
    from demur.serve import load_serve, serve_guard

    given: dict[str, Any] = {"host": host, "port": port, "workers": workers}
    overrides = {key: value for key, value in given.items() if value is not None}
    if model:
        overrides["models"] = [str(one) for one in model]
    if no_keys:
        overrides["keys"] = {"required": False}
    settings = load_serve(config, overrides)
    serve_guard(settings, tell=_say, told=describe_ground, use_configured=use_configured)


def describe_ground(config: ServeConfig, ground: Ground) -> list[str]:
    """What is served, and whether a key is needed and how to make one."""
    lines = [f"{row.task}: {row.name} {row.version[:12]} in {row.folder}" for row in ground.champions]
    if not ground.has_database:
        lines.append("the database does not answer; records wait on disk until it does")
    if not config.keys.required:
        lines.append("no key is needed to classify: whoever reaches the port may ask")
    elif ground.has_keys:
        lines.append("a key is needed: Authorization: Bearer KEY")
    else:
        lines.append("a key is needed and there is none; make one: demur store keys add NAME --scope classify")
    return lines


def _say(line: str) -> None:
    print(line, flush=True)
