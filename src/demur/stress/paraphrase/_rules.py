"""Rules that put a request in other words: synonyms, courtesy, the passive voice, another order of its parts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.stress.paraphrase._config import WordFile

Rule = Callable[[str, WordFile, np.random.Generator], str]
_OWN = Path(__file__).with_name("words.yaml")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_CLAUSE = re.compile(
    r"^(?P<main>[^,;:.!?]{8,}?)\s+(?P<rest>(?:without|using|with|from|at|in|by|for)\s[^,;:.!?]{2,})(?P<end>[.!?]*)$",
    re.IGNORECASE,
)


def read_words(file: str | None = None) -> WordFile:
    """The words of the rules.

    Parameters
    ----------
    file
        A YAML file; None: demur's own.

    Raises
    ------
    ConfigError
        It cannot be read, or lacks something.
    """
    path = Path(file).expanduser() if file else _OWN
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"the words in {path.name} cannot be read ({type(error).__name__}); give a YAML file with source, "
            "license, synonyms, before, after and participles",
            key="file",
        ) from error
    return parse_settings(WordFile, values if isinstance(values, dict) else {}, path.name)


def paraphrase(text: str, words: WordFile, rules: int, numbers: tuple[int, int]) -> str:
    """A request in other words; never the same, and for the same text and numbers always the same.

    Parameters
    ----------
    text
        The request.
    words
        See :func:`read_words`.
    rules
        How many are applied, where as many apply.
    numbers
        Seed, and number of the variant.
    """
    own = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    random = np.random.default_rng([*numbers, own])
    found, done = text, 0
    for place in random.permutation(len(RULES)):
        if done == rules:
            break
        changed = RULES[place](found, words, random)
        done += changed != found
        found = changed
    return found if found != text else add_courtesy(text, words, random)


def swap_words(text: str, words: WordFile, random: np.random.Generator) -> str:
    """Every phrase of the list by another of its row; what is no word of the list stays."""
    phrases = sorted(words.synonyms, key=len, reverse=True)
    if not phrases:
        return text
    pattern = re.compile(rf"\b({'|'.join(re.escape(one) for one in phrases)})\b", re.IGNORECASE)

    def swap(match: re.Match[str]) -> str:
        options = words.synonyms[match[0].lower()]
        return _as_written(str(options[int(random.integers(len(options)))]), match[0])

    return pattern.sub(swap, text)


def add_courtesy(text: str, words: WordFile, random: np.random.Generator) -> str:
    """Something kind before or after."""
    if random.random() < 0.5:
        return f"{words.before[int(random.integers(len(words.before)))]} {text}"
    return f"{text} {words.after[int(random.integers(len(words.after)))]}"


def make_passive(text: str, words: WordFile, random: np.random.Generator) -> str:
    """``how to make tea`` as ``how tea is made``; texts of any other shape stay."""
    verbs = "|".join(re.escape(one) for one in words.participles)
    shape = rf"^\s*(?:how\s+(?:to|do\s+i|can\s+i|would\s+i|does\s+one))\s+({verbs})\s+([^,;:.!?]+?)\s*([?.!]*)\s*$"
    match = re.match(shape, text, re.IGNORECASE)
    if match is None:
        return text
    verb, thing, end = match.groups()
    return f"How {'are' if _is_plural(thing) else 'is'} {thing} {words.participles[verb.lower()]}{end or '?'}"


def move_to_past(text: str, words: WordFile, random: np.random.Generator) -> str:
    """``how to make tea`` as ``How did people make tea?``; texts of any other shape stay."""
    match = re.match(r"^\s*how\s+(?:to|do\s+i|can\s+i|would\s+i)\s+([^;:.!?]+?)\s*[?.!]*\s*$", text, re.IGNORECASE)
    return f"How did people {match[1]} in the past?" if match else text


def reorder(text: str, words: WordFile, random: np.random.Generator) -> str:
    """The last of several sentences first; of a single one, its last phrase with a preposition."""
    sentences = _SENTENCE.split(text.strip())
    if len(sentences) > 1:
        last = sentences[-1]
        ended = last if last[-1:] in ".!?" else f"{last}."
        return " ".join([ended, *sentences[:-1]])
    match = _CLAUSE.match(text.strip())
    if match is None:
        return text
    main, rest = match["main"], match["rest"]
    return f"{rest[:1].upper()}{rest[1:]}, {main[:1].lower()}{main[1:]}{match['end']}"


def _as_written(new: str, old: str) -> str:
    return new[:1].upper() + new[1:] if old[:1].isupper() else new


def _is_plural(thing: str) -> bool:
    last = thing.split()[-1].lower()
    return last.endswith("s") and not last.endswith(("ss", "us", "is"))


RULES: tuple[Rule, ...] = (swap_words, add_courtesy, make_passive, move_to_past, reorder)
"""In no order of importance: which come first is drawn."""
