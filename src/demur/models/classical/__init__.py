"""Classical models: TF-IDF of words and characters, and a linear, kernel, Bayesian or tree head."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.models.classical._config import ClassicalConfig as ClassicalConfig
    from demur.models.classical._features import Features as Features
    from demur.models.classical._features import read_features as read_features
    from demur.models.classical._features import write_features as write_features
    from demur.models.classical._folds import grouped_folds as grouped_folds
    from demur.models.classical._heads import balance_weights as balance_weights
    from demur.models.classical._model import ClassicalClassifier as ClassicalClassifier

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ClassicalClassifier": "_model",
        "ClassicalConfig": "_config",
        "Features": "_features",
        "balance_weights": "_heads",
        "grouped_folds": "_folds",
        "read_features": "_features",
        "write_features": "_features",
    },
)
