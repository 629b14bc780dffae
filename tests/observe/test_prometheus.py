"""A real Prometheus scrapes a real api by our example and our rules: what it says when the api is stopped."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.observe.conftest import RULES
from tests.stack import Stack, answers, steady_port, wait_until

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="Prometheus is not installed"
)


class Prometheus:
    """A Prometheus on our files, in which a minute of the rules and a quarter of one between scrapes last a second."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        folder.mkdir()
        example = (RULES.parent / "prometheus.yml").read_text()
        hurried = re.sub(r"(scrape_interval|evaluation_interval): 15s", r"\1: 1s", example)
        assert hurried.count(": 1s") == 2
        (folder / "prometheus.yml").write_text(
            hurried.replace("127.0.0.1:8000", stack.api_url.removeprefix("http://"))
        )
        (folder / RULES.name).write_text(re.sub(r"for: (\d+)m", r"for: \1s", RULES.read_text()))
        port = steady_port()
        self.url = f"http://127.0.0.1:{port}"
        command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}"]
        command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
        stack.start("prometheus", command, lambda: answers(f"{self.url}/-/ready"))

    def ask(self, path: str, **parameters: str) -> Any:
        """Return what it answers to a question."""
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def value(self, query: str) -> float | None:
        """Return the one figure of a query, None where there is none."""
        found = self.ask("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None

    def alerts(self) -> dict[str, str]:
        """Return the alerts that are pending or firing, by name."""
        return {found["labels"]["alertname"]: found["state"] for found in self.ask("alerts")["alerts"]}


@pytest.mark.e2e
@needs_prometheus
def test_an_api_that_was_stopped_is_told_as_down_until_it_is_back(stack: Stack, tmp_path: Path) -> None:
    stack.start_api()
    prometheus = Prometheus(stack, tmp_path / "prometheus")
    # Long enough for the rule to have fired, if it were ever going to while figures come.
    wait_until(lambda: (prometheus.value("count_over_time(up[5m]) and up == 1") or 0) > 4, 60)
    assert prometheus.alerts() == {}

    stack.kill("api", signal.SIGTERM)
    wait_until(lambda: prometheus.alerts() == {"UsherDown": "firing"}, 60, lambda: str(prometheus.alerts()))

    stack.processes["api"].wait(30)
    stack.restart("api")
    wait_until(lambda: prometheus.alerts() == {}, 60, lambda: str(prometheus.alerts()))
    assert prometheus.value("up") == 1
