import numpy as np
import pytest
import torch

from demur.data import Records
from demur.errors import UsageError
from demur.models._torch import TokenizedClassifier, TorchClassifier, TorchConfig
from demur.tasks import JAILBREAK
from demur.training import RowEncoder, TokenLimits


class CountTokens(torch.nn.Module):
    """Its logits are the number of a row's tokens and minus it, so every row is known by its answer."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.1))
        self.batches = []

    def forward(self, input_ids, attention_mask):
        self.batches.append(tuple(input_ids.shape))
        counts = attention_mask.sum(dim=1) * self.scale
        return {"logits": torch.stack([counts, -counts], dim=1)}


class Toy(TorchClassifier[TorchConfig]):
    family = "toy"
    config_type = TorchConfig
    pad_id = 0

    def input_names(self):
        return ("input_ids", "attention_mask")

    def _fit(self, train, targets, valid):
        raise AssertionError

    def _write(self, folder):
        raise AssertionError

    def _read(self, folder):
        raise AssertionError


@pytest.fixture
def toy():
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "tea": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    classifier = Toy(JAILBREAK, TorchConfig(predict_rows=2))
    classifier._module, classifier._rows = CountTokens(), RowEncoder(tokenizer, classifier.config.limits)
    return classifier


def records(counts):
    return Records.from_rows([{"prompt": "tea", "response": " ".join(["tea"] * count)} for count in counts])


def test_rows_keep_their_order_though_similar_lengths_share_a_batch(toy):
    counts = np.array([9, 1, 5, 2, 8, 1])
    logits = toy._logits(records(counts))
    np.testing.assert_allclose(logits[:, 0], 0.1 * (counts + 1), rtol=1e-6)  # a token of the prompt each


def test_a_forward_pass_takes_no_more_rows_than_configured(toy):
    toy._logits(records([3, 1, 2, 4, 5]))
    assert max(rows for rows, _ in toy.module.batches) == 2


def test_probabilities_are_the_softmax_of_the_logits(toy):
    found = toy.predict_proba(records([2]))
    np.testing.assert_allclose(found, torch.tensor([[0.3, -0.3]]).softmax(dim=1).numpy(), rtol=1e-6)


def test_no_record_gives_no_row(toy):
    assert toy.predict_proba(records([1]).take([])).shape == (0, 2)


def test_the_settings_say_which_texts_are_read(toy):
    assert toy.fields == JAILBREAK.fields
    alone = Toy(JAILBREAK, TorchConfig(fields=("response",)))
    assert alone.fields == ("response",)


def test_the_limits_are_the_part_of_the_settings_that_cuts_rows():
    config = TorchConfig(max_tokens=40, prompt_tokens=10, response_cut="middle")
    assert config.limits == TokenLimits(max_tokens=40, prompt_tokens=10, response_cut="middle")


def test_an_unfitted_classifier_says_what_to_do():
    with pytest.raises(UsageError, match="neither fitted nor loaded; call fit"):
        Toy(JAILBREAK).predict_proba(records([1]))


def test_pad_and_input_names_are_for_a_family_to_say():
    assert {"pad_id", "input_names"} <= TorchClassifier.__abstractmethods__
    assert "pad_id" not in TokenizedClassifier.__abstractmethods__
