"""Every declarative configuration that comes with Usher replays its fixtures, without leaving this computer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import settings as settings_module
from partners import configuration
from partners.kit.replay import replay
from tests.cli.conftest import Usher, usher
from tests.conftest import Database

__all__ = ["usher"]

FIXTURES = configuration.SHIPPED / "fixtures"
SHIPPED = sorted(
    path for path in configuration.SHIPPED.glob("*.yaml") if configuration.read(path).adapter == "rest"
)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_configuration_replays_its_fixtures(path: Path) -> None:
    assert replay(path, FIXTURES / f"{path.stem}.jsonl") == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_fixtures_are_about_every_operation_that_matters(path: Path) -> None:
    lines = (FIXTURES / f"{path.stem}.jsonl").read_text().splitlines()
    played = {json.loads(line)["operation"] for line in lines}
    assert {"find_account", "create_account", "enroll", "progress"} <= played


def test_a_request_or_result_that_differs_is_told(tmp_path: Path) -> None:
    path = configuration.SHIPPED / "talentlms.yaml"
    lines = (FIXTURES / "talentlms.jsonl").read_text().splitlines()
    wrong = tmp_path / "wrong.jsonl"
    changed = [
        lines[0].replace("usher-check", "usher-chick"),
        lines[4].replace('"id": "7"', '"id": "8"'),
        lines[3].replace("[]", '["x"]'),
        json.dumps({**json.loads(lines[3]), "exchanges": json.loads(lines[3])["exchanges"] * 2}),
    ]
    wrong.write_text("\n".join(changed))
    problems = replay(path, wrong)
    assert [problem.split(":")[1] for problem in problems] == ["1", "2", "3", "4"]


def test_the_command_replays_an_operators_own_fixtures(
    usher: Usher, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme.yaml").write_text((configuration.SHIPPED / "talentlms.yaml").read_text())
    (tmp_path / "fixtures").mkdir()
    fixtures = tmp_path / "fixtures/acme.jsonl"
    fixtures.write_text((FIXTURES / "talentlms.jsonl").read_text())
    monkeypatch.setenv("PARTNERS_DIR", str(tmp_path))
    settings_module.get_settings.cache_clear()
    answer = usher("partner", "test", "acme", "--json")
    told = [row for row in answer.json() if row["what"] == "fixtures"]
    assert (answer.code, [row["outcome"] for row in told]) == (0, ["ok"])
    fixtures.write_text(fixtures.read_text().replace("/api/v2/users/7/courses", "/api/v2/users/8/courses", 1))
    answer = usher("partner", "test", "acme", "--json")
    [wrong] = [row for row in answer.json() if row["what"] == "fixtures"]
    assert (answer.code, wrong["outcome"]) == (1, "wrong")
    assert "acme.jsonl:9: sent" in wrong["detail"]
