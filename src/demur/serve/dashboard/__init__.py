"""The dashboard: one page that shows how the guard fares, drawn on the server and quiet in the browser."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.serve.dashboard._config import DashboardConfig as DashboardConfig
    from demur.serve.dashboard._routes import router as router

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "DashboardConfig": "_config",
        "router": "_routes",
    },
)
