"""The ``demur`` command: its verbs, and how errors end it."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from demur.cli import (
    certify,
    compare,
    config,
    control,
    data,
    harden,
    models,
    retrain,
    run,
    score,
    serve,
    store,
    stress,
)
from demur.cli._options import fill_folds

app = typer.Typer(
    name="demur",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Judge how language models refuse: build labelled data, train and compare classifiers, score your rows.",
)
app.command("run")(run.run)
app.command("score")(score.score)
app.command("compare")(compare.compare)
app.command("harden")(harden.harden)
app.command("certify")(certify.certify)
app.command("serve")(serve.serve)
app.command("control")(control.control)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(config.app, name="config")
app.add_typer(stress.app, name="stress")
app.add_typer(store.app, name="store")
app.add_typer(retrain.app, name="retrain")

INTERRUPTED = 130
STOPPED = "stopped; run the same command again and it goes on where it was"


def _show_version(wanted: bool) -> None:
    if wanted:
        from demur import __version__

        print(f"demur {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command; end with 0 done, 1 failed, 2 wrong usage, 3 something missing, 130 interrupted.

    A reader who has seen enough (``demur ... | head``) is no failure.
    """
    code = run_command(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run_command(arguments: list[str]) -> int:
    """Run one command line and return its exit code; a demur error becomes one sentence on stderr."""
    from demur.errors import DemurError, translate_os_error

    try:
        app(args=fill_folds(arguments), prog_name="demur", standalone_mode=True)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer makes it a failure
            return 0
        if end.code == INTERRUPTED:  # typer turns Ctrl-C into this code and says nothing
            return _fail(STOPPED, INTERRUPTED)
        return end.code if isinstance(end.code, int) else 0
    except DemurError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail(STOPPED, INTERRUPTED)
    except OSError as error:
        return _fail(str(translate_os_error(error, f"running demur {' '.join(arguments[:1])}")), 1)
    return 0


def _fail(message: str, code: int) -> int:
    print(f"demur: {' '.join(message.split())}", file=sys.stderr)
    return code
