"""Training builds subwords and network from the rows, reports its progress, and goes on after a kill."""

from __future__ import annotations

import numpy as np
import pytest

from demur.models.neural import NeuralClassifier
from demur.models.neural._train import make_network
from demur.models.neural._vectors import encoder_vectors
from demur.models.neural._vocabulary import subword_texts, train_tokenizer
from demur.tasks import REFUSAL


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_killed_training_resumes_to_the_same_probabilities(small, rows, tmp_path):
    def make():
        return NeuralClassifier(REFUSAL, small("lstm", train={"epochs": 3}), seed=4)

    def kill(progress):
        if progress.epoch > 1.3:
            raise Killed

    whole, killed, resumed, steps = make().fit(rows(24), rows(6)), make(), make(), []
    killed.checkpoint_folder, killed.on_progress = tmp_path, kill
    with pytest.raises(Killed):
        killed.fit(rows(24), rows(6))
    resumed.checkpoint_folder = tmp_path
    resumed.on_progress = lambda progress: steps.append(progress.step)
    resumed.fit(rows(24), rows(6))
    assert min(steps) > 3
    np.testing.assert_allclose(resumed.predict_proba(rows(9)), whole.predict_proba(rows(9)), atol=1e-6)


def test_progress_is_told_after_every_step(small, rows):
    classifier, seen = NeuralClassifier(REFUSAL, small("cnn")), []
    classifier.on_progress = lambda progress: seen.append(progress.step)
    classifier.fit(rows(24))
    assert seen == [1, 2, 3]


def test_a_network_starts_from_the_encoder_s_word_vectors(make_checkpoint, small):
    folder = str(make_checkpoint("bert"))
    classifier = NeuralClassifier(REFUSAL, small("cnn", embeddings="encoder", encoder=folder))
    tokenizer = train_tokenizer(["tea and bread"] * 3, 300, lowercase=True)
    found = make_network(classifier, tokenizer).tokens.weight.detach().numpy()
    expected = encoder_vectors(subword_texts(tokenizer), folder, 16, 0)
    np.testing.assert_array_equal(found[3:], expected[3:])
    assert (found[0] == 0).all()


def test_a_network_has_a_vector_a_subword_and_a_logit_a_class(small):
    tokenizer = train_tokenizer(["tea and bread"] * 3, 300, lowercase=True)
    network = make_network(NeuralClassifier(REFUSAL, small("cnn")), tokenizer)
    assert network.tokens.num_embeddings == tokenizer.get_vocab_size()
    assert network.classifier.out_features == 3
