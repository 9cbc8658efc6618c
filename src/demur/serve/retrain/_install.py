"""How the guard takes retraining in: the step of the controller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demur.serve.retrain._step import Retrainer, Served, Tell

if TYPE_CHECKING:
    from demur.serve import ServeConfig
    from demur.serve.control import Step
    from demur.store import Store


def make_step(config: ServeConfig, store: Store, tell: Tell | None = None) -> Step:
    """The controller's step that brings retrainings forward.

    Parameters
    ----------
    tell
        Told of every end; the log where absent.

    Raises
    ------
    SecretError
        A secret of the database's address is nowhere.
    """
    from demur.serve.control import Step
    from demur.serve.secrets import Secrets

    database = Secrets(config.secrets).reveal(config.database.url)
    served = Served(database, config.operating_point)
    retrainer = Retrainer(store, config.retrain, served, tell)
    return Step(
        name="retrain",
        run=retrainer.step,
        every_s=config.retrain.every_s,
        pause=retrainer.pause,
        close=retrainer.close,
    )
