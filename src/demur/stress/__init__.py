"""Attacks on a language model, and what is left of its refusals under them."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.stress._attacks import ATTACKS as ATTACKS
    from demur.stress._attacks import make_attack as make_attack
    from demur.stress._flops import count_parameters as count_parameters
    from demur.stress._flops import reckon_flops as reckon_flops
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
        "Material": "_protocol",
        "Setting": "_protocol",
        "Stage": "_protocol",
        "count_parameters": "_flops",
        "make_attack": "_attacks",
        "reckon_flops": "_flops",
    },
)
