"""Models in memory: loaded, warmed, exchanged while requests are answered."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.serve.pool._model import Answer as Answer
    from demur.serve.pool._model import LoadOptions as LoadOptions
    from demur.serve.pool._model import ServedModel as ServedModel
    from demur.serve.pool._model import load_model as load_model
    from demur.serve.pool._pool import Pool as Pool
    from demur.serve.pool._pool import State as State
    from demur.serve.pool._register import find_models as find_models
    from demur.serve.pool._register import register_models as register_models
    from demur.serve.pool._router import ChampionRouter as ChampionRouter
    from demur.serve.pool._router import Route as Route
    from demur.serve.pool._router import Router as Router
    from demur.serve.pool._router import Shadow as Shadow
    from demur.serve.pool._texts import Texts as Texts
    from demur.serve.pool._texts import judged_field as judged_field
    from demur.serve.pool._verdict import Verdict as Verdict

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Answer": "_model",
        "ChampionRouter": "_router",
        "LoadOptions": "_model",
        "Pool": "_pool",
        "Route": "_router",
        "Router": "_router",
        "ServedModel": "_model",
        "Shadow": "_router",
        "State": "_pool",
        "Texts": "_texts",
        "Verdict": "_verdict",
        "find_models": "_register",
        "judged_field": "_texts",
        "load_model": "_model",
        "register_models": "_register",
    },
)
