"""The controller: one process of all hosts that does what the guard does beside answering."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.serve.control._config import ControlConfig as ControlConfig
    from demur.serve.control._config import RetentionConfig as RetentionConfig
    from demur.serve.control._leadership import LEASE as LEASE
    from demur.serve.control._leadership import Leadership as Leadership
    from demur.serve.control._loop import Controller as Controller
    from demur.serve.control._meter import ControlMeter as ControlMeter
    from demur.serve.control._meter import PrometheusMeter as PrometheusMeter
    from demur.serve.control._retention import purge as purge
    from demur.serve.control._run import run_controller as run_controller
    from demur.serve.control._step import Step as Step
    from demur.serve.control._steps import STEPS as STEPS
    from demur.serve.control._steps import make_steps as make_steps

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ControlConfig": "_config",
        "ControlMeter": "_meter",
        "Controller": "_loop",
        "LEASE": "_leadership",
        "Leadership": "_leadership",
        "PrometheusMeter": "_meter",
        "RetentionConfig": "_config",
        "STEPS": "_steps",
        "Step": "_step",
        "make_steps": "_steps",
        "purge": "_retention",
        "run_controller": "_run",
    },
)
