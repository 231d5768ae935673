"""The alerts of the chart, by Prometheus' own promtool; each has a runbook, and goes by words that there are."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pluginrelease.api import ConditionType, GatewayState
from pluginrelease.api.reasons import Reason
from pluginrelease.core.status import census
from pluginrelease.edges.metrics import FAMILIES, Metrics, PassResult
from pluginrelease_lab import binaries
from tests.edges.chart_values import CHART, CHECKOUT

RULES = CHART / "files" / "alerts.yaml"
CASES = Path(__file__).with_name("alert_cases.yaml")
LABELS = {
    "reason": {*Reason},
    "phase": census.PHASES,
    "state": {*GatewayState, *census.POD_STATES, "Waiting", "UnderWay"},
    "type": {*ConditionType},
    "status": census.STATUSES,
    "result": {*PassResult},
}


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def promtool(*arguments: str | Path) -> str:
    argv = [binaries.provide("promtool"), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_the_rules() -> None:
    """`promtool check rules` has nothing to say, whichever it is asked to look for."""
    assert f"{len(rules())} rules found" in promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


def test_each_alert_fires_in_its_time_and_not_at_rest(tmp_path: Path) -> None:
    """`promtool test rules`: at rest none fires; each fires after its time, with its labels and words."""
    cases = tmp_path / "cases.yaml"
    cases.write_text(CASES.read_text(encoding="utf-8").replace("RULES", str(RULES)), encoding="utf-8")
    promtool("test", "rules", cases)
    tried = re.findall(
        r"^- name: (\w+) fires$", CASES.read_text(encoding="utf-8").replace("  - name", "- name"), re.MULTILINE
    )
    assert sorted(tried) == sorted(rule["alert"] for rule in rules())


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_each_alert_has_a_page(rule: dict[str, Any]) -> None:
    """An alert names its page in docs/runbooks, that page names the alert, and the list there has both."""
    page = CHECKOUT / rule["annotations"]["runbook"]
    assert f"`{rule['alert']}`" in page.read_text(encoding="utf-8")
    assert f"[{rule['alert']}]({page.name})" in (page.parent / "README.md").read_text(encoding="utf-8")
    assert rule["labels"]["severity"] in ("critical", "warning")


def test_every_page_is_of_an_alert() -> None:
    """No runbook is about an alert that is not there."""
    pages = {f"docs/runbooks/{page.name}" for page in (CHECKOUT / "docs" / "runbooks").glob("*.md")}
    assert pages - {"docs/runbooks/README.md"} == {rule["annotations"]["runbook"] for rule in rules()}


def test_what_runbooks_look_for_in_the_log_is_written_there() -> None:
    """Each word that a runbook greps in the operator's log is in a message of the operator."""
    pages = [page.read_text(encoding="utf-8") for page in (CHECKOUT / "docs" / "runbooks").glob("*.md")]
    source = "".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "operator").rglob("*.py"))
    logged = "\n".join(re.findall(r"log\.\w+\(\s*\"([^\"]+)\"", source))
    asked = [found for page in pages for found in re.findall(r"kubectl logs .*\| grep (?:-E )?'?([^'\n]+)", page)]
    assert len(asked) >= 3
    assert {word for words in asked for word in words.split("|") if word not in logged} == set()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_alerts_go_by_metrics_and_words_that_there_are(rule: dict[str, Any]) -> None:
    """Each metric of an expression is given out, and each word that it compares with is one of the operator's."""
    check_words(rule["expr"])


def check_words(expression: str) -> None:
    given = {family.name for family in FAMILIES} | set(
        re.findall(r"^# TYPE (\w+)", Metrics().render().decode(), re.MULTILINE)
    )
    for metric in re.findall(r"\b(pluginrelease_\w+)", expression):
        assert re.sub(r"_(bucket|count|sum)$", "", metric) in given
    for label, words in re.findall(r'(\w+)!?=~?"([^"]+)"', expression):
        assert label == "code" or set(words.split("|")) <= {str(word) for word in LABELS[label]}, words


def test_the_dashboard_asks_for_what_there_is() -> None:
    """Each query of the dashboard is about metrics and words that the operator gives out."""
    panels = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    assert len(panels) > 10
    for panel in panels:
        for target in panel["targets"]:
            check_words(target["expr"])
