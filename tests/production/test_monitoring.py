"""Rules and dashboard: each query is parsed, and asked of the metrics of a live server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser
import pytest
import yaml

from inception_serving import ModelServer
from tests.production.manifests import DOCKER, MONITORING, compose, of_kind, pod_spec
from tests.serving.caller import free_port

RULES = yaml.safe_load((MONITORING / "rules.yml").read_text("utf-8"))
DASHBOARD = json.loads((MONITORING / "grafana/dashboards/serving.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# What Prometheus adds to each series of a target.
TARGET = {"job": "inception", "instance": "server:8501", "namespace": "default", "pod": "one"}


def rules() -> dict[str, str]:
    """Queries by the name of their rule."""
    return {
        rule.get("record") or rule["alert"]: rule["expr"]
        for group in RULES["groups"]
        for rule in group["rules"]
    }


def filled(query: str) -> str:
    """The query as Grafana sends it, with all models and servers chosen."""
    for name, value in (("$__rate_interval", "1m"), ("$model", ".*"), ("$instance", ".*")):
        query = query.replace(name, value)
    return query


def panels() -> dict[str, str]:
    """Queries by their panel's title and letter."""
    return {
        f"{panel['title']} {target['refId']}": filled(target["expr"])
        for panel in PANELS
        for target in panel["targets"]
    }


QUERIES = {**rules(), **panels()}


@dataclass(frozen=True)
class Series:
    """One line of the metrics, as Prometheus stores it."""

    name: str
    labels: dict[str, str]

    def fits(self, selector: Any) -> bool:
        """Whether PromQL's selector selects it; a label that is not there is empty."""
        if self.name != selector.name:
            return False
        for matcher in selector.matchers.matchers:
            value = self.labels.get(matcher.name, "")
            equal = value == matcher.value
            like = re.fullmatch(matcher.value, value) is not None
            answer = {"Equal": equal, "NotEqual": not equal, "Re": like, "NotRe": not like}
            if not answer[str(matcher.op).rpartition(".")[2]]:
                return False
        return True


def scrape(live: ModelServer) -> list[Series]:
    """What Prometheus would find, the recorded series among them."""
    path = "/monitoring/prometheus/metrics"
    with urllib.request.urlopen(f"{live.rest_address}{path}", timeout=20) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        lines = [line for line in answer.read().decode().splitlines() if line[0] != "#"]
    found = []
    for line in lines:
        name, labels = re.fullmatch(r"([a-zA-Z_:]+)\{(.*)\} \S+", line).groups()  # type: ignore[union-attr]
        found.append(Series(name, {**TARGET, **dict(re.findall(r'(\w+)="([^"]*)"', labels))}))
    recorded = [name for name in rules() if ":" in name]
    return [*found, Series("up", TARGET), *(Series(name, TARGET) for name in recorded)]


def parts(query: str, kind: type) -> list[Any]:
    """The query's parts of one kind."""
    found: list[Any] = []

    def visit(part: Any) -> None:
        if isinstance(part, kind):
            found.append(part)

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


@pytest.fixture(scope="session")
def series(live: ModelServer) -> list[Series]:
    return scrape(live)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_query_finds_its_series_on_a_live_server(query: str, series: list[Series]) -> None:
    """And the labels that it sums by."""
    selectors = parts(query, promql_parser.VectorSelector)
    assert selectors
    labels: set[str] = set()
    for selector in selectors:
        selected = [each for each in series if each.fits(selector)]
        assert selected, f"no series: {selector}"
        assert {matcher.name for matcher in selector.matchers.matchers} <= selected[0].labels.keys()
        labels |= selected[0].labels.keys()
    for aggregate in parts(query, promql_parser.AggregateExpr):
        if aggregate.modifier:
            assert set(aggregate.modifier.labels) <= labels


def test_a_query_of_nothing_would_be_seen(series: list[Series]) -> None:
    (selector,) = parts('rate(:tensorflow:serving:request_count{model="photos"}[1m])',
                        promql_parser.VectorSelector)  # fmt: skip
    assert not any(each.fits(selector) for each in series)


def test_summaries_name_labels_that_their_alerts_have() -> None:
    for group in RULES["groups"]:
        for rule in group["rules"]:
            named = set(re.findall(r"\$labels\.(\w+)", str(rule.get("annotations", ""))))
            aggregates = parts(rule["expr"], promql_parser.AggregateExpr)
            if aggregates:
                assert named <= set(aggregates[0].modifier.labels), rule


def test_every_alert_has_a_test_of_its_own() -> None:
    tests = yaml.safe_load((MONITORING / "rules_test.yml").read_text("utf-8"))["tests"]
    fired = {
        each["alertname"]
        for test in tests
        for each in test.get("alert_rule_test", [])
        if each["exp_alerts"]
    }
    assert fired == {name for name in rules() if ":" not in name}


promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed (Debian: prometheus)"
)


@promtool
@pytest.mark.parametrize(
    "command",
    [("check", "config", "prometheus.yml"), ("check", "rules", "rules.yml"),
     ("test", "rules", "rules_test.yml")],
    ids=" ".join,
)  # fmt: skip
def test_promtool_agrees(command: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *command], cwd=MONITORING, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert numbers == sorted(set(numbers))
    provisioned = MONITORING / "grafana/provisioning/datasources/prometheus.yaml"
    (source,) = yaml.safe_load(provisioned.read_text("utf-8"))["datasources"]
    for panel in PANELS:
        for each in (panel, *panel["targets"]):
            assert each["datasource"]["uid"] == source["uid"]
    services = compose()["services"]
    host, port = source["url"].removeprefix("http://").split(":")
    assert services[host]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboards_choices_are_labels(series: list[Series]) -> None:
    for variable in DASHBOARD["templating"]["list"]:
        query, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
        (selector,) = parts(query, promql_parser.VectorSelector)
        assert any(each.fits(selector) and label in each.labels for each in series)


def test_prometheus_scrapes_what_compose_starts() -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text("utf-8"))
    (job,) = config["scrape_configs"]
    assert job["job_name"] == TARGET["job"]
    path = (DOCKER / "configs/monitoring.config").read_text("utf-8")
    assert f'path: "{job["metrics_path"]}"' in path
    (target,) = job["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert f"--rest_api_port={port}" in compose()["services"][host]["command"]


def relabelled(rule_list: list[dict[str, Any]], labels: dict[str, str]) -> dict[str, str] | None:
    """Prometheus's relabelling, of the actions that ours use; None where the target is dropped."""
    labels = dict(labels)
    for rule in rule_list:
        value = ";".join(labels.get(name, "") for name in rule["source_labels"])
        match = re.fullmatch(rule.get("regex", "(.*)"), value)
        if rule.get("action", "replace") == "keep":
            if not match:
                return None
        elif match:
            labels[rule["target_label"]] = value
    return {name: value for name, value in labels.items() if not name.startswith("__meta")}


def test_prometheus_finds_each_pod_once_in_a_cluster() -> None:
    config = yaml.safe_load((MONITORING / "prometheus-kubernetes.yml").read_text("utf-8"))
    (job,) = config["scrape_configs"]
    template = of_kind("base", "Deployment")[0]["spec"]["template"]["metadata"]
    pod = {"__meta_kubernetes_namespace": "default", "__meta_kubernetes_pod_name": "one"}
    for kind in ("labels", "annotations"):
        for name, value in template[kind].items():
            safe = re.sub(r"[^a-zA-Z0-9]", "_", name)
            pod[f"__meta_kubernetes_pod_{kind.removesuffix('s')}_{safe}"] = value
    found = {}
    for container in pod_spec("base")["containers"]:
        for port in container["ports"]:
            name = {"__meta_kubernetes_pod_container_port_name": port["name"]}
            labels = relabelled(job["relabel_configs"], {**pod, **name})
            if labels:
                found[port["containerPort"]] = labels
    path = "/monitoring/prometheus/metrics"
    assert found == {8501: {"__metrics_path__": path, "namespace": "default", "pod": "one"}}
    stranger = {**pod, "__meta_kubernetes_pod_label_app_kubernetes_io_name": "other"}
    assert relabelled(job["relabel_configs"], stranger) is None


def test_the_autoscalers_metric_is_the_one_that_is_recorded() -> None:
    adapter = yaml.safe_load((MONITORING / "prometheus-adapter.yaml").read_text("utf-8"))
    (rule,) = adapter["rules"]["custom"]
    assert rule["seriesQuery"] in rules()
    for label in rule["resources"]["overrides"]:
        (aggregate,) = parts(rules()[rule["seriesQuery"]], promql_parser.AggregateExpr)
        assert label in aggregate.modifier.labels
    query = rule["metricsQuery"]
    for gap, value in (("GroupBy", "pod"), ("Series", rule["seriesQuery"]),
                       ("LabelMatchers", 'pod="one"')):  # fmt: skip
        query = query.replace(f"<<.{gap}>>", value)
    promql_parser.parse(query)
    (autoscaler,) = of_kind("gpu", "HorizontalPodAutoscaler")
    (metric,) = autoscaler["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]


@pytest.fixture(scope="module")
def prometheus(live: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that has scraped the live server for some seconds."""
    folder = tmp_path_factory.mktemp("prometheus")
    config = (MONITORING / "prometheus.yml").read_text("utf-8")
    for old, new in (("15s", "500ms"), ("server:8501", f"127.0.0.1:{live.rest_port}")):
        assert old in config
        config = config.replace(old, new)
    (folder / "prometheus.yml").write_text(config, "utf-8")
    shutil.copy(MONITORING / "rules.yml", folder)
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder}", f"--web.listen-address={address}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            while not value(address, "inception:requests_in_flight"):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()


def value(address: str, query: str) -> list[Any]:
    """Prometheus's answer; nothing while it does not listen."""
    parameters = urllib.parse.urlencode({"query": query})
    try:
        with urllib.request.urlopen(f"http://{address}/api/v1/query?{parameters}") as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
            return found
    except urllib.error.URLError:
        return []


@pytest.mark.skipif(not shutil.which("prometheus"), reason="Prometheus is not installed")
def test_prometheus_answers_every_panel(prometheus: str) -> None:
    unanswered = [name for name, query in panels().items() if not value(prometheus, query)]
    assert not unanswered
