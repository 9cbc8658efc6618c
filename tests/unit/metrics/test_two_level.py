import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import ConfigError, DataError, EmptyDataError
from demur.metrics import Bootstrap
from demur.metrics._two_level import TwoLevels, as_cells, two_level_settings, two_sided_p

SETTINGS = Bootstrap(draws=2000)


def mean_of(table):
    """Statistic: the mean over seeds and clusters, one prompt a cluster."""

    def mean(seeds, clusters):
        return ((seeds @ table) * clusters).sum(1, keepdims=True) / (seeds.sum(1) * clusters.sum(1))[:, None]

    return mean


def crossed(n_seeds, n_prompts, seed_sd, prompt_sd, noise_sd, generator):
    seeds = generator.normal(0, seed_sd, (n_seeds, 1)) if seed_sd else np.zeros((n_seeds, 1))
    return seeds + generator.normal(0, prompt_sd, n_prompts) + generator.normal(0, noise_sd, (n_seeds, n_prompts))


def test_the_value_is_that_of_the_whole():
    table = np.random.default_rng(0).random((3, 20))
    assert TwoLevels((3, 20), None, SETTINGS).draw(mean_of(table)).values[0] == pytest.approx(table.mean())


def test_prompts_hard_under_every_seed_are_not_counted_once_for_each():
    """Of prompts that differ and seeds that do not, ten seeds tell no more than one."""
    table = np.repeat(np.random.default_rng(0).normal(size=(1, 200)), 10, axis=0)
    draws = TwoLevels((10, 200), None, SETTINGS).draw(mean_of(table)).draws
    assert draws.std() == pytest.approx(table[0].std() / np.sqrt(200), rel=0.06)


def test_many_prompts_do_not_make_up_for_seeds_that_differ():
    seeds = np.random.default_rng(1).normal(size=(40, 1))
    table = np.broadcast_to(seeds, (40, 300))
    draws = TwoLevels((40, 300), None, SETTINGS).draw(mean_of(table)).draws
    assert draws.std() == pytest.approx(seeds.std() / np.sqrt(40), rel=0.1)


def test_prompts_of_a_category_are_drawn_together():
    categories = np.repeat(np.arange(20), 15)
    table = np.random.default_rng(2).normal(size=20)[categories][None]
    levels = TwoLevels((1, 300), categories, SETTINGS)
    sums = levels.sum_clusters(table)
    draws = levels.draw(mean_of(sums), 1).draws / 15
    assert draws.std() == pytest.approx(sums.std() / 15 / np.sqrt(20), rel=0.1)


def test_sums_of_clusters_are_those_of_a_plain_loop():
    generator = np.random.default_rng(3)
    categories = generator.integers(0, 5, 30)
    values = generator.random((2, 4, 30))
    found = TwoLevels((2, 30), categories, SETTINGS).sum_clusters(values)
    for place, category in enumerate(np.unique(categories)):
        np.testing.assert_allclose(found[..., place], values[..., categories == category].sum(-1))


def test_few_seeds_spread_the_draws_by_students_quantile():
    """Where seeds alone differ, draws of three are spread to t with two degrees of freedom."""
    seeds = np.array([[0.0], [1.0], [2.0]])
    levels = TwoLevels((3, 50), None, SETTINGS)
    draws = levels.draw(mean_of(np.broadcast_to(seeds, (3, 50)))).draws
    assert draws.std() == pytest.approx(4.3027 / 1.96 * 1 / np.sqrt(3), rel=0.02)
    assert levels.draw(mean_of(np.broadcast_to(seeds, (3, 50))), stretch=False).draws.std() < draws.std()


def test_draws_are_never_drawn_together():
    table = np.random.default_rng(4).normal(size=(8, 60))
    levels = TwoLevels((8, 60), None, SETTINGS)
    stretched, plain = (levels.draw(mean_of(table), stretch=one).draws.std() for one in (True, False))
    assert stretched >= plain


def test_the_same_seed_gives_the_same_draws_however_they_are_cut():
    table = np.random.default_rng(5).random((3, 20))
    levels = TwoLevels((3, 20), None, SETTINGS)
    first, cut = levels.draw(mean_of(table)).draws, levels.draw(mean_of(table), cells=60_000).draws
    np.testing.assert_allclose(first, cut)
    other = TwoLevels((3, 20), None, Bootstrap(draws=2000, seed=1)).draw(mean_of(table)).draws
    assert (first != other).any()


def test_seeds_and_prompts_are_drawn_independently():
    """Both levels have 30 members: the same stream would draw the same members."""
    seen = []

    def keep(seeds, clusters):
        seen.append((seeds, clusters))
        return seeds[:, :1]

    TwoLevels((30, 30), None, Bootstrap(draws=200)).draw(keep, stretch=False)
    seeds, clusters = seen[-1]
    assert abs(np.corrcoef(seeds.ravel(), clusters.ravel())[0, 1]) < 0.05


def test_without_draws_there_are_no_draws():
    found = TwoLevels((3, 20), None, Bootstrap(draws=0)).draw(mean_of(np.ones((3, 20))))
    assert found.draws.shape == (0, 1)


@pytest.mark.parametrize(
    ("seeds", "categories", "words"),
    [
        (1, None, "one seed"),
        (2, None, "2 seeds: the spread over trainings is hardly known"),
        (5, np.arange(20) % 4, "4 categories of prompts"),
    ],
)
def test_few_of_a_level_are_flagged(seeds, categories, words):
    (warning,) = TwoLevels((seeds, 20), categories, SETTINGS).warnings
    assert words in warning


def test_enough_of_both_levels_need_no_warning():
    assert TwoLevels((3, 20), None, SETTINGS).warnings == ()


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50))
def test_p_is_a_probability(draws):
    assert 0 < two_sided_p(np.array(draws)) <= 1


def test_p_is_twice_the_rarer_side():
    draws = np.append(np.full(990, 0.3), np.full(9, -0.1))
    assert two_sided_p(draws) == pytest.approx(2 * 10 / 1000)
    assert two_sided_p(np.array([np.nan])) is None


def test_p_is_below_the_level_just_where_the_interval_leaves_out_zero():
    draws = np.random.default_rng(6).normal(size=2000)
    for shift in np.linspace(1.5, 2.5, 21):
        low = np.quantile(draws + shift, 0.025)
        if abs(low) > 0.02:
            assert (two_sided_p(draws + shift) < 0.05) == (low > 0)


def test_settings_have_2000_draws_unless_told():
    assert two_level_settings({}, "it").draws == 2000
    assert two_level_settings({"draws": 10}, "it").draws == 10
    with pytest.raises(ConfigError, match="drwas"):
        two_level_settings({"drwas": 10}, "it")


def test_values_of_one_step_are_given_a_step():
    assert as_cells(np.zeros((3, 7)), "values").shape == (3, 1, 7)


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        (np.zeros(4), DataError, r"values have shape \(4,\)"),
        (np.zeros((2, 0)), EmptyDataError, "no response in them"),
        (np.full((2, 3), 2.0), DataError, "hold 2 to 2, wanted 0 to 1"),
    ],
)
def test_values_of_another_shape_or_size_are_refused(values, error, words):
    with pytest.raises(error, match=words):
        as_cells(values, "values")


def coverage(n_seeds, seed_sd, prompt_sd, noise_sd, repeats=200):
    generator = np.random.default_rng(7)
    covered = 0
    for number in range(repeats):
        table = crossed(n_seeds, 80, seed_sd, prompt_sd, noise_sd, generator)
        levels = TwoLevels((n_seeds, 80), None, Bootstrap(draws=400, seed=number))
        found = levels.interval(levels.draw(mean_of(table)).draws[:, 0])
        covered += found.low <= 0 <= found.high
    return covered / repeats


@pytest.mark.slow
@pytest.mark.parametrize("n_seeds", [3, 5, 10])
@pytest.mark.parametrize(("seed_sd", "prompt_sd"), [(0, 1), (0.1, 1), (0.3, 1), (0.5, 0.2)])
def test_intervals_cover_the_truth_as_often_as_they_say(n_seeds, seed_sd, prompt_sd):
    assert coverage(n_seeds, seed_sd, prompt_sd, 0.5) >= 0.88


def test_an_interval_of_three_differing_seeds_covers_the_truth():
    assert coverage(3, 0.5, 0.2, 0.5, repeats=100) >= 0.88


@pytest.mark.parametrize(("level", "fewest"), [(0.95, 6), (0.8, 4), (0.99, 8)])
def test_the_fewest_clusters_are_those_that_rarely_lie_on_one_side(level, fewest):
    levels = TwoLevels((1, 10), None, Bootstrap(level=level))
    assert levels.fewest == fewest
    assert 2 ** (1 - fewest) <= 1 - level < 2 ** (2 - fewest)


@pytest.mark.parametrize(("clusters", "floor"), [(2, 0.5), (5, 1 / 16), (6, 1 / 32), (40, 2 / 2001)])
def test_p_is_never_below_what_chance_gives_so_few_clusters(clusters, floor):
    assert two_sided_p(np.full(2000, 0.7), n_clusters=clusters) == pytest.approx(floor)


def test_prompts_without_a_category_are_called_prompts():
    assert TwoLevels((3, 4), None, Bootstrap()).warnings == ("4 prompts: too few to say much of others",)
    assert TwoLevels((3, 4), list("aabb"), Bootstrap()).count_words(1) == "1 category"


def test_clusters_are_counted_where_a_prompt_counts():
    levels = TwoLevels((1, 4), list("aabc"), Bootstrap())
    assert levels.count_clusters(np.array([[True, True, False, False], [False, False, False, True]])) == 2
