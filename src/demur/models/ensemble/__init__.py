"""The ensemble family: several classifiers of other families that answer as one."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.models.ensemble._config import EnsembleConfig as EnsembleConfig
    from demur.models.ensemble._config import MemberSpec as MemberSpec
    from demur.models.ensemble._diversity import measure_diversity as measure_diversity
    from demur.models.ensemble._model import EnsembleClassifier as EnsembleClassifier

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "EnsembleClassifier": "_model",
        "EnsembleConfig": "_config",
        "MemberSpec": "_config",
        "measure_diversity": "_diversity",
    },
)
