"""``demur control``: the controller alone, without a server that answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def control(
    config: Annotated[Path, typer.Argument(help="The configuration of the server.")],
) -> None:
    """Do what the guard does beside answering: drain, evaluate, watch, retrain, delete.

    A server started with `demur serve` has a controller of its own; of all controllers of one database one acts.
    Ends within a second of SIGTERM or Ctrl-C.
    """
    from demur.serve import load_serve
    from demur.serve.control import run_controller

    run_controller(load_serve(config), writes_log=True)
