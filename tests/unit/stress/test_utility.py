import numpy as np
import pytest

from demur.errors import LongRowError
from demur.llm import Conversation, perplexity, token_kl
from demur.stress._utility import measure_utility, utility_estimates

TEXTS = [
    Conversation.from_prompt(f"Is it {one}?").answer(f"No, it is {one} red.") for one in ("blue", "far", "so")
]


def utility(n=40, seed=0):
    """Texts of different lengths with made-up figures."""
    generator = np.random.default_rng(seed)
    rows = {
        "tokens": generator.integers(5, 60, n).tolist(),
        "nll": generator.gamma(4, 0.5, n).tolist(),
        "kl": generator.gamma(1, 0.1, n).tolist(),
        "kl_first": generator.gamma(1, 0.2, n).tolist(),
    }
    tokens, nll, kl = (np.array(rows[name]) for name in ("tokens", "nll", "kl"))
    values = {
        "perplexity": float(np.exp((tokens * nll).sum() / tokens.sum())),
        "kl_mean": float((tokens * kl).sum() / tokens.sum()),
        "kl_p99": 0.9,
        "kl_first": float(np.mean(rows["kl_first"])),
    }
    return {"n": n, "values": values, "rows": rows}


def test_figures_are_those_of_the_llm_package(make_target):
    target, reference = make_target(), make_target(seed=1)
    found = measure_utility(target, reference, TEXTS)
    assert found["n"] == 3
    assert found["values"]["perplexity"] == perplexity(target, TEXTS).value
    assert found["values"]["kl_mean"] == token_kl(target, reference, [target.encode(one) for one in TEXTS]).mean
    tokens, kl = (np.array(found["rows"][name]) for name in ("tokens", "kl"))
    assert (tokens * kl).sum() / tokens.sum() == pytest.approx(found["values"]["kl_mean"])


def test_a_text_that_is_longer_than_the_model_reads_is_refused_with_where_it_stands(make_target):
    target = make_target(max_position_embeddings=16)
    with pytest.raises(
        LongRowError, match=r"data.texts: row \d has \d+ tokens, but the model reads 16; shorten it"
    ):
        measure_utility(target, target, TEXTS)


def test_intervals_are_those_of_a_plain_bootstrap_over_texts():
    given = utility()
    found = utility_estimates(given, 4000, 0.95)
    tokens, nll = (np.array(given["rows"][name]) for name in ("tokens", "nll"))
    picked = np.random.default_rng(3).integers(0, 40, (4000, 40))
    drawn = np.exp((tokens * nll)[picked].sum(axis=1) / tokens[picked].sum(axis=1))
    wanted = np.quantile(drawn, [0.025, 0.975])
    assert (found["perplexity"].low, found["perplexity"].high) == pytest.approx(wanted, rel=0.03)
    for name in ("perplexity", "kl_mean", "kl_first"):
        assert found[name].low < found[name].value < found[name].high


def test_more_texts_narrow_the_interval():
    few, many = (utility_estimates(utility(n), 500, 0.95)["kl_mean"] for n in (20, 2000))
    assert many.high - many.low < 0.3 * (few.high - few.low)


def test_a_percentile_over_tokens_and_an_old_record_have_no_interval_and_say_so():
    given = utility()
    assert "percentile over tokens" in utility_estimates(given, 50, 0.95)["kl_p99"].reason
    found = utility_estimates({"n": 40, "values": given["values"]}, 50, 0.95)["perplexity"]
    assert (found.low, found.value) == (None, given["values"]["perplexity"])
    assert "an earlier version" in found.reason


def test_a_model_against_itself_has_no_spread_and_no_interval():
    given = utility()
    given["rows"]["kl"], given["values"]["kl_mean"] = [0.0] * 40, 0.0
    found = utility_estimates(given, 50, 0.95)["kl_mean"]
    assert (found.value, found.low) == (0.0, None)
    assert "gives the same value" in found.reason


def test_without_texts_there_is_nothing():
    assert utility_estimates({"n": 0, "values": {}}, 50, 0.95) == {}
