import pytest

from demur.errors import RunError
from demur.report.card import make_card
from demur.report.stress import StressView

ONE = {"models": (("m", 1e8),)}


def test_attacks_stand_worst_first_and_controls_apart(card):
    values = [one.hardened.value for one in card.attacks]
    assert values == sorted(values, reverse=True)
    assert [one.name for one in card.attacks] == ["lora", "ablation", "prefill", "templates"]
    assert {one.name.split(" ")[0] for one in card.controls} == {"direct", "revert", "random_lora"}


def test_the_headline_names_what_still_wins(card):
    assert card.headline[0] == "Against the hardened model lora (93 % complied with) still wins."
    assert card.headline[1].startswith("Against the hardened model ablation (40 % complied with), prefill")


def test_figures_are_those_of_the_folder_by_hand(card, defended_folder):
    view = StressView(defended_folder)
    line = card.attacks[1]
    (hardened,) = [c for c in view.curves("complied") if c.cell.attack == "ablation" and c.cell.is_defended]
    (base,) = [c for c in view.curves("complied") if c.cell.attack == "ablation" and not c.cell.is_defended]
    assert line.hardened == hardened.points[0].estimate
    assert line.base == base.points[0].estimate
    assert line.difference.value == pytest.approx(line.hardened.value - line.base.value)


def test_the_benign_side_has_both_and_the_ratio_of_perplexities(card):
    found = {one.name: one for one in card.benign}
    assert found["Over-refusal"].hardened.value > found["Over-refusal"].base.value
    assert found["Perplexity, hardened over base"].hardened.value == pytest.approx(9.1 / 9.0)


def test_the_defence_tells_how_it_was_trained(card):
    assert card.defence == "circuit breaker (rerouting), trained for 150 steps, at layers 9 and 18"
    assert ("Cosine of held-out harmful states to the base, layer 9", "0.120") in card.training
    assert ("Retained states moved, over their norm", "0.030") in card.training


def test_a_defence_of_others_has_no_training(make_folder):
    card = make_card(StressView(make_folder(**ONE, attacks=("direct", "prefill"))))
    assert (card.defence, card.training) == ("an adapter that was given", ())


def test_where_nothing_wins_the_card_does_not_boast(make_folder):
    folder = make_folder(**ONE, attacks=("direct", "templates"))
    path = folder / "results/metrics/results_curves.csv"
    path.write_text(path.read_text().replace("0.10", "0.01"))
    card = make_card(StressView(folder))
    assert "nothing of attacks that were not tried" in card.headline[0]


def test_without_attacks_nothing_is_known(make_folder):
    card = make_card(StressView(make_folder(**ONE, attacks=("direct",))))
    assert card.headline == ("No attack was tried, so nothing is known of what the defence withstands.",)


def test_capabilities_are_shown_where_they_were_measured(make_folder):
    folder = make_folder(**ONE, attacks=("direct",))
    path = folder / "results/metrics/results_grid.csv"
    path.write_text(path.read_text().replace("kl_mean", "capability_arc_easy"))
    names = [one.name for one in make_card(StressView(folder)).benign]
    assert "arc easy" in names


def test_a_folder_without_a_defence_is_refused(make_folder):
    folder = make_folder(**ONE, defended=(False,), attacks=("direct",))
    with pytest.raises(RunError, match=r"was not stressed with a defence .* name the adapter as defended"):
        make_card(StressView(folder))


def test_a_model_that_is_not_there_is_refused(defended_folder):
    with pytest.raises(RunError, match=r"defence of 'other' \(with one: smol-135m\)"):
        make_card(StressView(defended_folder), model="other")
