"""Tiny random checkpoints with the files of published ones: real little tokenizers, and the classes they name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demur.data import Records

_TEXT = [
    "how to make bread and tea , please ?",
    "yes , here is how : first the bread .",
    "sorry , no . i can not help with that .",
    "rather tea , but only a little today !",
    "tell me about the secret word, now 1 2 3",
]
_SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 132,
}
_XLM = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
_BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_DEBERTA = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
_ALBERT = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
_MODERN = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
_RELATIVE = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 16,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "type_vocab_size": 0,
    "layer_norm_eps": 1e-7,
}
PUBLISHED: dict[str, tuple[str, str, str, list[str], dict[str, Any]]] = {
    # short name: (architecture, tokenizer class, kind of vocabulary, special tokens, settings of its own)
    "bert": ("bert", "BertTokenizer", "wordpiece", _BERT, {}),
    "distilbert": (
        "distilbert",
        "DistilBertTokenizer",
        "wordpiece",
        _BERT,
        {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    ),
    "roberta": ("roberta", "RobertaTokenizer", "bpe", _XLM, {"type_vocab_size": 1}),
    "distilroberta": ("roberta", "RobertaTokenizer", "bpe", _XLM, {"type_vocab_size": 1}),
    "albert": ("albert", "AlbertTokenizer", "unigram", _ALBERT, {"embedding_size": 8}),
    "xlm_roberta": ("xlm-roberta", "XLMRobertaTokenizer", "unigram", _XLM, {"type_vocab_size": 1}),
    "xlm_roberta_large": ("xlm-roberta", "XLMRobertaTokenizer", "unigram", _XLM, {"type_vocab_size": 1}),
    "minilm_multilingual": ("bert", "XLMRobertaTokenizer", "unigram", _XLM, {}),
    "deberta_v3": ("deberta-v2", "DebertaV2Tokenizer", "unigram", _DEBERTA, _RELATIVE),
    "modernbert": (
        "modernbert",
        "PreTrainedTokenizerFast",
        "bpe",
        _MODERN,
        {"global_attn_every_n_layers": 2, "local_attention": 8},
    ),
}


def _train_tokenizer(kind: str, specials: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    unknown = next(token for token in specials if "unk" in token.lower())
    options: dict[str, Any] = {"vocab_size": 300, "special_tokens": specials, "show_progress": False}
    trainer: Any
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token=unknown))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(**options)
    elif kind == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **options)
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(unk_token=unknown, **options | {"vocab_size": 90})
    tokenizer.train_from_iterator(_TEXT * 20, trainer)
    return tokenizer


def _write_tokenizer(folder: Path, architecture: str, kind: str, specials: list[str]) -> Any:
    from tokenizers import processors

    tokenizer = _train_tokenizer(kind, specials)
    start = next(token for token in specials if token in ("<s>", "[CLS]"))
    end = next(token for token in specials if token in ("</s>", "[SEP]"))
    middle = [end, end] if start == "<s>" else [end]
    second = 1 if architecture in ("bert", "albert", "deberta-v2") and start != "<s>" else 0
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[start, "$A", end],
        pair=[start, "$A", *middle, f"$B:{second}", f"{end}:{second}"],
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (start, end)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


@pytest.fixture(scope="session")
def make_published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from a short name to the folder of a tiny checkpoint with the files of the published one."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name in made:
            return made[name]
        import torch
        from transformers import AutoConfig, AutoModel

        architecture, kind, vocabulary, specials, own = PUBLISHED[name]
        folder = tmp_path_factory.mktemp(name)
        tokenizer = _write_tokenizer(folder, architecture, vocabulary, specials)
        roles = ("pad", "unk", "mask")
        named = {f"{role}_token": next(one for one in specials if role in one.lower()) for role in roles}
        named |= {"cls_token": next(one for one in specials if one in ("<s>", "[CLS]"))}
        named |= {"sep_token": next(one for one in specials if one in ("</s>", "[SEP]"))}
        config = {"tokenizer_class": kind, "model_max_length": 128} | named
        if kind == "PreTrainedTokenizerFast":
            config["model_input_names"] = ["input_ids", "attention_mask"]
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        ids = {"pad_token_id": tokenizer.token_to_id(named["pad_token"])}
        if architecture == "modernbert":
            ids |= {"cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
        sizes = {} if architecture == "distilbert" else _SIZES
        settings = {"max_position_embeddings": 132, "vocab_size": tokenizer.get_vocab_size()} | sizes | own | ids
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            AutoModel.from_config(AutoConfig.for_model(architecture, **settings)).save_pretrained(folder)
        made[name] = folder
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny llama with a language-model head, a byte-level vocabulary, and no token for padding."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("llama")
    tokenizer = _train_tokenizer("bpe", ["<unk>", "<|im_start|>", "<|im_end|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        num_key_value_heads=1,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=None,
        tie_word_embeddings=True,
        **_SIZES,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def refusals() -> Callable[[int], Records]:
    """Maker of labelled records of the task ``refusal``, of different lengths."""
    answers = {
        "no_refusal": "yes , here is how",
        "hard_refusal": "sorry , no .",
        "soft_refusal": "rather tea , but",
    }

    def make(count: int) -> Records:
        listed = [
            {
                "prompt": f"how to make {('bread', 'tea')[number % 2]} ?",
                "response": answers[label] + " only a little" * (number % 4),
                "refusal": label,
            }
            for number in range(count)
            for label in [list(answers)[number % 3]]
        ]
        return Records.from_rows(listed)

    return make
