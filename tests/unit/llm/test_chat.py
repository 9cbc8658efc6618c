"""Templates: what a model reads, and exactly which tokens of it are the assistant's."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demur.errors import ConfigError, UsageError
from demur.llm import Chat, Conversation, Message
from demur.llm._chat import find_template

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "chatml": CHATML,
    "chatml with a system message of its own": "<|im_start|>system\nbe kind<|im_end|>\n" + CHATML,
    "brackets": (
        "{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['content'] | trim }} <|end|>"
        "{% else %}[{{ m['role'] }}] {{ m['content'] }} [/]{% endif %}{% endfor %}"
    ),
    "plain words": (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    ),
}
WANTED = {
    "chatml": "{0}<|im_end|>",
    "chatml with a system message of its own": "{0}<|im_end|>",
    "brackets": " {0} <|end|>",
    "plain words": "{0}\n\n",
}
TALK = Conversation(
    (
        Message("user", "the cat sat"),
        Message("assistant", "here is tea"),
        Message("user", "and bread"),
        Message("assistant", "sorry no"),
    )
)


def said(chat, row):
    """The assistant's tokens as text, a string for each stretch."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.assistant.astype(int), [0]])))
    return [chat.tokenizer.decode(row.ids[a:b]) for a, b in zip(edges[::2], edges[1::2], strict=True)]


@pytest.fixture(scope="module")
def chat(make_tokenizer):
    return Chat(make_tokenizer(), CHATML)


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_mask_is_what_the_assistant_says_with_the_end_of_its_turn(name, make_tokenizer):
    chat = Chat(make_tokenizer(), TEMPLATES[name])
    assert said(chat, chat.encode(TALK)) == [WANTED[name].format(text) for text in ("here is tea", "sorry no")]


@pytest.mark.parametrize("name", TEMPLATES)
def test_tokens_are_those_of_the_rendered_text(name, make_tokenizer):
    chat = Chat(make_tokenizer(), TEMPLATES[name])
    text = chat.render(TALK, generation_prompt=False)
    assert chat.tokenizer.decode(chat.encode(TALK).ids) == text


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_row_begins_with_the_prompt_it_answers(name, make_tokenizer):
    chat = Chat(make_tokenizer(), TEMPLATES[name])
    asked = Conversation.from_prompt("the cat")
    prompt, row = chat.prompt_ids(asked), chat.encode(asked.answer("sorry no"))
    np.testing.assert_array_equal(row.ids[: len(prompt)], prompt)
    assert row.assistant.argmax() == len(prompt)


@given(st.text(max_size=20), st.text(max_size=20))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_answer_is_marked_to_the_letter(chat, asked, answer):
    row = chat.encode(Conversation.from_prompt(asked).answer(answer))
    assert said(chat, row) == [f"{answer}<|im_end|>"]


def test_a_token_never_straddles_the_beginning_of_an_answer(chat):
    # Two line breaks are one token of this vocabulary, and the heading ends with one.
    assert len(chat.tokenizer.tokenize("\n\n")) == 1
    row = chat.encode(Conversation.from_prompt("the").answer("\n yes"))
    assert said(chat, row) == ["\n yes<|im_end|>"]
    prompt = chat.prompt_ids(Conversation.from_prompt("the"))
    np.testing.assert_array_equal(row.ids[: len(prompt)], prompt)


def test_an_unanswered_conversation_has_no_assistant_tokens(chat):
    assert not chat.encode(Conversation.from_prompt("the cat")).assistant.any()


def test_a_prefill_ends_the_prompt_and_begins_an_open_turn(chat):
    begun = Conversation.from_prompt("the cat", "here is")
    assert chat.tokenizer.decode(chat.prompt_ids(begun)).endswith("assistant\nhere is")
    assert said(chat, chat.encode(begun)) == ["here is"]


def test_turns_before_a_prefill_are_marked_too(chat):
    begun = Conversation((*TALK.messages[:3],), "here is")
    assert said(chat, chat.encode(begun)) == ["here is tea<|im_end|>", "here is"]
    np.testing.assert_array_equal(chat.encode(begun).ids, chat.prompt_ids(begun))


def test_the_system_message_is_put_first_where_there_is_none(make_tokenizer):
    chat = Chat(make_tokenizer(), CHATML, system="be kind")
    assert chat.render(TALK).startswith("<|im_start|>system\nbe kind<|im_end|>")
    own = Conversation((Message("system", "be short"), Message("user", "x")))
    assert "be kind" not in chat.render(own)


def test_an_empty_request_is_a_turn_all_the_same(chat):
    row = chat.encode(Conversation.from_prompt("").answer("here is bread"))
    assert said(chat, row) == ["here is bread<|im_end|>"]


def test_turns_end_with_what_the_template_writes_and_what_the_model_knows(make_tokenizer):
    tokenizer = make_tokenizer()
    ids = tokenizer.convert_tokens_to_ids(["<|end|>", "<|im_end|>"])
    assert Chat(tokenizer, CHATML, stops=[5]).stop_ids == (5, *sorted(ids))
    assert Chat(tokenizer, TEMPLATES["plain words"]).stop_ids == (ids[0],)


@pytest.mark.parametrize(
    "template",
    [
        # The heading of the assistant's turn is not what asks for it.
        CHATML.replace("assistant\n{% endif", "assistant\n<think>\n{% endif"),
        # What was said before depends on what follows.
        "{{ messages | length }}" + CHATML,
    ],
)
def test_a_template_that_rewrites_what_was_said_is_refused(template, make_tokenizer):
    with pytest.raises(ConfigError, match=r"does not tell which tokens are the assistant's.*give a chat_template"):
        Chat(make_tokenizer(), template).encode(TALK)


def test_a_template_that_refuses_a_role_says_so_without_the_texts(make_tokenizer):
    template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system here') }}{% endif %}" + CHATML
    )
    chat = Chat(make_tokenizer(), template, system="be kind")
    with pytest.raises(ConfigError, match=r"turns: system, user \(no system here\); leave out") as found:
        chat.render(Conversation.from_prompt("glimmerwax"))
    assert "glimmerwax" not in str(found.value)


def test_a_broken_template_is_refused(make_tokenizer):
    with pytest.raises(ConfigError, match="cannot render"):
        Chat(make_tokenizer(), "{% for %}").render(TALK)


def test_an_answered_conversation_is_not_asked_again(chat):
    with pytest.raises(UsageError, match="leave it out, or give its text as prefill"):
        chat.prompt_ids(TALK)


def test_todays_date_is_not_in_a_template(make_tokenizer):
    chat = Chat(make_tokenizer(), "{{ strftime_now('%Y-%m-%d') }} {{ date_string }}" + CHATML)
    assert chat.render(TALK).startswith("2024-07-26 26 Jul 2024")


def test_new_tokens_keep_the_space_after_a_prefill(chat):
    ids = chat.tokenizer(" the cat<|im_end|>")["input_ids"]
    assert chat.decode(ids, "here is") == " the cat"


def test_a_tokenizer_without_template_is_refused(make_tokenizer):
    with pytest.raises(ConfigError, match=r"has no chat template.*give a Jinja file as chat_template"):
        find_template(make_tokenizer(None))


def test_a_file_goes_before_the_tokenizers_own_template(make_tokenizer, tmp_path):
    (tmp_path / "own.jinja").write_text("{{ messages }}")
    assert find_template(make_tokenizer(), str(tmp_path / "own.jinja")) == "{{ messages }}"


def test_an_absent_template_file_is_refused(make_tokenizer, tmp_path):
    with pytest.raises(ConfigError, match=r"none\.jinja cannot be read \(FileNotFoundError\)"):
        find_template(make_tokenizer(), str(tmp_path / "none.jinja"))


def test_of_several_named_templates_the_default_one_counts(make_tokenizer):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = {"default": "x", "tools": "y"}
    assert find_template(tokenizer) == "x"
