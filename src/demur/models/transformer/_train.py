"""Fine-tuning: records to encoded rows, and one call of the training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from demur.data import Records
from demur.models._encoder import resolve_model
from demur.models._pretrained import check_length, input_names, load_tokenizer
from demur.models.transformer._causal import is_causal, mark_texts
from demur.models.transformer._distill import ask_teacher
from demur.models.transformer._fits import check_before_loading
from demur.training import (
    PadCollator,
    TokenDataset,
    TrainResult,
    TrainSetup,
    seeded,
    train_classifier,
    validation_score,
)

if TYPE_CHECKING:
    from torch import nn

    from demur.models.transformer._model import TransformerClassifier


def fit_transformer(
    classifier: TransformerClassifier, train: Records, targets: NDArray[np.int64], valid: Records | None
) -> TrainResult:
    """Build the classifier's module and train it; sets ``module``, ``tokenizer`` and what goes with them."""
    soft = None
    if classifier.config.distill is not None:
        soft = ask_teacher(classifier, train, valid)
    module, tuner = _prepare(classifier)
    task = classifier.task
    judged = None
    if valid is not None and len(valid):
        judged = TokenDataset(classifier.encode(valid), valid.targets(task))
    result = train_classifier(
        module,
        TokenDataset(classifier.encode(train), targets, soft),
        judged,
        classifier.config.train,
        classifier.seed,
        _set_up(classifier, module, targets),
    )
    classifier.finish(tuner)
    return result


def _prepare(classifier: TransformerClassifier) -> tuple[nn.Module, Any]:
    """Build the classifier's module, with adapters where wanted, and attach it with its tokenizer."""
    from demur.models.transformer._lora import add_lora
    from demur.models.transformer._module import build_module, encoder_of

    config = classifier.config
    folder = resolve_model(config.model)
    check_before_loading(folder, config)
    tokenizer, tuner = load_tokenizer(folder), None
    with seeded(classifier.seed):
        module = build_module(folder, config, classifier.task)
        encoder = encoder_of(module)
        if config.tuning == "lora":
            tuner = add_lora(encoder.base_model, config.lora)
    check_length(encoder.config, tokenizer.pad_token_id, config.max_tokens)
    if is_causal(encoder.config):
        mark_texts(tokenizer)
        encoder.config.pad_token_id = tokenizer.pad_token_id
    tokenizer.model_max_length = config.max_tokens
    classifier.attach(module, tokenizer)
    return module, tuner


def _set_up(classifier: TransformerClassifier, module: nn.Module, targets: NDArray[np.int64]) -> TrainSetup:
    from demur.models.transformer._module import encoder_of
    from demur.models.transformer._rates import layer_rates
    from demur.training import DistillationLoss, make_loss

    config, task = classifier.config, classifier.task
    loss, rates, encoder = None, None, encoder_of(module)
    if config.distill is not None:
        loss = DistillationLoss(
            make_loss(config.train, targets, len(task.labels), task),
            temperature=config.distill.temperature,
            hard_share=1 - config.distill.weight,
        )
    if config.layer_decay < 1 or config.head_rate != 1:
        rates = layer_rates(module, encoder, config.layer_decay, config.head_rate)
    return TrainSetup(
        classes=len(task.labels),
        collator=PadCollator(classifier.pad_id, input_names(encoder, classifier.tokenizer)),
        score=validation_score(task),
        folder=classifier.checkpoint_folder,
        progress=classifier.on_progress,
        task=task,
        loss=loss,
        rates=rates,
        max_tokens=config.max_tokens,
    )
