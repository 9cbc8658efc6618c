"""The whole loop: stress a model, harden it, stress it again with the same seeds, and say what that was worth."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.certify._config import CertifyConfig as CertifyConfig
    from demur.certify._load import load_certify as load_certify
    from demur.certify._run import Certified as Certified
    from demur.certify._run import certify as certify

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Certified": "_run",
        "CertifyConfig": "_config",
        "certify": "_run",
        "load_certify": "_load",
    },
)
