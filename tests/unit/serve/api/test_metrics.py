import subprocess
import sys
import textwrap

from prometheus_client.parser import text_string_to_metric_families

from demur.serve.api import Metrics
from demur.serve.api._call import new_call
from demur.serve.batching import BatchStats


def read(shown):
    """Sample name and labels to value, by Prometheus' own parser."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(shown.decode())
        for sample in family.samples
    }


def test_a_request_is_counted_by_route_and_status():
    metrics, call = Metrics(), new_call(None)
    call.route, call.status = "/v1/classify", 200
    metrics.begin()
    assert read(metrics.show())[("demur_requests_in_flight", ())] == 1
    metrics.end(call, "POST")
    found = read(metrics.show())
    labels = (("method", "POST"), ("route", "/v1/classify"), ("status", "200"))
    assert found[("demur_requests_total", labels)] == 1
    assert found[("demur_request_seconds_count", (("route", "/v1/classify"),))] == 1
    assert found[("demur_requests_in_flight", ())] == 0


def test_methods_and_paths_that_somebody_makes_up_share_a_label():
    metrics = Metrics()
    for method in ("BREW", "FETCH"):
        metrics.end(new_call(None), method)
    labels = (("method", "other"), ("route", "unmatched"), ("status", "499"))
    assert read(metrics.show())[("demur_requests_total", labels)] == 2


def test_verdicts_and_flags_are_counted_and_shadows_apart():
    metrics = Metrics()
    metrics.judged("refusal", "v" * 64, "hard_refusal", {"fpr_1": True, "fpr_10": False}, is_shadow=False)
    metrics.judged("refusal", "w" * 64, "no_refusal", {"fpr_1": True}, is_shadow=True)
    found = read(metrics.show())
    flags = {labels: value for (name, labels), value in found.items() if name == "demur_flagged_total"}
    assert flags == {(("point", "fpr_1"), ("task", "refusal"), ("version", "v" * 12)): 1}
    shadows = [dict(labels)["shadow"] for (name, labels) in found if name == "demur_verdicts_total"]
    assert sorted(shadows) == ["no", "yes"]


def test_batches_are_measured():
    metrics = Metrics()
    metrics.batch("v" * 64, BatchStats(5, 0.02, 0.001))
    found = read(metrics.show())
    assert found[("demur_batch_rows_sum", (("version", "v" * 12),))] == 5


def test_the_models_that_answer_are_shown(guard):
    metrics, state = guard.parts.metrics, guard.parts.pool.state
    metrics.look(state, is_ready=True)
    name = (
        "demur_model",
        (("name", "rules"), ("task", "refusal"), ("version", state.find("refusal", None).version[:12])),
    )
    assert read(metrics.show())[name] == 1
    metrics.look(type(state)(), is_ready=False)
    found = read(metrics.show())
    assert found[name] == 0
    assert found[("demur_ready_workers", ())] == 0


def test_several_processes_add_up_and_a_dead_ones_counters_stay(tmp_path):
    code = textwrap.dedent(
        """
        import sys
        from demur.serve.api import Metrics, use_worker_number
        from demur.serve.api._call import new_call
        use_worker_number(int(sys.argv[1]))
        metrics = Metrics()
        for _ in range(int(sys.argv[2])):
            metrics.begin()
            metrics.recorded("kept", 1)
        sys.stdout.write(metrics.show().decode())
        """
    )

    def run(number, count):
        import os

        environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", code, str(number), str(count)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return read(done.stdout.encode())

    run(0, 2)
    found = run(1, 3)
    kept = ("demur_records_total", (("result", "kept"),))
    assert (found[kept], found[("demur_requests_in_flight", ())]) == (5, 5)

    from demur.serve.api import forget_worker

    forget_worker(tmp_path, 0)
    found = run(1, 0)
    assert (found[kept], found[("demur_requests_in_flight", ())]) == (5, 3)
    found = run(0, 1)  # a worker that took the place of the dead one goes on counting
    assert (found[kept], found[("demur_requests_in_flight", ())]) == (6, 4)
    assert len(list(tmp_path.glob("counter_*.db"))) == 2
