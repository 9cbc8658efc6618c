"""Tests of the model card."""

import pytest
import yaml

from demur.models._card import write_card


@pytest.fixture
def card(fitted, tasks, tmp_path):
    """Writer of the card of a preset for a task."""

    def write(preset, name):
        classifier = fitted(preset, tasks[name])
        write_card(classifier, tmp_path, {"versions": {"python": "3.11.7", "demur": "0.0"}})
        return (tmp_path / "README.md").read_text(encoding="utf-8")

    return write


def test_the_front_matter_is_yaml_that_a_hub_reads(card):
    front = yaml.safe_load(card("tfidf_logreg", "refusal").split("---")[1])
    assert front["pipeline_tag"] == "text-classification"
    assert front["tags"] == ["demur", "safety", "refusal", "classical"]


@pytest.mark.parametrize(("name", "fields"), [("refusal", "prompt and response"), ("prompt_risk", "prompt")])
def test_it_says_what_is_read_and_given(card, tasks, name, fields):
    text = card("rules", name)
    assert f"| reads | {fields} |" in text
    assert tasks[name].description in text
    assert all(f"`{label}`" in text for label in tasks[name].labels)


def test_it_names_settings_seed_and_versions(card):
    text = card("tfidf_nb", "refusal")
    assert '"head":"nb"' in text
    assert "| seed | 0 |" in text
    assert "python 3.11.7, demur 0.0" in text
    assert "| chosen by tuning | `nothing` |" in text


def test_a_task_without_a_description_gets_a_sentence(card):
    assert "Classifier of the task `tone`." in card("rules", "tone")


def test_its_example_is_python(card):
    code = card("rules", "refusal").split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")


def test_it_tells_thresholds_and_what_abstention_promises(ready):
    folder, classifier = ready
    text = (folder / "README.md").read_text(encoding="utf-8")
    point = classifier.operating.find("fpr_10")
    assert "Probabilities are calibrated (isotonic)." in text
    assert f"| `fpr_10` | {point.threshold.value:.4g} [" in text
    assert "| `fpr_0.1` | none: a false-positive rate of 0.1 % takes at least 999 rows" in text
    assert f"Abstention: {classifier.conformal.guarantee}." in text


def test_it_is_silent_on_what_a_classifier_does_not_have(card):
    text = card("tfidf_nb", "refusal")
    assert "operating point" not in text
    assert "Abstention" not in text
    assert "calibrated" not in text
