"""An A/B test of two real models behind a real ``demur serve``: shadow, arms, evaluation, promotion, roll-back."""

import pytest
from tests.conftest import make_rows
from tests.integration.guards import ITEM, RunningGuard

from demur.store import open_store


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two models of the task refusal: rules, and a small logistic regression."""
    from demur.config import parse_settings
    from demur.data import Records
    from demur.models import find_preset
    from demur.models.rules import RulesClassifier
    from demur.tasks import REFUSAL

    folder = tmp_path_factory.mktemp("models")
    RulesClassifier(REFUSAL).save(folder / "old")
    family, settings = find_preset("tfidf_logreg")
    classifier = family(REFUSAL, parse_settings(family.config_type, settings | {"threads": 1}), 0)
    classifier.fit(Records.from_rows(make_rows(90)))
    classifier.save(folder / "new")
    return folder


@pytest.fixture
def guard(tmp_path, folders):
    experiments = {"every_s": 0.5, "lag_s": 0, "settle_s": 0}
    running = RunningGuard(tmp_path, [folders / "old"], refresh_s=0.5, experiments=experiments)
    yield running
    running.kill()


class Asker:
    """Asks as one subject after another and tells the truth afterwards."""

    def __init__(self, client):
        self.client, self.n = client, 0

    def ask(self, subject=None):
        """The answer of the task for a subject; a new one where none is given."""
        self.n += 1
        body = {"input": ITEM, "subject": subject or f"s{self.n}"}
        answer = self.client.post("/v1/classify", json=body)
        assert answer.status_code == 200, answer.text
        feedback = {"id": answer.json()["id"], "task": "refusal", "label": "hard_refusal"}
        assert self.client.post("/v1/feedback", json=feedback).status_code == 200
        return answer.json()["results"][0]["tasks"]["refusal"]


@pytest.mark.slow
def test_a_challenger_goes_all_the_way_and_back(guard, folders):
    with guard.client() as client, open_store(guard.database) as store:
        asker, old = Asker(client), store.champion("refusal").version

        def post(path, **body):
            answer = client.post(f"/admin/{path}", json=body)
            assert answer.status_code == 200, answer.text
            return answer.json()

        (new,) = {one["version"] for one in post("models", folder=str(folders / "new"))["models"]}
        values = {"name": "learned", "task": "refusal", "challengers": [{"version": new}], "guards": []}
        id = post("experiments", shadow={"then": "wait"}, roll_back={"rule": "never"}, **values)["id"]

        def show():
            return client.get(f"/admin/experiments/{id}").json()

        post(f"experiments/{id}/start")

        def has_pairs():
            assert asker.ask()["version"] == old
            found = show()["differences"]
            return found and found[0]["is_paired"] and found[0]["n"] >= 5

        guard.wait_until(has_pairs, "shadows were not compared with the champion")
        post(f"experiments/{id}/start", stage="running")

        def has_both_arms():
            asker.ask()
            shown = show()
            return shown["figures_of"] == "running" and all(arm["rows"] >= 10 for arm in shown["arms"])

        guard.wait_until(has_both_arms, "both arms did not answer")
        steady = [asker.ask("one and the same") for _ in range(8)]
        assert len({(one["arm"], one["version"]) for one in steady}) == 1
        for row in store.predictions(experiment=id):
            assert (row.version, row.arm) in ((old, "champion"), (new, "challenger"))
        assert show()["arms"][1]["metrics"]["accuracy"]["n"] >= 10

        def is_everywhere(version):
            return all(asker.ask()["version"] == version for _ in range(12))

        assert post(f"experiments/{id}/promote", reason="it learned")["stage"] == "promoted"
        guard.wait_until(lambda: is_everywhere(new), "workers did not exchange the model")
        assert post(f"experiments/{id}/rollback")["stage"] == "rolled_back"
        guard.wait_until(lambda: is_everywhere(old), "workers did not take the old model back")
        stages = {row.version: row.stage for row in store.models("refusal")}
        assert stages == {old: "champion", new: "rejected"}
        kinds = [event.kind for event in store.events(id)]
        assert kinds == ["draft", "shadow", "running", "promoted", "rolled_back"]
        guard.wait_until(
            lambda: len({row.request_id for row in store.predictions()}) == asker.n, "an answer is not recorded"
        )
