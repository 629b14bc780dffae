"""The files for Prometheus and Grafana: they are read by promtool, name only what exists, and lead to the runbook."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from domain.notices import ENTRIES
from tests.observe.conftest import ROOT, RULES, Shop, needs_promtool

FOLDER = RULES.parent
DASHBOARD = json.loads((ROOT / "deploy/grafana/usher.json").read_text())


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return found


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_takes_the_rules_their_tests_and_the_example() -> None:
    promtool("check", "rules", "alerts.yml")
    promtool("check", "config", "prometheus.yml")
    promtool("test", "rules", "rules.test.yml")


def test_every_rule_is_tested_firing_and_silent() -> None:
    tests = yaml.safe_load((FOLDER / "rules.test.yml").read_text())["tests"]
    outcomes = {
        (case["alertname"], bool(case["exp_alerts"])) for test in tests for case in test["alert_rule_test"]
    }
    assert outcomes == {(rule["alert"], fires) for rule in rules() for fires in (True, False)}


def test_every_alert_has_its_entry_in_the_runbook_and_every_entry_its_alert() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    links = [rule["annotations"]["runbook_url"] for rule in rules()]
    assert links == [f"docs/runbook.md#{heading.lower()}" for heading in headings]
    assert headings == [rule["alert"] for rule in rules()]
    assert {entry for entry, _ in ENTRIES.values()} <= set(headings)


def test_rules_and_dashboard_use_only_metrics_that_exist_and_all_are_told_of(shop: Shop) -> None:
    page = shop.scrape()
    names = set(re.findall(r"^# HELP (usher_\w+) \S", page, re.MULTILINE))
    assert names == set(re.findall(r"^# TYPE (usher_\w+) (?:gauge|counter)$", page, re.MULTILINE))
    used = {
        name
        for text in [*(rule["expr"] for rule in rules()), *expressions()]
        for name in re.findall(r"usher_\w+", text)
    }
    assert used <= names
    told = (ROOT / "docs/api.md").read_text().split("## Metrics")[1]
    assert set(re.findall(r"`(usher_\w+)", told)) == names


@needs_promtool
def test_every_expression_of_the_dashboard_can_be_read(tmp_path: Path) -> None:
    recorded = [{"record": f"x:{n}", "expr": expr} for n, expr in enumerate(expressions())]
    assert len(recorded) > 30
    file = tmp_path / "dashboard.yml"
    file.write_text(json.dumps({"groups": [{"name": "x", "rules": recorded}]}))
    promtool("check", "rules", str(file))
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
