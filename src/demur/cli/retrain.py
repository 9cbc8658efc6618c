"""``demur retrain``: ask for a retraining, list them, stop one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from demur.serve import ServeConfig
    from demur.store import RetrainRow, Store

_DEFAULT = "request"
_Config = Annotated[Path, typer.Argument(help="The configuration of the server.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


class _WithDefault(TyperGroup):
    """A group whose first argument may be the configuration, as in ``demur retrain serve.yaml refusal``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = [_DEFAULT, *args]
        found: list[str] = super().parse_args(ctx, args)
        return found


app = typer.Typer(
    cls=_WithDefault,
    no_args_is_help=True,
    help="Train a challenger of a task from what the guard has seen: demur retrain CONFIG TASK.",
)


@app.command(_DEFAULT)
def request(
    config: _Config,
    task: Annotated[str, typer.Argument(help="One of the tasks under retrain.tasks.")],
    now: Annotated[bool, typer.Option("--now", help="Do not wait for the cool-down.")] = False,
    as_json: _Json = False,
) -> None:
    """Ask for a retraining; the running controller (demur serve, demur control) does it."""
    from demur.serve.retrain import check_task, request_retrain
    from demur.store import utc_now

    settings = _load(config)
    check_task(task, sorted(settings.retrain.tasks))
    with _open(settings) as store:
        row = request_retrain(store, task, "command", utc_now(), is_urgent=now)
    print(_dump(row) if as_json else f"{row.id} is requested; follow it with: demur retrain list {config}")


@app.command("list")
def list_all(
    config: _Config,
    task: Annotated[str | None, typer.Option("--task", "-t", help="Only of this task.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: _Json = False,
) -> None:
    """List retrainings, the newest first."""
    with _open(_load(config)) as store:
        rows = store.retrains(task, limit=limit)
    if as_json:
        print(json.dumps([json.loads(_dump(row)) for row in rows]))
        return
    for row in rows:
        print(f"{row.id}  {row.at:%Y-%m-%d %H:%M}  {row.task}  {row.stage}  {_why(row)}".rstrip())
    if not rows:
        print("there are none; ask for one with: demur retrain CONFIG TASK")


@app.command("stop")
def stop(
    config: _Config,
    id: Annotated[str, typer.Argument(help="Of the retraining, as listed.")],
    reason: Annotated[str, typer.Option(help="For the audit log.")] = "",
) -> None:
    """Stop a retraining where it is, with its shadow or A/B test; the champion stays."""
    from demur.serve.retrain import stop_retrain
    from demur.store import utc_now

    with _open(_load(config)) as store:
        row = stop_retrain(store, id, utc_now(), "command", reason)
    print(f"{row.id} is stopped")


def _load(config: Path) -> ServeConfig:
    from demur.serve import load_serve

    return load_serve(config)


def _open(config: ServeConfig) -> Store:
    from demur.serve.secrets import Secrets
    from demur.store import open_store

    return open_store(Secrets(config.secrets).reveal(config.database.url))


def _dump(row: RetrainRow) -> str:
    from demur.serve.retrain import view_retrain

    return view_retrain(row).model_dump_json()


def _why(row: RetrainRow) -> str:
    """What there is to say of it in a few words."""
    facts = row.facts
    return str(facts.get("reason") or facts.get("waits_for") or f"({facts.get('cause', 'no cause')})")
