"""Circuit breakers: adapters that lead a model's states away from harmful answers, trained and measured."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.harden._config import HardenConfig as HardenConfig
    from demur.harden._config import HardenData as HardenData
    from demur.harden._config import LoraSettings as LoraSettings
    from demur.harden._config import RetainSource as RetainSource
    from demur.harden._config import StopRule as StopRule
    from demur.harden._export import export_merged as export_merged
    from demur.harden._load import load_harden as load_harden
    from demur.harden._result import HardenResult as HardenResult
    from demur.harden._schedule import Coefficients as Coefficients
    from demur.harden._schedule import schedule_losses as schedule_losses
    from demur.harden._train import harden as harden
    from demur.harden._validate import KlSummary as KlSummary
    from demur.harden._validate import Validation as Validation

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Coefficients": "_schedule",
        "HardenConfig": "_config",
        "HardenData": "_config",
        "HardenResult": "_result",
        "KlSummary": "_validate",
        "LoraSettings": "_config",
        "RetainSource": "_config",
        "StopRule": "_config",
        "Validation": "_validate",
        "export_merged": "_export",
        "harden": "_train",
        "load_harden": "_load",
        "schedule_losses": "_schedule",
    },
)
