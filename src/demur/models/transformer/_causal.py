"""What a causal language model needs before it can classify: to be told apart, and marks around its texts."""

from __future__ import annotations

from typing import Any


def is_causal(config: Any) -> bool:
    """Whether a transformers configuration is of a model that only reads to the left.

    Encoders such as BERT can be built as decoders too, so it takes more than a causal form.
    """
    from transformers.models.auto import modeling_auto as known

    kind = config.model_type
    return kind in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in known.MODEL_FOR_MASKED_LM_MAPPING_NAMES


def mark_texts(tokenizer: Any) -> None:
    """End every text with the token that ends a text, where the model's own template would not.

    Most language models' tokenizers put nothing between two texts, which would run the response into the
    prompt, and nothing at the end, where ``head: last`` looks.
    """
    from tokenizers.processors import TemplateProcessing

    end, start = tokenizer.eos_token, tokenizer.bos_token
    if end is None:
        return
    template = tokenizer.backend_tokenizer.encode("a").ids
    lead = [start] if start is not None and template[0] == tokenizer.bos_token_id else []
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=[*lead, "$A", end],
        pair=[*lead, "$A", end, "$B", end],
        special_tokens=[(token, tokenizer.convert_tokens_to_ids(token)) for token in {*lead, end}],
    )
