"""Figures of classification and calibration, their intervals, and how refusals survive tampering."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.metrics._area import carry_forward as carry_forward
    from demur.metrics._area import curve_area as curve_area
    from demur.metrics._bootstrap import Bootstrap as Bootstrap
    from demur.metrics._bootstrap import bootstrap as bootstrap
    from demur.metrics._bootstrap import percentile_interval as percentile_interval
    from demur.metrics._bootstrap import wilson_interval as wilson_interval
    from demur.metrics._breaks import FirstBreaks as FirstBreaks
    from demur.metrics._breaks import first_breaks as first_breaks
    from demur.metrics._c50 import C50 as C50
    from demur.metrics._c50 import c50 as c50
    from demur.metrics._calibration import PROBABILITY_FLOOR as PROBABILITY_FLOOR
    from demur.metrics._calibration import ReliabilityCurve as ReliabilityCurve
    from demur.metrics._calibration import brier_score as brier_score
    from demur.metrics._calibration import expected_calibration_error as expected_calibration_error
    from demur.metrics._calibration import log_losses as log_losses
    from demur.metrics._calibration import reliability_curve as reliability_curve
    from demur.metrics._classification import confusion_matrix as confusion_matrix
    from demur.metrics._curves import DifferenceCurve as DifferenceCurve
    from demur.metrics._curves import PairedDifference as PairedDifference
    from demur.metrics._curves import RateCurve as RateCurve
    from demur.metrics._curves import paired_difference as paired_difference
    from demur.metrics._curves import two_level_bootstrap as two_level_bootstrap
    from demur.metrics._distance import DistanceSlice as DistanceSlice
    from demur.metrics._distance import RepresentationDistance as RepresentationDistance
    from demur.metrics._distance import cosine_distances as cosine_distances
    from demur.metrics._distance import representation_distance as representation_distance
    from demur.metrics._drift_binomial import exact_interval as exact_interval
    from demur.metrics._drift_binomial import exact_lower as exact_lower
    from demur.metrics._drift_blocks import block_test as block_test
    from demur.metrics._drift_cbpe import PerformanceEstimate as PerformanceEstimate
    from demur.metrics._drift_cbpe import estimate_performance as estimate_performance
    from demur.metrics._drift_many import adjust_fdr as adjust_fdr
    from demur.metrics._drift_many import combine_simes as combine_simes
    from demur.metrics._drift_online import AlarmConfig as AlarmConfig
    from demur.metrics._drift_online import AlarmDecision as AlarmDecision
    from demur.metrics._drift_online import AlarmState as AlarmState
    from demur.metrics._drift_online import decide_alarm as decide_alarm
    from demur.metrics._drift_permute import DriftTest as DriftTest
    from demur.metrics._drift_permute import Permutations as Permutations
    from demur.metrics._drift_shares import chi_square_test as chi_square_test
    from demur.metrics._drift_shares import jensen_shannon_distance as jensen_shannon_distance
    from demur.metrics._drift_shares import jensen_shannon_test as jensen_shannon_test
    from demur.metrics._drift_shares import population_stability_index as population_stability_index
    from demur.metrics._drift_shares import stability_test as stability_test
    from demur.metrics._drift_units import find_bursts as find_bursts
    from demur.metrics._drift_units import pick_one_of_each as pick_one_of_each
    from demur.metrics._drift_values import bin_counts as bin_counts
    from demur.metrics._drift_values import kolmogorov_smirnov_test as kolmogorov_smirnov_test
    from demur.metrics._drift_values import stability_of_values as stability_of_values
    from demur.metrics._drift_vectors import ClassifierTestConfig as ClassifierTestConfig
    from demur.metrics._drift_vectors import classifier_test as classifier_test
    from demur.metrics._drift_vectors import mmd_test as mmd_test
    from demur.metrics._evaluate import Comparison as Comparison
    from demur.metrics._evaluate import Estimate as Estimate
    from demur.metrics._evaluate import Evaluation as Evaluation
    from demur.metrics._evaluate import compare as compare
    from demur.metrics._evaluate import evaluate as evaluate
    from demur.metrics._judge import JudgeCalibration as JudgeCalibration
    from demur.metrics._judge import corrected_rate as corrected_rate
    from demur.metrics._judge import rogan_gladen as rogan_gladen
    from demur.metrics._measure import LOWER_IS_BETTER as LOWER_IS_BETTER
    from demur.metrics._measure import Measurement as Measurement
    from demur.metrics._measure import metric_names as metric_names
    from demur.metrics._outcomes import OUTCOMES as OUTCOMES
    from demur.metrics._outcomes import OutcomeRates as OutcomeRates
    from demur.metrics._outcomes import Robustness as Robustness
    from demur.metrics._outcomes import outcome_rates as outcome_rates
    from demur.metrics._outcomes import outcome_values as outcome_values
    from demur.metrics._outcomes import robustness as robustness
    from demur.metrics._ranking import Ranking as Ranking
    from demur.metrics._ranking import average_precision as average_precision
    from demur.metrics._ranking import recall_at_fpr as recall_at_fpr
    from demur.metrics._ranking import roc_auc as roc_auc
    from demur.metrics._ratio import estimate_ratio as estimate_ratio
    from demur.metrics._scaling import ScalingFit as ScalingFit
    from demur.metrics._scaling import ScalingPoint as ScalingPoint
    from demur.metrics._scaling import scaling_fit as scaling_fit
    from demur.metrics._scorers import Scorer as Scorer
    from demur.metrics._scorers import make_scorer as make_scorer
    from demur.metrics._scorers import scorers as scorers
    from demur.metrics._security import ScoreResult as ScoreResult
    from demur.metrics._security import security_score as security_score
    from demur.metrics._security import security_scores as security_scores
    from demur.metrics._sequential import SequentialMean as SequentialMean
    from demur.metrics._sequential import SequentialResult as SequentialResult
    from demur.metrics._sequential_capital import capital_bounds as capital_bounds
    from demur.metrics._sequential_capital import log_capital as log_capital
    from demur.metrics._sequential_difference import SequentialDifference as SequentialDifference
    from demur.metrics._sequential_difference import block_sizes as block_sizes
    from demur.metrics._sequential_quantile import SequentialQuantile as SequentialQuantile
    from demur.metrics._survival import SurvivalCurve as SurvivalCurve
    from demur.metrics._survival import survival as survival

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AlarmConfig": "_drift_online",
        "AlarmDecision": "_drift_online",
        "AlarmState": "_drift_online",
        "Bootstrap": "_bootstrap",
        "C50": "_c50",
        "ClassifierTestConfig": "_drift_vectors",
        "Comparison": "_evaluate",
        "DifferenceCurve": "_curves",
        "DistanceSlice": "_distance",
        "DriftTest": "_drift_permute",
        "Estimate": "_evaluate",
        "Evaluation": "_evaluate",
        "FirstBreaks": "_breaks",
        "JudgeCalibration": "_judge",
        "LOWER_IS_BETTER": "_measure",
        "Measurement": "_measure",
        "OUTCOMES": "_outcomes",
        "OutcomeRates": "_outcomes",
        "PROBABILITY_FLOOR": "_calibration",
        "PairedDifference": "_curves",
        "PerformanceEstimate": "_drift_cbpe",
        "Permutations": "_drift_permute",
        "Ranking": "_ranking",
        "RateCurve": "_curves",
        "ReliabilityCurve": "_calibration",
        "RepresentationDistance": "_distance",
        "Robustness": "_outcomes",
        "ScalingFit": "_scaling",
        "ScalingPoint": "_scaling",
        "ScoreResult": "_security",
        "Scorer": "_scorers",
        "SequentialDifference": "_sequential_difference",
        "SequentialMean": "_sequential",
        "SequentialQuantile": "_sequential_quantile",
        "SequentialResult": "_sequential",
        "SurvivalCurve": "_survival",
        "adjust_fdr": "_drift_many",
        "average_precision": "_ranking",
        "bin_counts": "_drift_values",
        "block_sizes": "_sequential_difference",
        "block_test": "_drift_blocks",
        "bootstrap": "_bootstrap",
        "brier_score": "_calibration",
        "c50": "_c50",
        "capital_bounds": "_sequential_capital",
        "carry_forward": "_area",
        "chi_square_test": "_drift_shares",
        "classifier_test": "_drift_vectors",
        "combine_simes": "_drift_many",
        "compare": "_evaluate",
        "confusion_matrix": "_classification",
        "corrected_rate": "_judge",
        "cosine_distances": "_distance",
        "curve_area": "_area",
        "decide_alarm": "_drift_online",
        "estimate_performance": "_drift_cbpe",
        "estimate_ratio": "_ratio",
        "evaluate": "_evaluate",
        "exact_interval": "_drift_binomial",
        "exact_lower": "_drift_binomial",
        "expected_calibration_error": "_calibration",
        "find_bursts": "_drift_units",
        "first_breaks": "_breaks",
        "jensen_shannon_distance": "_drift_shares",
        "jensen_shannon_test": "_drift_shares",
        "kolmogorov_smirnov_test": "_drift_values",
        "log_capital": "_sequential_capital",
        "log_losses": "_calibration",
        "make_scorer": "_scorers",
        "metric_names": "_measure",
        "mmd_test": "_drift_vectors",
        "outcome_rates": "_outcomes",
        "outcome_values": "_outcomes",
        "paired_difference": "_curves",
        "percentile_interval": "_bootstrap",
        "pick_one_of_each": "_drift_units",
        "population_stability_index": "_drift_shares",
        "recall_at_fpr": "_ranking",
        "reliability_curve": "_calibration",
        "representation_distance": "_distance",
        "robustness": "_outcomes",
        "roc_auc": "_ranking",
        "rogan_gladen": "_judge",
        "scaling_fit": "_scaling",
        "scorers": "_scorers",
        "security_score": "_security",
        "security_scores": "_security",
        "stability_of_values": "_drift_values",
        "stability_test": "_drift_shares",
        "survival": "_survival",
        "two_level_bootstrap": "_curves",
        "wilson_interval": "_bootstrap",
    },
)
