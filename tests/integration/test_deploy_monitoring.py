"""Tests of what Prometheus and Grafana are handed: queries that parse, over names that the server exports."""

import json
import re
import shutil

import pytest
import yaml
from prometheus_client import CollectorRegistry

from demur.serve.api._metrics import Metrics
from demur.serve.control._meter import PrometheusMeter
from integration.deploy_files import DEPLOY, call, compose_model, find_program, read_yaml, used_in_query

ALERTS = DEPLOY / "prometheus" / "alerts.yml"
OWN = {"job", "instance"}
"""Labels that Prometheus adds."""
GRAFANA = {
    "$__rate_interval": "5m",
    "$__range": "6h",
    "$instance": ".*",
    "$task": "refusal",
}
WIDTH = 24
"""Columns of a dashboard."""


@pytest.fixture(scope="module")
def dashboard():
    return json.loads((DEPLOY / "grafana" / "dashboards" / "demur.json").read_text())


def exported():
    """Each series that the server and its controller export, with its labels."""
    controller = CollectorRegistry()
    PrometheusMeter(controller)
    found = {"up": set()}
    for registry in (Metrics()._registry, controller):
        for collector in registry._collector_to_names:
            labels = set(collector._labelnames)
            endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
            for ending in endings[collector._type]:
                more = {"le"} if ending == "_bucket" else set()
                found[f"{collector._name}{ending}"] = labels | more
    return found


def rules():
    (groups,) = read_yaml(ALERTS)
    return [rule for group in groups["groups"] for rule in group["rules"]]


def panels_of(dashboard):
    return [one for one in dashboard["panels"] if one["type"] != "row"]


def queries_of(dashboard):
    """Every query of the dashboard with Grafana's variables filled in."""
    for panel in panels_of(dashboard):
        for target in panel["targets"]:
            text = target["expr"]
            for name, value in GRAFANA.items():
                text = text.replace(name, value)
            yield panel["title"], text


def check_query(where, text):
    known = exported()
    for name, labels in used_in_query(text).items():
        assert name in known, f"{where}: the server exports no {name}"
        assert labels <= known[name] | OWN, f"{where}: {name} has no {sorted(labels - known[name] - OWN)}"


def test_the_server_exports_what_prometheus_would_read():
    """The list above is what stands in the text of /metrics once there are figures."""
    assert {"demur_requests_total", "demur_request_seconds_bucket", "demur_ready_workers"} <= set(exported())
    text = Metrics().show().decode()
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert families <= set(exported()) | {name.removesuffix("_bucket") for name in exported()}


def test_every_query_of_the_dashboard_is_over_what_is_exported(dashboard):
    queries = list(queries_of(dashboard))
    assert len(queries) >= 20
    for title, text in queries:
        assert "$" not in text, title
        check_query(title, text)


def test_every_alert_is_over_what_is_exported():
    assert len(rules()) >= 10
    for rule in rules():
        check_query(rule["alert"], rule["expr"])


def test_all_that_is_exported_is_looked_at(dashboard):
    """A figure that nobody shows and nothing warns of need not be counted."""
    used = set()
    for text in [*(text for _, text in queries_of(dashboard)), *(rule["expr"] for rule in rules())]:
        used |= set(used_in_query(text))
    stems = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    unused = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported()} - stems
    assert unused <= {"demur_control_step_begin_timestamp_seconds", "demur_control_step_runs_total"}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("rate(demur_request_total[5m])", "exports no demur_request_total"),
        ('demur_requests_total{code="200"}', "has no ['code']"),
        ("sum by (model) (demur_model)", "has no ['model']"),
    ],
)
def test_the_check_sees_a_wrong_name(query, said):
    with pytest.raises(AssertionError, match=re.escape(said)):
        check_query("here", query)


def test_the_check_sees_what_is_no_query():
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        check_query("here", "sum(rate(demur_requests_total[5m])")


def test_each_alert_says_what_is_wrong_and_what_to_do():
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "remedy"}
        assert all(text.endswith(".") for text in rule["annotations"].values())


def test_prometheus_takes_its_configuration_and_rules():
    program = find_program("promtool")
    call(program, "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))
    call(program, "check", "rules", str(ALERTS))


def test_the_alerts_fire_when_they_should_and_only_then(tmp_path):
    program = find_program("promtool")
    shutil.copy(ALERTS, tmp_path)
    shutil.copy(DEPLOY.parent / "tests" / "integration" / "deploy_alerts.yml", tmp_path)
    call(program, "test", "rules", "deploy_alerts.yml", cwd=tmp_path)


def test_every_alert_has_a_test_of_its_own():
    (given,) = read_yaml(DEPLOY.parent / "tests" / "integration" / "deploy_alerts.yml")
    cases = [case for test in given["tests"] for case in test["alert_rule_test"]]
    names = {rule["alert"] for rule in rules()}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


def test_prometheus_scrapes_the_guard_where_compose_runs_it():
    (config,) = read_yaml(DEPLOY / "prometheus" / "prometheus.yml")
    (job,) = config["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    compose = compose_model("compose.yaml")["services"]
    assert (job["job_name"], found["names"], found["port"]) == (
        "demur",
        ["api"],
        compose["api"]["ports"][0]["target"],
    )
    mounts = {one["target"]: one["source"] for one in compose["prometheus"]["volumes"]}
    assert mounts["/etc/prometheus"] == str(DEPLOY / "prometheus")
    assert "--config.file=/etc/prometheus/prometheus.yml" in compose["prometheus"]["command"]


# Grafana


def test_grafana_finds_what_it_is_handed():
    mounts = {
        one["target"]: one["source"] for one in compose_model("compose.yaml")["services"]["grafana"]["volumes"]
    }
    assert mounts["/etc/grafana/provisioning"] == str(DEPLOY / "grafana" / "provisioning")
    (providers,) = read_yaml(DEPLOY / "grafana" / "provisioning" / "dashboards" / "demur.yaml")
    (provider,) = providers["providers"]
    assert mounts[provider["options"]["path"]] == str(DEPLOY / "grafana" / "dashboards")
    (sources,) = read_yaml(DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml")
    (source,) = sources["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    (config,) = read_yaml(DEPLOY / "prometheus" / "prometheus.yml")
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def test_the_dashboard_can_be_imported_anywhere(dashboard):
    """It names no data source of one installation, and has no number of one data base."""
    assert dashboard["id"] is None
    assert dashboard["uid"] == "demur-guard"
    assert dashboard["schemaVersion"] >= 39
    sources = {json.dumps(one["datasource"]) for one in panels_of(dashboard)}
    sources |= {json.dumps(target["datasource"]) for one in panels_of(dashboard) for target in one["targets"]}
    assert {json.loads(one)["uid"] for one in sources} == {"${datasource}"}
    names = [one["name"] for one in dashboard["templating"]["list"]]
    assert names == ["datasource", "instance", "task"]
    used = set(re.findall(r"\$(\w+)", json.dumps([one["targets"] for one in panels_of(dashboard)])))
    assert {name for name in used if not name.startswith("__")} == {"instance", "task"}


def test_the_variables_ask_for_labels_that_are_exported(dashboard):
    for one in dashboard["templating"]["list"]:
        if one["type"] == "query":
            series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", one["definition"]).groups()
            assert one["query"]["query"] == one["definition"]
            check_query(one["name"], series)
            (name,) = used_in_query(series)
            assert label in exported()[name] | OWN


def test_panels_have_numbers_of_their_own_and_do_not_overlap(dashboard):
    numbers = [one["id"] for one in dashboard["panels"]]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    taken = set()
    for one in dashboard["panels"]:
        at = one["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= WIDTH
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, one["title"]
        taken |= cells


def test_each_panel_has_a_title_a_kind_that_ships_with_grafana_and_a_unit(dashboard):
    titles = [one["title"] for one in panels_of(dashboard)]
    assert len(set(titles)) == len(titles)
    for one in panels_of(dashboard):
        assert one["type"] in ("stat", "timeseries", "table")
        assert one["fieldConfig"]["defaults"]["unit"] in ("short", "s", "reqps", "ops", "percentunit")
        letters = [target["refId"] for target in one["targets"]]
        assert len(set(letters)) == len(letters)


def test_what_is_handed_over_is_plain_yaml_and_json():
    for path in sorted((DEPLOY / "grafana").rglob("*.y*ml")) + sorted((DEPLOY / "prometheus").glob("*.yml")):
        assert yaml.safe_load(path.read_text()), path
