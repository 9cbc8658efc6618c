"""Training of the neural family: subwords, first vectors, and one call of the training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from demur.data import Records
from demur.models.neural._vectors import encoder_vectors
from demur.models.neural._vocabulary import subword_texts, train_tokenizer
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
    from demur.models.neural._model import NeuralClassifier
    from demur.models.neural._module import TextNetwork
    from demur.tasks import Task
    from demur.training import ValidationScore

_FEW, _SMALL = 5, 0.05
"""Rows, and share of the rows, below which a class may well go without a verdict."""


def fit_neural(
    classifier: NeuralClassifier, train: Records, targets: NDArray[np.int64], valid: Records | None
) -> TrainResult:
    """Build the classifier's tokenizer and network from the training rows and train the network."""
    config, task = classifier.config, classifier.task
    texts = (text for field in classifier.fields for text in train.texts(field))
    tokenizer = train_tokenizer(texts, config.vocabulary, config.lowercase)
    with seeded(classifier.seed):
        module = make_network(classifier, tokenizer)
    module.rule_out(sorted(set(range(len(task.labels))) - set(targets.tolist())))
    classifier.attach(module, tokenizer)
    judged = None
    if valid is not None and len(valid):
        judged = TokenDataset(classifier.encode(valid), valid.targets(task))
    return train_classifier(
        module,
        TokenDataset(classifier.encode(train), targets),
        judged,
        config.train,
        classifier.seed,
        TrainSetup(
            classes=len(task.labels),
            collator=PadCollator(classifier.pad_id, classifier.input_names()),
            score=awake_score(task),
            folder=classifier.checkpoint_folder,
            progress=classifier.on_progress,
            task=task,
            max_tokens=classifier.config.max_tokens,
        ),
    )


def awake_score(task: Task) -> ValidationScore:
    """The task's security score, but 0 for an epoch that never names a class of some size.

    A network that starts from nothing names one class or two at first, and errors it cannot make may then cost
    less than those of a network that has begun to learn: without a word of hard refusal nothing is wrongly called
    one. Such an epoch must not be the one that is kept.
    """
    score = validation_score(task)

    def judge(targets: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
        classes = probabilities.shape[1]
        common = np.bincount(targets, minlength=classes) >= max(_FEW, _SMALL * len(targets))
        named = np.bincount(probabilities.argmax(axis=1), minlength=classes) > 0
        return 0.0 if (common & ~named).any() else score(targets, probabilities)

    return judge


def make_network(classifier: NeuralClassifier, tokenizer: Any) -> TextNetwork:
    """An untrained network for a tokenizer; its subword vectors start as the settings say."""
    import torch

    from demur.models.neural._module import TextNetwork

    config = classifier.config
    network = TextNetwork(config, tokenizer.get_vocab_size(), len(classifier.task.labels))
    if config.embeddings == "encoder":
        vectors = encoder_vectors(subword_texts(tokenizer), config.encoder, config.embedding_dim, classifier.seed)
        with torch.no_grad():
            network.tokens.weight.copy_(torch.from_numpy(vectors))
            network.tokens.weight[0] = 0
    return network
