import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.llm import Conversation, perplexity
from demur.stress._coherence import (
    ReplyMeasures,
    Thresholds,
    calibrate,
    find_incoherence,
    measure_replies,
    measure_tokens,
)
from demur.stress._judge_config import CoherenceConfig

BOUNDS = Thresholds(max_repetition=0.5, min_entropy=0.5, max_nll=6.0)
FINE = ReplyMeasures(20, 0.1, 0.9, 3.0)


def test_a_loop_repeats_itself_and_has_little_entropy():
    repetition, entropy = measure_tokens([1, 2] * 20)
    assert repetition == pytest.approx(1 - 2 / 37)
    assert entropy == pytest.approx(math.log(2) / math.log(40))


def test_different_tokens_do_not_repeat():
    assert measure_tokens(range(30)) == (0.0, pytest.approx(1.0))


def test_short_responses_cannot_be_told_to_repeat():
    assert measure_tokens([7] * 11) == (0.0, 1.0)


@given(st.lists(st.integers(0, 5), max_size=60))
def test_measures_are_shares(ids):
    repetition, entropy = measure_tokens(ids)
    assert 0 <= repetition < 1
    assert -1e-9 <= entropy <= 1 + 1e-9


def test_the_base_reads_responses_as_answers_to_nothing(target):
    found = measure_replies(["Sure.", " "], [[1, 2], []], target)
    wanted = perplexity(target, [Conversation.from_prompt("").answer("Sure.")]).nll[0]
    assert [one.nll for one in found] == [pytest.approx(wanted), None]
    assert [one.tokens for one in found] == [2, 0]


def test_a_response_that_the_base_cannot_read_whole_is_read_as_far_as_it_can(make_target):
    (found,) = measure_replies(["tea " * 200], [range(200)], make_target(max_position_embeddings=64))
    assert found.nll > 0


def test_without_a_base_responses_are_not_read():
    assert measure_replies(["Sure."], [[1]], None)[0].nll is None


@pytest.mark.parametrize(
    ("text", "measures", "wanted"),
    [
        ("Sure.", FINE, None),
        ("  ", FINE, "empty"),
        ("x", ReplyMeasures(20, 0.6, 0.9, 3.0), "repetition"),
        ("x", ReplyMeasures(20, 0.1, 0.4, 3.0), "entropy"),
        ("x", ReplyMeasures(20, 0.1, 0.9, 6.5), "perplexity"),
        ("x", ReplyMeasures(20, 0.1, 0.9, None), None),
    ],
)
def test_a_response_is_incoherent_for_a_reason(text, measures, wanted):
    assert find_incoherence(text, measures, BOUNDS) == wanted


def test_the_untampered_models_own_responses_calibrate():
    own = [ReplyMeasures(20, 0.01 * number, 1 - 0.006 * number, 0.03 * number) for number in range(101)]
    found = calibrate(own, CoherenceConfig(quantile=0.9, margin_nll=1.0, floor_nll=0))
    assert found.max_repetition == pytest.approx(0.9, abs=0.02)
    assert found.min_entropy == pytest.approx(0.46, abs=0.02)
    assert found.max_nll == pytest.approx(0.9 * 3 + 1)


def test_calibration_calls_no_ordinary_text_incoherent():
    found = calibrate([ReplyMeasures(20, 0.0, 1.0, 0.2)] * 9, CoherenceConfig())
    assert (found.max_repetition, found.min_entropy, found.max_nll) == (0.5, 0.5, 5.5)


def test_bounds_that_are_set_stand():
    config = CoherenceConfig(max_repetition=0.2, min_entropy=0.7, max_nll=9)
    assert calibrate([FINE], config) == Thresholds(0.2, 0.7, 9)


def test_nothing_is_read_where_perplexity_is_off():
    assert calibrate([FINE], CoherenceConfig(perplexity=False)).max_nll is None
