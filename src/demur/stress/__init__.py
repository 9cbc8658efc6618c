"""Attacks on a language model, and what is left of its refusals under them."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress._attacks import ATTACKS as ATTACKS
    from demur.stress._attacks import make_attack as make_attack
    from demur.stress._config import StressConfig as StressConfig
    from demur.stress._config import StressModel as StressModel
    from demur.stress._flops import count_parameters as count_parameters
    from demur.stress._flops import reckon_flops as reckon_flops
    from demur.stress._grid import GridProgress as GridProgress
    from demur.stress._grid import StressResult as StressResult
    from demur.stress._grid import run_stress as run_stress
    from demur.stress._judge_config import JudgeSpec as JudgeSpec
    from demur.stress._load import load_stress as load_stress
    from demur.stress._load import resolve_paths as resolve_paths
    from demur.stress._protocol import Access as Access
    from demur.stress._protocol import Attack as Attack
    from demur.stress._protocol import Cost as Cost
    from demur.stress._protocol import Material as Material
    from demur.stress._protocol import Setting as Setting
    from demur.stress._protocol import Stage as Stage

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ATTACKS": "_attacks",
        "Access": "_protocol",
        "Attack": "_protocol",
        "Cost": "_protocol",
        "GridProgress": "_grid",
        "JudgeSpec": "_judge_config",
        "Material": "_protocol",
        "Setting": "_protocol",
        "Stage": "_protocol",
        "StressConfig": "_config",
        "StressModel": "_config",
        "StressResult": "_grid",
        "count_parameters": "_flops",
        "load_stress": "_load",
        "make_attack": "_attacks",
        "reckon_flops": "_flops",
        "resolve_paths": "_load",
        "run_stress": "_grid",
    },
)
