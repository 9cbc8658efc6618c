import numpy as np
import pytest

from demur.errors import DataError
from demur.metrics import ClassifierTestConfig, Permutations, classifier_test, mmd_test
from demur.metrics._drift_vectors import fit_logistic

FEW = Permutations(most=199, stop=10)


def draw(generator, n, d=6, moved=0.0):
    rows = generator.normal(size=(n, d))
    rows[:, 0] += moved
    return rows


def plain_mmd(first, second, width):
    def mean(a, b, same):
        kernel = np.exp(-((a[:, None] - b) ** 2).sum(-1) / width)
        return (kernel.sum() - np.trace(kernel)) / (len(a) * (len(a) - 1)) if same else kernel.mean()

    return mean(first, first, True) + mean(second, second, True) - 2 * mean(first, second, False)


def test_mmd_is_the_formula():
    generator = np.random.default_rng(0)
    first, second = draw(generator, 40), draw(generator, 25, moved=1)
    found = mmd_test("mmd", first, second, FEW)
    assert found.statistic == pytest.approx(plain_mmd(first, second, found.facts["width"] ** 2), abs=1e-6)


def test_the_width_is_the_median_distance_of_all_pairs():
    generator = np.random.default_rng(1)
    first, second = draw(generator, 30), draw(generator, 30)
    both = np.concatenate([first, second])
    distances = np.linalg.norm(both[:, None] - both, axis=-1)[np.triu_indices(60, 1)]
    assert mmd_test("mmd", first, second, FEW).facts["width"] == pytest.approx(np.median(distances), rel=1e-3)


def test_permuted_estimates_are_those_of_permuted_rows(monkeypatch):
    """One draw by hand: the product of matrices gives what the formula gives of rows that changed sides."""
    generator = np.random.default_rng(2)
    first, second = draw(generator, 15), draw(generator, 12)
    seen = {}

    def keep(observed, make, settings):
        seen["draw"] = make
        return 1.0, 1

    monkeypatch.setattr("demur.metrics._drift_vectors.sequential_p_value", keep)
    found = mmd_test("mmd", first, second, FEW)
    members = np.zeros((1, 27))
    members[0, [0, 3, 5, 7, 9, 11, 14, 16, 18, 20, 22, 26]] = 1
    monkeypatch.setattr("demur.metrics._drift_vectors.draw_members", lambda *_: members)
    both = np.concatenate([first, second])
    inside = members[0].astype(bool)
    wanted = plain_mmd(both[~inside], both[inside], found.facts["width"] ** 2)
    assert seen["draw"](1, generator)[0] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("test", [mmd_test, classifier_test])
def test_false_signals_are_as_rare_as_alpha(test):
    generator = np.random.default_rng(3)
    found = [
        test("x", draw(generator, 80), draw(generator, 50), Permutations(most=199, stop=10, seed=n)).p_value
        for n in range(200)
    ]
    assert 0.01 <= np.mean(np.array(found) <= 0.05) <= 0.095


@pytest.mark.parametrize("test", [mmd_test, classifier_test])
def test_a_moved_mean_is_found(test):
    generator = np.random.default_rng(4)
    assert test("x", draw(generator, 150), draw(generator, 80, moved=1), FEW).p_value == 1 / 200


def test_mmd_finds_a_changed_shape_that_no_linear_classifier_can():
    generator = np.random.default_rng(5)
    first, second = draw(generator, 200, 2), 2.5 * draw(generator, 150, 2)
    assert mmd_test("mmd", first, second, FEW).p_value == 1 / 200
    assert classifier_test("c2st", first, second, FEW).p_value > 0.01


def test_the_logistic_regression_is_that_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(6)
    rows = draw(generator, 200, 4)
    labels = (rows[:, 0] - rows[:, 1] + generator.normal(size=200) > 0.3).astype(float)
    config = ClassifierTestConfig(penalty=0.05, steps=400)
    with_constant = np.concatenate([rows, np.ones((200, 1))], axis=1)
    found = fit_logistic(with_constant, labels[:, None], config)[:, 0]
    wanted = LogisticRegression(C=1 / (0.05 * 200), tol=1e-10, max_iter=1000).fit(rows, labels)
    assert found[:-1] == pytest.approx(wanted.coef_[0], abs=1e-4)
    assert found[-1] == pytest.approx(wanted.intercept_[0], abs=1e-4)


def test_every_step_of_the_fit_lowers_the_loss():
    generator = np.random.default_rng(7)
    rows = np.concatenate([draw(generator, 120, 3), np.ones((120, 1))], axis=1)
    labels = (rows[:, :1] > 0.2).astype(float)

    def loss(steps):
        config = ClassifierTestConfig(penalty=0.05, steps=steps)
        weights = fit_logistic(rows, labels, config)
        margins = (2 * labels - 1) * (rows @ weights)
        return np.log1p(np.exp(-margins)).sum() + 0.05 * 120 / 2 * (weights[:-1] ** 2).sum()

    losses = [loss(steps) for steps in (1, 2, 4, 8, 16)]
    assert losses == sorted(losses, reverse=True)


def test_the_area_of_sides_that_can_be_told_apart_is_one_and_else_a_half():
    generator = np.random.default_rng(8)
    assert classifier_test(
        "c", draw(generator, 60), draw(generator, 60, moved=30), FEW
    ).statistic == pytest.approx(1)
    same = classifier_test("c", draw(generator, 400), draw(generator, 400), FEW)
    assert same.statistic == pytest.approx(0.5, abs=0.08)


def test_a_column_that_never_changes_is_left_out():
    generator = np.random.default_rng(9)
    first, second = draw(generator, 60), draw(generator, 60)
    first[:, 2] = second[:, 2] = 4.0
    assert classifier_test("c", first, second, FEW).p_value is not None


@pytest.mark.parametrize(("test", "least"), [(mmd_test, 10), (classifier_test, 40)])
def test_few_rows_are_not_tested(test, least):
    generator = np.random.default_rng(10)
    found = test("x", draw(generator, least - 1), draw(generator, 100), FEW)
    assert found.reason == f"fewer than {least} rows on one side"


def test_rows_that_are_all_the_same_are_not_tested():
    assert mmd_test("mmd", np.ones((20, 3)), np.ones((20, 3)), FEW).reason == "most rows are the same"


def test_mmd_takes_some_of_many_rows():
    generator = np.random.default_rng(11)
    found = mmd_test("mmd", draw(generator, 300), draw(generator, 90), FEW, most_rows=100)
    assert (found.n_reference, found.n_current) == (100, 90)


@pytest.mark.parametrize("test", [mmd_test, classifier_test])
def test_vectors_of_other_lengths_or_without_numbers_are_refused(test):
    with pytest.raises(DataError, match="take one encoder's"):
        test("x", np.ones((50, 3)), np.ones((50, 4)))
    with pytest.raises(DataError, match="not finite"):
        test("x", np.full((50, 3), np.nan), np.ones((50, 3)))
