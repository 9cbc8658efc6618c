"""The neural family: small networks over subwords of their own, trained from nothing."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.models.neural._config import NeuralConfig as NeuralConfig
    from demur.models.neural._config import NeuralTrainConfig as NeuralTrainConfig
    from demur.models.neural._model import NeuralClassifier as NeuralClassifier

__getattr__, __dir__, __all__ = attach(
    __name__, {"NeuralClassifier": "_model", "NeuralConfig": "_config", "NeuralTrainConfig": "_config"}
)
