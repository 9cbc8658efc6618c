"""The guard: classifiers behind an HTTP API, with records, experiments, monitoring and retraining."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.serve._config import KeysConfig as KeysConfig
    from demur.serve._config import LimitsConfig as LimitsConfig
    from demur.serve._config import ServeConfig as ServeConfig
    from demur.serve._config import load_serve as load_serve
    from demur.serve._identity import Identity as Identity

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Identity": "_identity",
        "KeysConfig": "_config",
        "LimitsConfig": "_config",
        "ServeConfig": "_config",
        "load_serve": "_config",
    },
)
