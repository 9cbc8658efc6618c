"""Subwords learned from the training rows: byte-level pairs, so that every text can be written with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from demur.errors import require

SPECIALS = ("[PAD]", "[CLS]", "[SEP]")
"""Their ids are their places; the padding id is 0."""
_LEAST_COUNT = 2
_QUOTES = {"’": "'", "‘": "'", "“": '"', "”": '"'}


def train_tokenizer(texts: Iterable[str], size: int, lowercase: bool) -> Any:
    """Learn byte pairs from texts; the same texts in the same order give the same tokenizer.

    The 256 bytes are always in it, so nothing is unknown. A row is ``[CLS] text [SEP]``, or
    ``[CLS] prompt [SEP] response [SEP]`` with segment 1 from the response on.

    Parameters
    ----------
    texts
        What to learn from.
    size
        Most subwords, special ones and bytes included.
    lowercase
        Read capitals as small letters.

    Returns
    -------
    tokenizers.Tokenizer

    References
    ----------
    Sennrich et al., "Neural machine translation of rare words with subword units", ACL 2016, section 3.2.
    """
    tokenizers = require("tokenizers", extra="torch")
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = tokenizers.Tokenizer(models.BPE())
    steps = [normalizers.NFKC(), *(normalizers.Replace(old, new) for old, new in _QUOTES.items())]
    tokenizer.normalizer = normalizers.Sequence([*steps, *([normalizers.Lowercase()] if lowercase else [])])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=_LEAST_COUNT,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(name, SPECIALS.index(name)) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def subword_texts(tokenizer: Any) -> list[str]:
    """What each token id stands for, without spaces; empty for special tokens and parts of letters."""
    texts = []
    for number in range(tokenizer.get_vocab_size()):
        text = "" if number < len(SPECIALS) else tokenizer.decode([number]).strip()
        texts.append("" if "\ufffd" in text else text)
    return texts
