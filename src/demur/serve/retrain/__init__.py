"""Retraining: labelled rows, a challenger, a gate that it must pass, and its way to the champion's place."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.serve.retrain._compare import compare as compare
    from demur.serve.retrain._config import CompareConfig as CompareConfig
    from demur.serve.retrain._config import GatherConfig as GatherConfig
    from demur.serve.retrain._config import LabelFile as LabelFile
    from demur.serve.retrain._config import LabelsConfig as LabelsConfig
    from demur.serve.retrain._config import RetrainConfig as RetrainConfig
    from demur.serve.retrain._config import RolloutConfig as RolloutConfig
    from demur.serve.retrain._config import TaskConfig as TaskConfig
    from demur.serve.retrain._config import resolve_paths as resolve_paths
    from demur.serve.retrain._gate import GateReport as GateReport
    from demur.serve.retrain._gate import GuardedSlice as GuardedSlice
    from demur.serve.retrain._gate import JudgedSet as JudgedSet
    from demur.serve.retrain._gate import pass_gate as pass_gate
    from demur.serve.retrain._gather import gather as gather
    from demur.serve.retrain._install import make_step as make_step
    from demur.serve.retrain._noninferior import NonInferiority as NonInferiority
    from demur.serve.retrain._noninferior import noninferiority as noninferiority
    from demur.serve.retrain._order import Order as Order
    from demur.serve.retrain._routes import RetrainView as RetrainView
    from demur.serve.retrain._routes import check_task as check_task
    from demur.serve.retrain._routes import router as router
    from demur.serve.retrain._routes import view_retrain as view_retrain
    from demur.serve.retrain._stages import ENDED as ENDED
    from demur.serve.retrain._stages import OPEN as OPEN
    from demur.serve.retrain._stages import open_retrains as open_retrains
    from demur.serve.retrain._stages import request_retrain as request_retrain
    from demur.serve.retrain._stages import stop_retrain as stop_retrain
    from demur.serve.retrain._step import Retrainer as Retrainer
    from demur.serve.retrain._step import Served as Served
    from demur.serve.retrain._train import train as train
    from demur.serve.retrain._votes import decide_labels as decide_labels

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "CompareConfig": "_config",
        "ENDED": "_stages",
        "GateReport": "_gate",
        "GatherConfig": "_config",
        "GuardedSlice": "_gate",
        "JudgedSet": "_gate",
        "LabelFile": "_config",
        "LabelsConfig": "_config",
        "NonInferiority": "_noninferior",
        "OPEN": "_stages",
        "Order": "_order",
        "RetrainConfig": "_config",
        "RetrainView": "_routes",
        "Retrainer": "_step",
        "RolloutConfig": "_config",
        "Served": "_step",
        "TaskConfig": "_config",
        "check_task": "_routes",
        "compare": "_compare",
        "decide_labels": "_votes",
        "gather": "_gather",
        "make_step": "_install",
        "noninferiority": "_noninferior",
        "open_retrains": "_stages",
        "pass_gate": "_gate",
        "request_retrain": "_stages",
        "resolve_paths": "_config",
        "router": "_routes",
        "stop_retrain": "_stages",
        "train": "_train",
        "view_retrain": "_routes",
    },
)
