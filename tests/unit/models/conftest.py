"""Tiny random checkpoints of several architectures, made in process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_WORDS = (
    "the a i can not no yes sorry help with that here is how to make bread tea sure please tell me about "
    "kill process stop word secret rather talk but only a little 1 2 . , ! ? ' \" : first second how do you"
)
ARCHITECTURES = ("bert", "roberta", "distilbert", "modernbert", "deberta-v2", "xlm-roberta", "albert")
_BERT_LIKE = {"bert", "distilbert", "modernbert", "deberta-v2", "albert"}


def _make_tokenizer(architecture: str) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pad, unknown, start, end = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
    if architecture not in _BERT_LIKE:
        start, pad, end, unknown = ("<s>", "<pad>", "</s>", "<unk>")
    specials = [start, pad, end, unknown] if architecture not in _BERT_LIKE else [pad, unknown, start, end]
    vocabulary = {word: number for number, word in enumerate([*specials, *dict.fromkeys(_WORDS.split())])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    doubled = architecture not in _BERT_LIKE
    kind = 1 if architecture in {"bert", "albert", "deberta-v2"} else 0
    middle = f"{end}:0 {end}:0" if doubled else f"{end}:0"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        pair=f"{start}:0 $A:0 {middle} $B:{kind} {end}:{kind}",
        special_tokens=[(name, vocabulary[name]) for name in (start, end)],
    )
    names = ["input_ids", "attention_mask"] + (["token_type_ids"] if kind else [])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        unk_token=unknown,
        cls_token=start,
        sep_token=end,
        model_input_names=names,
        model_max_length=128,
    )


def _make_config(architecture: str, tokenizer: Any) -> Any:
    from transformers import AutoConfig

    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 132,
    }
    if architecture == "distilbert":
        sizes = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "dim": 16, "n_layers": 2}
        sizes |= {"n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 132}
    if architecture == "albert":
        sizes |= {"embedding_size": 8}
    if architecture == "deberta-v2":
        # What the published DeBERTa-v3 checkpoints set.
        sizes |= {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16}
        sizes |= {"norm_rel_ebd": "layer_norm", "share_att_key": True, "type_vocab_size": 0}
    if architecture == "modernbert":
        sizes |= {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    return AutoConfig.for_model(architecture, **sizes)


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from an architecture's name to the folder of a tiny random encoder of it."""
    made: dict[str, Path] = {}

    def make(architecture: str) -> Path:
        if architecture not in made:
            import torch
            from transformers import AutoModel

            folder = tmp_path_factory.mktemp(architecture)
            tokenizer = _make_tokenizer(architecture)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = AutoModel.from_config(_make_config(architecture, tokenizer))
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            made[architecture] = folder
        return made[architecture]

    return make


_OWN_WORDS = (
    "river stone bridge boat",
    "clock wheel spring gear",
    "apple bread honey salt",
    "violin drum flute song",
)
_RULE_WORDS = tuple(words.split()[0] for words in _OWN_WORDS)


def _tasks() -> dict[str, Any]:
    from demur.tasks import JAILBREAK, PROMPT_RISK, REFUSAL, Task

    own = Task(name="tone", labels=("calm", "glad", "stern", "terse"), fields=("response",))
    return {task.name: task for task in (REFUSAL, JAILBREAK, PROMPT_RISK, own)}


@pytest.fixture(scope="session")
def tasks() -> dict[str, Any]:
    """A task of three classes, of two, of prompts alone, and a user's own of four on responses alone."""
    return _tasks()


@pytest.fixture(scope="session")
def labelled() -> Callable[..., Any]:
    """Maker of neutral labelled records: ``labelled(task, n, labels)``; each class has words of its own."""
    from random import Random

    from demur.data import Records

    def make(task: Any, n: int = 60, labels: Any = None) -> Records:
        random, rows = Random(0), []
        for number in range(n):
            label = (labels or task.labels)[number % len(labels or task.labels)]
            words = _OWN_WORDS[task.label_id(label)].split()
            told = " ".join(random.choices(words, k=3) + random.choices(["the", "of", "and", "while"], k=3))
            asked = " ".join(random.choices(["please", "tell", "me", "about", "this", "now"], k=4))
            prompt = f"{told} {asked}?" if task.fields == ("prompt",) else f"{asked}?"
            rows.append({"prompt": prompt, "response": f"{told}. Item {number}", task.name: label})
        return Records.from_rows(rows)

    return make


@pytest.fixture(scope="session")
def own_rules() -> Callable[[Any], dict[str, Any]]:
    """Maker of keyword rules for any task, as settings: the first word of each class gives its label."""

    def make(task: Any) -> dict[str, Any]:
        listed = [
            {"label": label, "field": task.fields[-1], "any_of": [word]}
            for label, word in zip(task.labels[1:], _RULE_WORDS[1:], strict=False)
        ]
        return {"task": task.name, "source": "test", "license": "MIT", "default": task.labels[0], "rules": listed}

    return make


@pytest.fixture(scope="session")
def new_classifier(
    make_checkpoint: Callable[[str], Path],
    own_rules: Callable[[Any], dict[str, Any]],
    labelled: Callable[..., Any],
) -> Callable[..., Any]:
    """Maker of an unfitted classifier of a preset, made small: ``new_classifier(preset, task, seed)``."""
    from demur.config import parse_settings
    from demur.models import find_preset

    def make(preset: str, task: Any, seed: int = 0) -> Any:
        family, settings = find_preset(preset)
        if family.family == "classical":
            settings |= {"trees": 12, "threads": 1}
        elif family.family == "embedding":
            settings |= {"encoder": str(make_checkpoint("bert")), "max_tokens": 32}
        elif family.family in ("transformer", "dual"):
            train = {"epochs": 1, "batch_size": 8}
            settings |= {
                "model": str(make_checkpoint("bert")),
                "max_tokens": 32,
                "prompt_tokens": 12,
                "train": train,
            }
        elif family.family == "neural":
            train = dict(settings.get("train", {})) | {"epochs": 1, "batch_size": 16}
            settings |= {
                **{"embeddings": "random", "vocabulary": 320, "embedding_dim": 16, "filters": 8, "hidden": 12},
                **{"heads": 2, "max_tokens": 48, "prompt_tokens": 16, "train": train},
            }
        elif family.family == "ensemble":
            settings |= {"members": ["tfidf_nb", "tfidf_logreg"], "folds": 2}
        elif family.family == "rules" and task.name == "tone":
            settings |= {"rules": own_rules(task)}
        classifier = family(task, parse_settings(family.config_type, settings), seed)
        if family.wants_companions:
            other = task.model_copy(update={"name": f"not_{task.name}"})
            classifier.companions = {other.name: (other, labelled(other, n=12))}
        return classifier

    return make


@pytest.fixture(scope="session")
def fitted(new_classifier: Callable[..., Any], labelled: Callable[..., Any]) -> Callable[..., Any]:
    """Maker of a classifier of a preset that learned a task, made once: ``fitted(preset, task)``."""
    made: dict[tuple[str, str], Any] = {}

    def make(preset: str, task: Any) -> Any:
        key = (preset, task.name)
        if key not in made:
            made[key] = new_classifier(preset, task).fit(labelled(task))
        return made[key]

    return make


@pytest.fixture
def saved(fitted: Callable[..., Any], tasks: dict[str, Any], tmp_path: Path) -> Path:
    """The folder of a saved ``tfidf_logreg`` for the task ``refusal``."""
    folder = tmp_path / "saved"
    fitted("tfidf_logreg", tasks["refusal"]).save(folder)
    return folder


@pytest.fixture
def ready(
    fitted: Callable[..., Any], labelled: Callable[..., Any], tasks: dict[str, Any], tmp_path: Path
) -> tuple[Path, Any]:
    """A saved classifier that was made ready for use, as its folder and itself; it has the point ``fpr_10``."""
    from copy import copy

    from demur.metrics import Bootstrap
    from demur.models import ReadyConfig, make_ready

    classifier = copy(fitted("tfidf_logreg", tasks["refusal"]))
    config = ReadyConfig(calibration="isotonic", false_positive_rates=(0.1, 0.001), alpha=0.2)
    make_ready(classifier, labelled(tasks["refusal"], n=150), config, intervals=Bootstrap(draws=20))
    classifier.save(tmp_path / "ready")
    return tmp_path / "ready", classifier
