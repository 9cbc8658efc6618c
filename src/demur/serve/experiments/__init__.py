"""A/B tests of running models: who answers, what is counted, when a challenger is promoted or rolled back."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.serve.experiments._arms import assign_arm as assign_arm
    from demur.serve.experiments._commands import create_experiment as create_experiment
    from demur.serve.experiments._commands import set_weights as set_weights
    from demur.serve.experiments._config import CHAMPION as CHAMPION
    from demur.serve.experiments._config import ArmConfig as ArmConfig
    from demur.serve.experiments._config import ExperimentConfig as ExperimentConfig
    from demur.serve.experiments._config import ExperimentsConfig as ExperimentsConfig
    from demur.serve.experiments._config import GuardConfig as GuardConfig
    from demur.serve.experiments._config import PromoteConfig as PromoteConfig
    from demur.serve.experiments._config import RollBackConfig as RollBackConfig
    from demur.serve.experiments._config import ShadowConfig as ShadowConfig
    from demur.serve.experiments._install import install as install
    from demur.serve.experiments._install import make_step as make_step
    from demur.serve.experiments._live import ExperimentRouter as ExperimentRouter
    from demur.serve.experiments._live import LiveExperiment as LiveExperiment
    from demur.serve.experiments._live import live_experiments as live_experiments
    from demur.serve.experiments._moves import Move as Move
    from demur.serve.experiments._moves import move_experiment as move_experiment
    from demur.serve.experiments._routes import router as router
    from demur.serve.experiments._show import ArmView as ArmView
    from demur.serve.experiments._show import DifferenceView as DifferenceView
    from demur.serve.experiments._show import EventView as EventView
    from demur.serve.experiments._show import ExperimentView as ExperimentView
    from demur.serve.experiments._show import Figure as Figure
    from demur.serve.experiments._show import GuardView as GuardView
    from demur.serve.experiments._show import KeyView as KeyView
    from demur.serve.experiments._show import show_experiment as show_experiment
    from demur.serve.experiments._show import show_experiments as show_experiments
    from demur.serve.experiments._step import StepReport as StepReport
    from demur.serve.experiments._step import step as step

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ArmConfig": "_config",
        "ArmView": "_show",
        "CHAMPION": "_config",
        "DifferenceView": "_show",
        "EventView": "_show",
        "ExperimentConfig": "_config",
        "ExperimentRouter": "_live",
        "ExperimentView": "_show",
        "ExperimentsConfig": "_config",
        "Figure": "_show",
        "GuardConfig": "_config",
        "GuardView": "_show",
        "KeyView": "_show",
        "LiveExperiment": "_live",
        "Move": "_moves",
        "PromoteConfig": "_config",
        "RollBackConfig": "_config",
        "ShadowConfig": "_config",
        "StepReport": "_step",
        "assign_arm": "_arms",
        "create_experiment": "_commands",
        "install": "_install",
        "live_experiments": "_live",
        "make_step": "_install",
        "move_experiment": "_moves",
        "router": "_routes",
        "set_weights": "_commands",
        "show_experiment": "_show",
        "show_experiments": "_show",
        "step": "_step",
    },
)
