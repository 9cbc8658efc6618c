"""The torch training loop, its losses and its data, shared by all torch families."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.training._balance import WeightChange as WeightChange
    from demur.training._balance import WeightController as WeightController
    from demur.training._balance import balanced_weights as balanced_weights
    from demur.training._callbacks import GiveBackHeap as GiveBackHeap
    from demur.training._checkpoint import load_weights as load_weights
    from demur.training._checkpoint import prepare_folder as prepare_folder
    from demur.training._checkpoint import save_weights as save_weights
    from demur.training._config import BalanceConfig as BalanceConfig
    from demur.training._config import TrainConfig as TrainConfig
    from demur.training._data import PadCollator as PadCollator
    from demur.training._data import TokenDataset as TokenDataset
    from demur.training._data import pad_rows as pad_rows
    from demur.training._data import plan_batches as plan_batches
    from demur.training._losses import ClassLoss as ClassLoss
    from demur.training._losses import DistillationLoss as DistillationLoss
    from demur.training._losses import FocalLoss as FocalLoss
    from demur.training._losses import Loss as Loss
    from demur.training._losses import MultiTaskLoss as MultiTaskLoss
    from demur.training._losses import WeightedCrossEntropy as WeightedCrossEntropy
    from demur.training._losses import make_loss as make_loss
    from demur.training._losses import make_multi_loss as make_multi_loss
    from demur.training._memory import Activations as Activations
    from demur.training._memory import MemoryEstimate as MemoryEstimate
    from demur.training._memory import ModelShape as ModelShape
    from demur.training._memory import ParameterCounts as ParameterCounts
    from demur.training._memory import check_memory as check_memory
    from demur.training._memory import count_parameters as count_parameters
    from demur.training._memory import estimate_memory as estimate_memory
    from demur.training._memory import measure_activations as measure_activations
    from demur.training._memory import read_shape as read_shape
    from demur.training._runtime import pick_device as pick_device
    from demur.training._runtime import quiet_transformers as quiet_transformers
    from demur.training._runtime import seeded as seeded
    from demur.training._scores import ValidationScore as ValidationScore
    from demur.training._scores import multi_task_score as multi_task_score
    from demur.training._scores import validation_score as validation_score
    from demur.training._tokens import RowEncoder as RowEncoder
    from demur.training._tokens import TokenLimits as TokenLimits
    from demur.training._tokens import TokenRows as TokenRows
    from demur.training._trainer import Progress as Progress
    from demur.training._trainer import TrainResult as TrainResult
    from demur.training._trainer import TrainSetup as TrainSetup
    from demur.training._trainer import train_classifier as train_classifier

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Activations": "_memory",
        "BalanceConfig": "_config",
        "ClassLoss": "_losses",
        "DistillationLoss": "_losses",
        "FocalLoss": "_losses",
        "GiveBackHeap": "_callbacks",
        "Loss": "_losses",
        "MemoryEstimate": "_memory",
        "ModelShape": "_memory",
        "MultiTaskLoss": "_losses",
        "PadCollator": "_data",
        "ParameterCounts": "_memory",
        "Progress": "_trainer",
        "RowEncoder": "_tokens",
        "TokenDataset": "_data",
        "TokenLimits": "_tokens",
        "TokenRows": "_tokens",
        "TrainConfig": "_config",
        "TrainResult": "_trainer",
        "TrainSetup": "_trainer",
        "ValidationScore": "_scores",
        "WeightChange": "_balance",
        "WeightController": "_balance",
        "WeightedCrossEntropy": "_losses",
        "balanced_weights": "_balance",
        "check_memory": "_memory",
        "count_parameters": "_memory",
        "estimate_memory": "_memory",
        "load_weights": "_checkpoint",
        "make_loss": "_losses",
        "make_multi_loss": "_losses",
        "measure_activations": "_memory",
        "multi_task_score": "_scores",
        "pad_rows": "_data",
        "pick_device": "_runtime",
        "plan_batches": "_data",
        "prepare_folder": "_checkpoint",
        "quiet_transformers": "_runtime",
        "read_shape": "_memory",
        "save_weights": "_checkpoint",
        "seeded": "_runtime",
        "train_classifier": "_trainer",
        "validation_score": "_scores",
    },
)
