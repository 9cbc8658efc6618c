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
            score=validation_score(task),
            folder=classifier.checkpoint_folder,
            progress=classifier.on_progress,
            task=task,
            max_tokens=classifier.config.max_tokens,
        ),
    )


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
