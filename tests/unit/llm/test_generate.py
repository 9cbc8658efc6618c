"""Batches change how fast answers are written, and never what is written."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demur.errors import ConfigError, NoMemoryError, UsageError
from demur.llm import Conversation, GenerationConfig
from demur.llm import _generate as module

GREEDY = GenerationConfig(max_new_tokens=12)
DRAWN = GenerationConfig(max_new_tokens=12, temperature=1.0, top_p=0.95, seed=5)


@pytest.fixture(scope="module")
def talking(make_module, make_tokenizer):
    """A target that ends some of its answers: in its output the end of a turn is more likely than by chance."""
    from demur.llm import Target, TargetConfig

    tokenizer, net = make_tokenizer(), make_module()
    with torch.no_grad():
        end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        net.lm_head.weight[end] *= 2.5
    return Target(net, tokenizer, TargetConfig(model="tiny"))


@pytest.mark.parametrize("config", [GREEDY, DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("size", [2, 4, 16])
def test_a_batch_writes_what_one_by_one_writes(talking, conversations, config, size):
    alone = talking.generate(conversations, config.model_copy(update={"batch_size": 1}))
    assert talking.generate(conversations, config.model_copy(update={"batch_size": size})) == alone
    assert {reply.is_finished for reply in alone} == {True, False}


@given(order=st.permutations(range(6)), size=st.integers(1, 6))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_row_keeps_what_is_drawn_in_any_order_under_its_number(talking, conversations, order, size):
    wanted = talking.generate(conversations, DRAWN)
    config = DRAWN.model_copy(update={"batch_size": size})
    found = talking.generate([conversations[row] for row in order], config, numbers=order)
    assert found == [wanted[row] for row in order]


def test_greedy_answers_are_those_of_transformers(talking, conversations):
    end = [*talking.chat.stop_ids]
    for asked, reply in zip(conversations, talking.generate(conversations, GREEDY), strict=True):
        prompt = torch.from_numpy(talking.prompt_ids(asked)).long()[None]
        written = talking.module.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12, do_sample=False,
            eos_token_id=end, pad_token_id=0, use_cache=False,
        )[0, prompt.shape[1] :].tolist()  # fmt: skip
        ended = written[-1] in end
        assert (list(reply.token_ids), reply.is_finished) == (written[:-1] if ended else written, ended)


def test_another_seed_draws_others(talking, conversations):
    other = DRAWN.model_copy(update={"seed": 6})
    assert talking.generate(conversations, DRAWN) == talking.generate(conversations, DRAWN)
    assert talking.generate(conversations, DRAWN) != talking.generate(conversations, other)


def test_an_answer_goes_on_from_its_prefill(talking):
    plain = Conversation.from_prompt("the cat sat on a mat")
    (whole,) = talking.generate([plain], GREEDY)
    head = talking.chat.decode(whole.token_ids[:3])
    (rest,) = talking.generate([Conversation.from_prompt("the cat sat on a mat", prefill=head)], GREEDY)
    assert (head + rest.text).startswith(whole.text)


def test_the_token_that_ends_a_turn_is_not_in_the_reply(talking, conversations):
    replies = talking.generate(conversations, GREEDY)
    assert not {token for reply in replies for token in reply.token_ids} & {*talking.chat.stop_ids}
    assert all(len(reply.token_ids) == 12 for reply in replies if not reply.is_finished)


def test_progress_counts_rows(talking, conversations):
    seen = []
    talking.generate(
        conversations, GREEDY.model_copy(update={"batch_size": 4}), progress=lambda *at: seen.append(at)
    )
    assert seen == [(4, 6), (6, 6)]


def test_each_row_needs_its_number(talking, conversations):
    with pytest.raises(UsageError, match="2 row numbers are given for 6 prompts; give one each"):
        talking.generate(conversations, DRAWN, numbers=[0, 1])


def test_nothing_asked_is_nothing_answered(talking):
    assert talking.generate([], GREEDY) == []


def test_a_module_in_training_is_asked_without_dropout_and_goes_on_training(
    make_module, make_tokenizer, conversations
):
    from demur.llm import Target

    net = make_module(attention_dropout=0.5)
    target = Target(net, make_tokenizer())
    wanted = target.generate(conversations, GREEDY)
    net.train()
    assert target.generate(conversations, GREEDY) == wanted
    assert net.training


def test_a_batch_that_does_not_fit_is_halved(talking, conversations, monkeypatch):
    wanted, sizes, write = talking.generate(conversations, DRAWN), [], module._write

    def write_small(net, rows, *rest):
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return write(net, rows, *rest)

    monkeypatch.setattr(module, "_write", write_small)
    assert talking.generate(conversations, DRAWN) == wanted
    assert sizes == [6, 3, 1, 1, 1, 1, 1, 1]


def test_a_row_that_does_not_fit_alone_is_one_sentence(talking, conversations, monkeypatch):
    def fail(*_):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(module, "_write", fail)
    with pytest.raises(NoMemoryError, match=r"ran out while writing 1 answers.*lower generation\.batch_size"):
        talking.generate(conversations, DRAWN)


def test_a_prompt_beyond_what_the_model_reads_is_refused(talking):
    asked = [Conversation.from_prompt("x"), Conversation.from_prompt("tea " * 300)]
    with pytest.raises(ConfigError, match=r"row 1 needs \d+ tokens .* but the model reads 256; shorten it"):
        talking.generate(asked, GREEDY)


def test_a_model_without_cache_is_refused(talking, conversations, monkeypatch):
    forward = talking.module.forward
    monkeypatch.setattr(talking.module, "forward", lambda **given: forward(**given | {"use_cache": False}))
    with pytest.raises(ConfigError, match="keeps no key-value cache"):
        talking.generate(conversations, GREEDY)
