import json

from demur.metrics import Estimate
from demur.report.card import AttackLine


def line(verdict="held"):
    half = Estimate(0.5, 0.4, 0.6, 10)
    return AttackLine("lora", "It trains.", "the weights", "step 4; cost: 1 s", half, half, half, half, verdict)


def test_a_line_says_what_is_done_and_where_it_was_worst():
    assert line().note == "It trains. Worst: step 4; cost: 1 s"


def test_attacks_are_found_by_verdict_in_order(card):
    found = [
        one for verdict in ("wins", "wins in part", "not settled", "held") for one in card.of_verdict(verdict)
    ]
    assert tuple(found) == card.attacks


def test_the_card_is_json_with_a_version(card):
    found = json.loads(json.dumps(card.to_json(), allow_nan=False))
    assert found["format"] == 2
    assert found["attacks"][0]["hardened"]["n"] == 180
