"""Which differences are real: paired tests, ranks over folds, class balance, and what the source alone explains."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.analysis._predicted import Loader as Loader
    from demur.analysis._predicted import Predicted as Predicted
    from demur.analysis._predicted import align as align
    from demur.analysis._predicted import predictions_of as predictions_of
    from demur.analysis._predicted import read_predicted as read_predicted

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Loader": "_predicted",
        "Predicted": "_predicted",
        "align": "_predicted",
        "predictions_of": "_predicted",
        "read_predicted": "_predicted",
    },
)
