"""Watching whether the world changes: samples of inputs, windows, drift tests, escalating validation, alerts."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.serve.monitor._alerts import Alert as Alert
    from demur.serve.monitor._alerts import Alerter as Alerter
    from demur.serve.monitor._alerts import is_signed as is_signed
    from demur.serve.monitor._config import AlertConfig as AlertConfig
    from demur.serve.monitor._config import MonitorConfig as MonitorConfig
    from demur.serve.monitor._escalate import REQUESTED as REQUESTED
    from demur.serve.monitor._install import install as install
    from demur.serve.monitor._install import make_step as make_step
    from demur.serve.monitor._judges import JUDGES as JUDGES
    from demur.serve.monitor._judges import Judge as Judge
    from demur.serve.monitor._judges import JudgedText as JudgedText
    from demur.serve.monitor._reference import Reference as Reference
    from demur.serve.monitor._reference import make_reference as make_reference
    from demur.serve.monitor._reference import read_reference as read_reference
    from demur.serve.monitor._reference import save_reference as save_reference
    from demur.serve.monitor._reference_admin import take_reference as take_reference
    from demur.serve.monitor._routes import router as router
    from demur.serve.monitor._sampler import Answered as Answered
    from demur.serve.monitor._sampler import InputSampler as InputSampler
    from demur.serve.monitor._sampler import SamplerStats as SamplerStats
    from demur.serve.monitor._step import Monitor as Monitor
    from demur.serve.monitor._step import StepReport as StepReport
    from demur.serve.monitor._step import step as step
    from demur.serve.monitor._views import EscalationView as EscalationView
    from demur.serve.monitor._views import RunView as RunView
    from demur.serve.monitor._views import TaskView as TaskView
    from demur.serve.monitor._views import show_tasks as show_tasks

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Alert": "_alerts",
        "AlertConfig": "_config",
        "Alerter": "_alerts",
        "Answered": "_sampler",
        "EscalationView": "_views",
        "InputSampler": "_sampler",
        "JUDGES": "_judges",
        "Judge": "_judges",
        "JudgedText": "_judges",
        "Monitor": "_step",
        "MonitorConfig": "_config",
        "REQUESTED": "_escalate",
        "Reference": "_reference",
        "RunView": "_views",
        "SamplerStats": "_sampler",
        "StepReport": "_step",
        "TaskView": "_views",
        "install": "_install",
        "is_signed": "_alerts",
        "make_reference": "_reference",
        "make_step": "_install",
        "read_reference": "_reference",
        "router": "_routes",
        "save_reference": "_reference",
        "show_tasks": "_views",
        "step": "_step",
        "take_reference": "_reference_admin",
    },
)
