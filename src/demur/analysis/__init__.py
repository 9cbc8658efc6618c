"""Which differences are real: paired tests, ranks over folds, class balance, what the source alone explains."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.analysis._analyse import analyse_task as analyse_task
    from demur.analysis._analyse import check_balance as check_balance
    from demur.analysis._analyse import finished_models as finished_models
    from demur.analysis._balance import Balance as Balance
    from demur.analysis._balance import BalanceTest as BalanceTest
    from demur.analysis._balance import independence_test as independence_test
    from demur.analysis._baselines import Baseline as Baseline
    from demur.analysis._baselines import label_shares as label_shares
    from demur.analysis._baselines import score_baselines as score_baselines
    from demur.analysis._compare import COMPARED as COMPARED
    from demur.analysis._compare import ProtocolStatistics as ProtocolStatistics
    from demur.analysis._compare import Standing as Standing
    from demur.analysis._compare import compare_task as compare_task
    from demur.analysis._config import AnalysisConfig as AnalysisConfig
    from demur.analysis._confound import SourceTelling as SourceTelling
    from demur.analysis._confound import check_confound as check_confound
    from demur.analysis._detectable import Detectable as Detectable
    from demur.analysis._detectable import smallest_detectable as smallest_detectable
    from demur.analysis._folds import CorrectedT as CorrectedT
    from demur.analysis._folds import corrected_t as corrected_t
    from demur.analysis._holm import adjust_holm as adjust_holm
    from demur.analysis._mcnemar import McNemar as McNemar
    from demur.analysis._mcnemar import mcnemar as mcnemar
    from demur.analysis._mcnemar import obuchowski_statistic as obuchowski_statistic
    from demur.analysis._mcnemar import sign_flip_p as sign_flip_p
    from demur.analysis._pairs import Difference as Difference
    from demur.analysis._pairs import Pair as Pair
    from demur.analysis._pairs import compare_pairs as compare_pairs
    from demur.analysis._plain import to_plain as to_plain
    from demur.analysis._predicted import Loader as Loader
    from demur.analysis._predicted import Predicted as Predicted
    from demur.analysis._predicted import align as align
    from demur.analysis._predicted import predictions_of as predictions_of
    from demur.analysis._predicted import read_predicted as read_predicted
    from demur.analysis._ranks import Ranks as Ranks
    from demur.analysis._ranks import critical_difference as critical_difference
    from demur.analysis._ranks import rank_models as rank_models
    from demur.analysis._runs import compare_run as compare_run
    from demur.analysis._runs import compare_runs as compare_runs
    from demur.analysis._runs import read_results as read_results
    from demur.analysis._runs import run_settings as run_settings
    from demur.analysis._swap import swap_p_values as swap_p_values

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AnalysisConfig": "_config",
        "Balance": "_balance",
        "BalanceTest": "_balance",
        "Baseline": "_baselines",
        "COMPARED": "_compare",
        "CorrectedT": "_folds",
        "Detectable": "_detectable",
        "Difference": "_pairs",
        "Loader": "_predicted",
        "McNemar": "_mcnemar",
        "Pair": "_pairs",
        "Predicted": "_predicted",
        "ProtocolStatistics": "_compare",
        "Ranks": "_ranks",
        "SourceTelling": "_confound",
        "Standing": "_compare",
        "adjust_holm": "_holm",
        "align": "_predicted",
        "analyse_task": "_analyse",
        "check_balance": "_analyse",
        "check_confound": "_confound",
        "compare_pairs": "_pairs",
        "compare_run": "_runs",
        "compare_runs": "_runs",
        "compare_task": "_compare",
        "corrected_t": "_folds",
        "critical_difference": "_ranks",
        "finished_models": "_analyse",
        "independence_test": "_balance",
        "label_shares": "_baselines",
        "mcnemar": "_mcnemar",
        "obuchowski_statistic": "_mcnemar",
        "predictions_of": "_predicted",
        "rank_models": "_ranks",
        "read_predicted": "_predicted",
        "read_results": "_runs",
        "run_settings": "_runs",
        "score_baselines": "_baselines",
        "sign_flip_p": "_mcnemar",
        "smallest_detectable": "_detectable",
        "swap_p_values": "_swap",
        "to_plain": "_plain",
    },
)
