"""The guard: classifiers behind an HTTP API, with records, experiments, monitoring and retraining."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.serve._config import KeysConfig as KeysConfig
    from demur.serve._config import LimitsConfig as LimitsConfig
    from demur.serve._config import ServeConfig as ServeConfig
    from demur.serve._config import load_serve as load_serve
    from demur.serve._identity import Identity as Identity
    from demur.serve._start import Ground as Ground
    from demur.serve._start import check_ground as check_ground
    from demur.serve._supervise import Supervisor as Supervisor
    from demur.serve._supervise import serve_guard as serve_guard

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Ground": "_start",
        "Identity": "_identity",
        "KeysConfig": "_config",
        "LimitsConfig": "_config",
        "ServeConfig": "_config",
        "Supervisor": "_supervise",
        "check_ground": "_start",
        "load_serve": "_config",
        "serve_guard": "_supervise",
    },
)
