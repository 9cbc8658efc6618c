"""The transformer family: fine-tuning any encoder or causal language model of transformers."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.models.transformer._config import TransformerConfig as TransformerConfig
    from demur.models.transformer._model import TransformerClassifier as TransformerClassifier

__getattr__, __dir__, __all__ = attach(
    __name__, {"TransformerClassifier": "_model", "TransformerConfig": "_config"}
)
