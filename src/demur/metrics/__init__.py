"""Classification figures, the security score, calibration, intervals, and scikit-learn scorers."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.metrics._bootstrap import Bootstrap as Bootstrap
    from demur.metrics._bootstrap import bootstrap as bootstrap
    from demur.metrics._bootstrap import percentile_interval as percentile_interval
    from demur.metrics._bootstrap import wilson_interval as wilson_interval
    from demur.metrics._calibration import PROBABILITY_FLOOR as PROBABILITY_FLOOR
    from demur.metrics._calibration import ReliabilityCurve as ReliabilityCurve
    from demur.metrics._calibration import brier_score as brier_score
    from demur.metrics._calibration import expected_calibration_error as expected_calibration_error
    from demur.metrics._calibration import log_losses as log_losses
    from demur.metrics._calibration import reliability_curve as reliability_curve
    from demur.metrics._classification import confusion_matrix as confusion_matrix
    from demur.metrics._evaluate import Comparison as Comparison
    from demur.metrics._evaluate import Estimate as Estimate
    from demur.metrics._evaluate import Evaluation as Evaluation
    from demur.metrics._evaluate import compare as compare
    from demur.metrics._evaluate import evaluate as evaluate
    from demur.metrics._measure import LOWER_IS_BETTER as LOWER_IS_BETTER
    from demur.metrics._measure import Measurement as Measurement
    from demur.metrics._measure import metric_names as metric_names
    from demur.metrics._ranking import Ranking as Ranking
    from demur.metrics._ranking import average_precision as average_precision
    from demur.metrics._ranking import recall_at_fpr as recall_at_fpr
    from demur.metrics._ranking import roc_auc as roc_auc
    from demur.metrics._ratio import estimate_ratio as estimate_ratio
    from demur.metrics._scorers import Scorer as Scorer
    from demur.metrics._scorers import make_scorer as make_scorer
    from demur.metrics._scorers import scorers as scorers
    from demur.metrics._security import ScoreResult as ScoreResult
    from demur.metrics._security import security_score as security_score
    from demur.metrics._security import security_scores as security_scores

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Bootstrap": "_bootstrap",
        "Comparison": "_evaluate",
        "Estimate": "_evaluate",
        "Evaluation": "_evaluate",
        "LOWER_IS_BETTER": "_measure",
        "Measurement": "_measure",
        "PROBABILITY_FLOOR": "_calibration",
        "Ranking": "_ranking",
        "ReliabilityCurve": "_calibration",
        "ScoreResult": "_security",
        "Scorer": "_scorers",
        "average_precision": "_ranking",
        "bootstrap": "_bootstrap",
        "brier_score": "_calibration",
        "compare": "_evaluate",
        "confusion_matrix": "_classification",
        "estimate_ratio": "_ratio",
        "evaluate": "_evaluate",
        "expected_calibration_error": "_calibration",
        "log_losses": "_calibration",
        "make_scorer": "_scorers",
        "metric_names": "_measure",
        "percentile_interval": "_bootstrap",
        "recall_at_fpr": "_ranking",
        "reliability_curve": "_calibration",
        "roc_auc": "_ranking",
        "scorers": "_scorers",
        "security_score": "_security",
        "security_scores": "_security",
        "wilson_interval": "_bootstrap",
    },
)
