"""Short names of well-known encoders, and where the hub has them.

What is downloaded, and under which licence, is the publisher's; nothing of it is in demur.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HubModel:
    """One encoder on the Hugging Face hub."""

    hub: str
    why: str
    """What it is good for here."""
    learning_rate: float = 2e-5
    """A rate at which its size is commonly fine-tuned; the preset's default."""
    tokenizer: str | None = None
    """The tokenizer class, where the repository does not say it itself."""
    pickled: bool = False
    """The repository has no safetensors, or no ``tokenizer.json``; both are made in the cache."""


HUB_MODELS: dict[str, HubModel] = {
    "bert": HubModel("google-bert/bert-base-uncased", "the baseline that others are compared with"),
    "distilbert": HubModel(
        "distilbert/distilbert-base-uncased", "BERT at 60 % of its cost, for CPUs", learning_rate=5e-5
    ),
    "roberta": HubModel("FacebookAI/roberta-base", "the usual first choice for English text"),
    "distilroberta": HubModel(
        "distilbert/distilroberta-base", "RoBERTa at half its cost, for CPUs", learning_rate=5e-5
    ),
    "albert": HubModel("albert/albert-base-v2", "BERT's depth in 12 million weights: small on disk"),
    "xlm_roberta": HubModel("FacebookAI/xlm-roberta-base", "100 languages"),
    "xlm_roberta_large": HubModel(
        "FacebookAI/xlm-roberta-large", "100 languages, where a GPU is at hand", learning_rate=1e-5
    ),
    # BERT's architecture with the vocabulary of XLM-R, which its files do not say.
    "minilm_multilingual": HubModel(
        "microsoft/Multilingual-MiniLM-L12-H384",
        "XLM-R distilled to a quarter of its layers' width, for CPUs",
        learning_rate=5e-5,
        tokenizer="XLMRobertaTokenizer",
        pickled=True,
    ),
    "deberta_v3": HubModel(
        "microsoft/deberta-v3-base", "the strongest base-size encoder on short English text", pickled=True
    ),
    "modernbert": HubModel(
        "answerdotai/ModernBERT-base", "long responses: 8192 tokens, fast on GPUs", learning_rate=5e-5
    ),
}
