"""Lexical features: named columns of what a reader would look at in an answer, or in a prompt alone.

Counts and places of refusing, contrasting, advising and complying phrases by sentence, the shape of the text,
and its overlap with the prompt; for prompts, how they ask and what of. Every row is judged alone, nothing is
learned here. Words and characters as such are left to TF-IDF, meaning to the encoder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from demur.models._memory import TextMemory

_ABBREVIATIONS = re.compile(r"\b(?:mr|mrs|ms|dr|prof|sr|jr|st|vs|etc|e\.g|i\.e|u\.s)\.$", re.I)
_NUMBER_SIGN, _NUMBER = re.compile(r"\bno\.$", re.I), re.compile(r"\d+(?![\d.):])")
"""``No. 5`` is one thing; ``No. I won't`` and ``No.`` above a numbered list are a refusal and what follows it."""
_BOUNDARY = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9*#-])|\n+")
_LIST_ITEM = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.):]|step \d+)\s*\S", re.I)
_BARE_MARKER = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.):])\s*$")
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_STOP = frozenset(
    "a an and are as at be been but by can could did do does for from had has have he her his how i if in into is "
    "it its just me more my no not of on or our she should so some than that the their them then there these they "
    "this to up us was we were what when where which who why will with would you your".split()
)


def normalise(text: str) -> str:
    """Lower case, straight quotes, single spaces within lines."""
    text = text.replace("\u2019", "'").replace("\u2018", "'").replace("\u201c", '"').replace("\u201d", '"')
    return re.sub(r"[ \t]+", " ", text).strip().lower()


_EXPANSIONS: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (sign, re.compile(pattern), full)
    for sign, pattern, full in (
        ("can't", r"\bcan't\b", "cannot"),
        ("can not", r"\bcan not\b", "cannot"),
        ("won't", r"\bwon't\b", "will not"),
        ("n't", r"n't\b", " not"),
        ("i'm", r"\bi'm\b", "i am"),
        ("'re", r"'re\b", " are"),
        ("'ve", r"'ve\b", " have"),
        ("'ll", r"'ll\b", " will"),
        ("'d", r"'d\b", " would"),
        ("'s", r"\b(it|that|there|here|what)'s\b", r"\1 is"),
    )
)
"""What a text must hold for a pattern to be worth a search, the pattern, and what it stands for."""


def expand(text: str) -> str:
    """Normalised text with contractions written out: ``I can't`` and ``I cannot`` become one term."""
    text = normalise(text)
    for sign, pattern, full in _EXPANSIONS:
        if sign in text:
            text = pattern.sub(full, text)
    return " ".join(text.split())


def split_sentences(text: str) -> list[str]:
    """Split at line ends and at sentence punctuation; keep list markers and abbreviations attached."""
    out: list[str] = []
    for piece in _BOUNDARY.split(text.replace("\u2019", "'")):
        piece = piece.strip()
        if not piece:
            continue
        is_open = out and (_ABBREVIATIONS.search(out[-1]) or _BARE_MARKER.match(out[-1]))
        if is_open or (out and _NUMBER.match(piece) and _NUMBER_SIGN.search(out[-1])):
            out[-1] += " " + piece
        else:
            out.append(piece)
    return out


def find_words(text: str) -> list[str]:
    """Words and numbers, lower case."""
    return _WORD.findall(normalise(text))


_PHRASES: dict[str, str] = {
    "apology": r"\bsorry\b|\bapologi[sz]e\b|\bapologies\b|\bunfortunately\b|\bi regret\b|\bforgive me\b",
    "inability": (
        r"\b(?:i|we) (?:can(?:'t|not| not)|am (?:not able|unable)|'?m (?:not able|unable)|could(?:n't| not)|"
        r"(?:do|does) ?n[o']t have the (?:ability|capability))|\bi'm (?:not able|unable)|"
        r"\bit is not possible for me|\bbeyond my (?:abilit|capabilit)|\bnot (?:able|capable) (?:to|of)\b"
    ),
    "unwilling": (
        r"\b(?:i|we) (?:won't|will not|refuse|decline|must decline|must refuse|shall not|would not|wouldn't|"
        r"do not feel comfortable|don't feel comfortable)|\b(?:i'm|i am) not (?:comfortable|willing|going to)|"
        r"\bcan(?:'t|not) (?:assist|help|provide|fulfil|fulfill|comply|support|endorse|engage|offer|answer|discuss|"
        r"generate|create|write|give)|\bunable to (?:assist|help|provide|fulfil|fulfill|comply|answer|offer|generate)"
    ),
    "identity": (
        r"\bas an? (?:\w+ )?(?:ai|artificial intelligence|language model|assistant|chatbot)\b|\bi(?:'m| am) (?:just |only )?"
        r"an? (?:\w+ )?(?:ai|artificial|language model|assistant|chatbot)|\bmy (?:programming|training|purpose|creators)\b"
    ),
    "policy": (
        r"\bguidelines?\b|\bpolic(?:y|ies)\b|\bterms of\b|\bethic(?:s|al|ally)\b|\bunethical\b|\b(?:in|not )appropriate\b|"
        r"\bviolat\w+|\bprivacy\b|\bconfidential\w*|\bnot (?:acceptable|permitted|allowed)\b"
    ),
    "harm": (
        r"\billegal\w*|\bharm(?:ful|s|ing)?\b|\bdangerous\b|\bunsafe\b|\boffensive\b|\bdiscriminat\w+|\bhateful\b|"
        r"\bunlawful\b|\bcriminal\b|\bimmoral\b|\bagainst the law\b|\bserious consequences\b|\blegal consequences\b"
    ),
    "normative": (
        r"\bit(?:'s| is) (?:also |very |always |crucial|important|essential|never|not (?:ok|okay|right|ethical))|"
        r"\b(?:should|must) (?:not|never|always)\b|\bnever (?:ok|okay|acceptable)\b|\bplease (?:note|remember|do not|don't)\b|"
        r"\bi (?:must|should|want to|have to|need to) (?:emphasi[sz]e|remind|point out|clarify|note|inform|advise)\b"
    ),
    "alternative": (
        r"\binstead\b|\balternative(?:s|ly)?\b|\brather than\b|\b(?:i|we) (?:can|could|would|'?d) (?:suggest|recommend|"
        r"encourage|advise|be happy|be glad|like to)|\bi(?:'d| would) (?:suggest|recommend|encourage|be happy|be glad)|"
        r"\bi (?:suggest|recommend|encourage|urge|advise)\b|\bhappy to help\b|\bhere to help\b"
    ),
    "support": (
        r"\b(?:seek|get|find) (?:\w+ ){0,2}(?:help|support|advice|assistance)\b|\breach out\b|\bprofessional\w*|\bhelpline\b|"
        r"\bhotline\b|\btherapist\b|\bcounsel\w+|\bconsult\w*|\bauthorities\b|\blaw enforcement\b|\bresources\b"
    ),
    "offer": (
        r"\b(?:anything|something) else\b|\blet me know\b|\bfeel free to\b|\bhow (?:can|may) i (?:assist|help)|"
        r"\bdo you have any (?:other|further)|\bif you have (?:any )?(?:other|further|more|specific)|\bmore (?:context|information)\b"
    ),
    "contrast": r"\bhowever\b|\bbut\b|\bthat said\b|\balthough\b|\bthough\b|\bnevertheless\b|\bnonetheless\b|\bwhile i\b|\byet\b",
    "compliance": (
        r"\b(?:sure|certainly|absolutely|of course|gladly|great question)\b|\bhere(?:'s| is| are)\b|\bthe following\b|"
        r"\bbelow (?:is|are)\b|\bfirst(?:ly)?,|\bstep (?:1|one)\b|\bfor example\b|\bto (?:\w+ ){1,4}, (?:you|follow|first)\b"
    ),
    "premise": (
        r"\bthere (?:is|are|was|were)(?:n't| not| no| never)\b|\bno (?:evidence|such|record|information|known)\b|"
        r"\bdo(?:es)?(?:n't| not) (?:have|exist|possess|know|experience|understand)\b|\bnot (?:aware|real|possible|accurate|true)\b|"
        r"\bfiction\w*|\bmisconception\b|\bmyth\b|\bhypothetical\w*|\bi don't have (?:access|personal|any|information)\b"
    ),
    "disclaimer": (
        r"\bdo(?:n't| not) have (?:\w+ )?(?:personal|access|feelings|opinions|beliefs|emotions|preferences|real-time|a body)\b|"
        r"\b(?:not|n't) (?:capable of|programmed to)\b|\bi (?:don't|do not) (?:feel|experience|hold)\b"
    ),
    "question_back": r"\b(?:could|can|would) you (?:please )?(?:clarify|provide|specify|explain|rephrase)|\bwhat do you mean\b",
}
PHRASES: dict[str, re.Pattern[str]] = {name: re.compile(pattern) for name, pattern in _PHRASES.items()}
_REFUSING = ("inability", "unwilling")
_FIRST = re.compile(r"\b(?:i|i'm|i'd|i'll|i've|me|my)\b")
_SECOND = re.compile(r"\b(?:you|your|you're|you'll|yourself)\b")
_NEGATION = re.compile(r"\b(?:not|no|never|cannot|nor|without)\b|n't\b")

_SHAPE = (
    "log_chars",
    "log_words",
    "log_sentences",
    "words_per_sentence",
    "list_items",
    "list_share",
    "lines",
    "code_fence",
    "quoted_share",
    "digit_share",
    "upper_share",
    "question_marks",
    "ends_question",
    "ends_open",
    "first_person",
    "second_person",
    "negation",
    "first_person_start",
    "type_token",
)
_REFUSE = (
    "refuse_any",
    "refuse_share",
    "refuse_first_sentence",
    "refuse_position",
    "refuse_last_position",
    "refuse_log_words_before",
    "refuse_log_words_after",
    "refuse_contrast_after",
    "refuse_no_list",
)
_OVERLAP = (
    "prompt_covered",
    "response_from_prompt",
    "first_sentence_echo",
    "last_sentence_echo",
    "log_new_types",
    "length_ratio",
)
COLUMNS: tuple[str, ...] = (
    _SHAPE + _REFUSE + _OVERLAP + tuple(f"{n}_{k}" for n in PHRASES for k in ("first", "share", "log"))
)

_PROMPT_PHRASES: dict[str, str] = {
    "wh_start": r"^(?:how|what|why|where|when|who|which)\b",
    "aux_start": r"^(?:is|are|can|could|do|does|did|should|would|will|may)\b",
    "task_start": (
        r"^(?:please )?(?:write|give|tell|create|generate|make|explain|describe|list|show|help|develop|provide|compose|"
        r"design|draft|teach|outline|suggest)\b"
    ),
    "how_to": r"\bhow (?:to|do i|do you|can i|can you|could i|would i|should i|might i)\b|\b(?:steps|instructions|guide|tutorial)\b",
    "violence": r"\b(?:kill|murder|attack|bomb|shoot|stab|poison|weapon|gun|explosive|assault|torture|hurt)\w*",
    "crime": (
        r"\b(?:steal|stole|rob|hack|fraud|scam|forge|counterfeit|launder|smuggl|malware|ransomware|phish|bribe|embezzl|"
        r"traffick|burgl|shoplift|pirat)\w*"
    ),
    "hate": r"\b(?:hate|hateful|inferior|subhuman|racist|racism|sexist|stereotyp|bigot|slur|scum|disgusting)\w*",
    "self_harm": r"\b(?:suicid|self-harm|overdos|anorexi)\w*|\b(?:kill|hurt|cut|harm|starve) (?:myself|yourself|themselves)\b",
    "drugs": r"\b(?:drugs?|cocaine|heroin|meth\w*|fentanyl|narcotic\w*|opioid\w*)\b",
    "sexual": r"\b(?:sex\w*|porn\w*|nudes?|erotic\w*|naked|rape\w*)\b",
    "extremism": r"\b(?:terror|extremis|nazi|genocid|propaganda|supremac|disinformation|misinformation|conspirac)\w*",
    "coercion": (
        r"\b(?:manipulat|trick|threaten|harass|bully|bullying|stalk|spy|spying|blackmail|extort|intimidat|humiliat|deceiv|"
        r"impersonat|exploit)\w*"
    ),
    "privacy": (
        r"\b(?:home address|phone number|passwords?|social security|credit card|personal (?:information|data|details)|"
        r"medical records?|private)\b"
    ),
    "evasion": (
        r"\bwithout (?:getting|being|their|anyone|paying|permission|consent)\b|\b(?:undetect|untrace|unnotic)\w*|"
        r"\bget(?:ting)? away with\b|\b(?:avoid|evade|bypass|circumvent)\w*|\b(?:secretly|covertly|anonymously|illegal\w*|fake)\b"
    ),
    "override": r"\b(?:ignore|disregard) (?:\w+ ){0,3}(?:instructions|rules|guidelines)|\bpretend\b|\bjailbreak\b|\bact as\b|\bno restrictions\b|\bunfiltered\b",
    "target": r"\b(?:someone|somebody|people|person|my (?:wife|husband|boss|neighbou?r|co-?worker|ex|girlfriend|boyfriend|child|kids?|friend))\b",
    "protect": r"\b(?:prevent|protect|safe|safely|safety|legal|legally|recover|report|stop|treat|support|defen[cs]e)\b",
    "knowledge": r"\b(?:history|meaning|mean|definition|define|purpose|difference|explain why|example of|origin|cause[sd]?|movie|novel|book|story)\b",
    "self_intent": r"\bi (?:want|need|would like|am going|'m going|plan|wish)\b",
    "profanity": r"\b(?:fuck|shit|bitch|bastard|asshole|cunt)\w*",
}
PROMPT_PHRASES: dict[str, re.Pattern[str]] = {
    name: re.compile(pattern) for name, pattern in _PROMPT_PHRASES.items()
}
_ASKING = (
    "log_words",
    "log_sentences",
    "ends_question",
    "upper_share",
    "first_person",
    "second_person",
    "negation",
)
PROMPT_COLUMNS: tuple[str, ...] = (
    *_ASKING,
    *(f"{name}_any" for name in PROMPT_PHRASES),
    *(f"{name}_log" for name in PROMPT_PHRASES),
)
_ANSWERS, _PROMPTS = TextMemory(60_000), TextMemory(60_000)


def lexical_features(responses: Sequence[str], prompts: Sequence[str]) -> NDArray[np.float64]:
    """One row of ``COLUMNS`` for each answer and the prompt it is to, ``(n, len(COLUMNS))``.

    An answer whose prompt is unknown has the empty text for it.
    """

    def describe(pairs: list[tuple[str, str]]) -> NDArray[np.float64]:
        rows = [_describe(response, prompt) for response, prompt in pairs]
        return np.asarray(rows, dtype=np.float64).reshape(-1, len(COLUMNS))

    return _ANSWERS.rows(list(zip(responses, prompts, strict=True)), describe)


def prompt_features(prompts: Sequence[str]) -> NDArray[np.float64]:
    """One row of ``PROMPT_COLUMNS`` for each prompt, ``(n, len(PROMPT_COLUMNS))``."""

    def describe(texts: list[str]) -> NDArray[np.float64]:
        rows = [_describe_prompt(text) for text in texts]
        return np.asarray(rows, dtype=np.float64).reshape(-1, len(PROMPT_COLUMNS))

    return _PROMPTS.rows(prompts, describe)


def _describe(response: str, prompt: str) -> list[float]:
    sentences = [normalise(sentence) for sentence in split_sentences(response)] or [""]
    listed = [bool(_LIST_ITEM.match(sentence)) for sentence in sentences]
    tokens = find_words(response)
    return [
        *_shape(response, tokens, sentences, listed),
        *_refusals(sentences, tokens, listed),
        *_overlap(prompt, tokens, sentences),
        *_phrases(sentences),
    ]


def _describe_prompt(prompt: str) -> list[float]:
    text = normalise(prompt)
    count = max(1, len(find_words(text)))
    hits = [len(pattern.findall(text)) for pattern in PROMPT_PHRASES.values()]
    return [
        np.log1p(count),
        np.log1p(len(split_sentences(prompt))),
        float(text.endswith("?")),
        sum(letter.isupper() for letter in prompt) / max(1, len(prompt)),
        len(_FIRST.findall(text)) / count,
        len(_SECOND.findall(text)) / count,
        len(_NEGATION.findall(text)) / count,
        *(float(hit > 0) for hit in hits),
        *(float(np.log1p(hit)) for hit in hits),
    ]


def _shape(response: str, tokens: list[str], sentences: list[str], listed: list[bool]) -> list[float]:
    text, chars, count, n = normalise(response), max(1, len(response)), len(sentences), max(1, len(tokens))
    end = text[-1:]
    return [
        np.log1p(len(response)),
        np.log1p(len(tokens)),
        np.log1p(count),
        len(tokens) / count,
        np.log1p(sum(listed)),
        sum(listed) / count,
        np.log1p(response.count("\n")),
        float("```" in response),
        min(1.0, text.count('"') / n),
        sum(letter.isdigit() for letter in response) / chars,
        sum(letter.isupper() for letter in response) / chars,
        np.log1p(text.count("?")),
        float(end == "?"),
        float(bool(end) and end not in ".!?\"')"),
        len(_FIRST.findall(text)) / n,
        len(_SECOND.findall(text)) / n,
        len(_NEGATION.findall(text)) / n,
        float(bool(_FIRST.match(sentences[0]))),
        len(set(tokens)) / n,
    ]


def _refusals(sentences: list[str], tokens: list[str], listed: list[bool]) -> list[float]:
    """Whether, where and how often it refuses, and what stands before and after."""
    count = len(sentences)
    refusing = [any(PHRASES[name].search(sentence) for name in _REFUSING) for sentence in sentences]
    where = [number for number, found in enumerate(refusing) if found]
    if not where:
        return [0.0, 0.0, 0.0, 1.0, 0.0, np.log1p(len(tokens)), np.log1p(len(tokens)), 0.0, 0.0]
    first, last = where[0], where[-1]
    sizes = [len(find_words(sentence)) for sentence in sentences]
    return [
        1.0,
        len(where) / count,
        float(first == 0),
        first / count,
        (last + 1) / count,
        np.log1p(sum(sizes[:first])),
        np.log1p(sum(sizes[last + 1 :])),
        float(any(PHRASES["contrast"].search(sentence) for sentence in sentences[first:])),
        float(not any(listed)),
    ]


def _overlap(prompt: str, tokens: list[str], sentences: list[str]) -> list[float]:
    """How much of the prompt comes back in the response, at its start and at its end."""
    asked_words = find_words(prompt)
    asked, said = _content(asked_words), _content(tokens)
    opening, closing = _content(find_words(sentences[0])), _content(find_words(sentences[-1]))
    wanted = max(1, len(asked))
    return [
        len(asked & said) / wanted,
        len(asked & said) / max(1, len(said)),
        len(asked & opening) / wanted,
        len(asked & closing) / wanted,
        np.log1p(len(said - asked)),
        np.log1p(len(tokens)) - np.log1p(len(asked_words)),
    ]


def _phrases(sentences: list[str]) -> list[float]:
    """For every kind of phrase: in the first sentence, share of sentences, log of their number."""
    values: list[float] = []
    for pattern in PHRASES.values():
        hits = [bool(pattern.search(sentence)) for sentence in sentences]
        values += [float(hits[0]), sum(hits) / len(sentences), np.log1p(sum(hits))]
    return values


def _content(tokens: Sequence[str]) -> set[str]:
    """Stems, roughly: the first six letters of the words that carry meaning."""
    return {token[:6] for token in tokens if token not in _STOP and len(token) > 2}
