"""The integrator's kit: what it scaffolds works, calls and records are as told, a live walk finds what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import settings as settings_module
from partners.registry import get_partner
from tests.cli.conftest import Usher
from tests.partners.conftest import API_KEY, RunningSandbox, running_sandbox, sandbox

__all__ = ["running_sandbox", "sandbox"]

PERSON = "ada.canary@example.org"


@pytest.fixture
def folder(usher_env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty PARTNERS_DIR."""
    made = tmp_path / "partners.d"
    made.mkdir()
    monkeypatch.setenv("PARTNERS_DIR", str(made))
    settings_module.get_settings.cache_clear()
    get_partner.cache_clear()
    yield made
    get_partner.cache_clear()
    if str(made) in sys.path:
        sys.path.remove(str(made))


@pytest.fixture
def in_force(sandbox: RunningSandbox, folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunningSandbox:
    """The sandbox as the partner of that name."""
    monkeypatch.setenv("SANDBOX_URL", sandbox.url)
    monkeypatch.setenv("SANDBOX_API_KEY", API_KEY)
    settings_module.get_settings.cache_clear()
    get_partner.cache_clear()
    return sandbox


def test_a_scaffolded_adapter_passes_the_suite_before_a_line_is_changed(usher: Usher, folder: Path) -> None:
    made = usher("partner", "new", "blue-harbor", "--code", "--title", "Blue Harbor")
    assert made.code == 0
    assert len([line for line in made.out.splitlines() if line.startswith(str(folder))]) == 4
    found = usher("partner", "test", "blue-harbor", "--json")
    assert {row["outcome"] for row in found.json()} <= {"ok", "skipped"}
    assert sum(row["outcome"] == "ok" for row in found.json()) > 12
    assert found.code == 0
    package = folder / "blue_harbor_partner"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package)]
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{Path.cwd()}"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode()
    ruff = [str(Path(sys.executable).parent / "ruff"), "check", "--config", "pyproject.toml", str(package)]
    done = subprocess.run(ruff, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()


def test_an_adapter_broken_afterwards_is_found(usher: Usher, folder: Path) -> None:
    assert usher("partner", "new", "red", "--code").code == 0
    adapter = folder / "red_partner" / "adapter.py"
    adapter.write_text(adapter.read_text().replace("accept={404},", ""))
    found = usher("partner", "test", "red", "--json")
    assert found.code == 1
    assert [row["what"] for row in found.json() if row["outcome"] == "wrong"] == ["a seat is given back"]


def test_nothing_is_written_over(usher: Usher, folder: Path) -> None:
    (folder / "acme.yaml").write_text("mine")
    refused = usher("partner", "new", "acme", "--code")
    assert refused.code == 2
    assert "acme.yaml exists" in refused.err
    assert [path.name for path in folder.iterdir()] == ["acme.yaml"]


@pytest.mark.parametrize(
    ("name", "words"), [("Acme", "is no name"), ("../x", "is no name"), ("moodle", "comes with")]
)
def test_a_name_has_to_be_one(usher: Usher, folder: Path, name: str, words: str) -> None:
    refused = usher("partner", "new", name)
    assert refused.code == 2
    assert words in refused.err


def test_a_mistake_in_a_configuration_is_told(usher: Usher, folder: Path) -> None:
    assert usher("partner", "new", "acme").code == 0
    file = folder / "acme.yaml"
    file.write_text(file.read_text() + "colour: blue\n")
    found = usher("partner", "test", "acme")
    assert found.code == 1
    assert "colour: is not known here" in found.out


def test_a_live_walk_does_everything_once_and_gives_it_back(usher: Usher, in_force: RunningSandbox) -> None:
    found = usher("partner", "test", "sandbox", "--live", "--course", "PY-1", "--email", PERSON, "--json")
    outcomes = {row["what"]: row["outcome"] for row in found.json()}
    assert found.code == 0
    assert outcomes["account again"] == outcomes["seat again"] == outcomes["give back again"] == "ok"
    assert outcomes["lock"] == "skipped"
    state = in_force.state()
    assert len(state["accounts"]) == 1
    assert state["enrollments"] == []


def test_a_live_walk_says_what_went_wrong_and_goes_on(usher: Usher, in_force: RunningSandbox) -> None:
    in_force.fault("POST /enrollments/{id}/launch", status=422, message="no launches today")
    found = usher("partner", "test", "sandbox", "--live", "--course", "PY-1", "--email", PERSON, "--json")
    assert found.code == 1
    assert [row["outcome"] for row in found.json() if row["what"] == "launch"] == ["refused"]
    assert [row["outcome"] for row in found.json() if row["what"] == "give back"] == ["ok"]


def test_a_call_prints_its_answer_and_changes_nothing_unasked(usher: Usher, in_force: RunningSandbox) -> None:
    asked = ("--reference", "usher-ada", "--email", PERSON)
    assert usher("partner", "call", "sandbox", "find_account", *asked).out.strip() == "null"
    refused = usher("partner", "call", "sandbox", "create_account", *asked)
    assert refused.code == 2
    assert "--go" in refused.err
    assert in_force.state()["accounts"] == []
    made = usher("partner", "call", "sandbox", "create_account", *asked, "--go").json()
    assert usher("partner", "call", "sandbox", "find_account", *asked).json() == made
    lost = usher("partner", "call", "sandbox", "get_progress", "--seat", "enr_nobody")
    assert lost.code == 1
    assert "not_found" in lost.err


def test_a_recording_holds_what_was_said_and_nobody(
    usher: Usher, in_force: RunningSandbox, tmp_path: Path
) -> None:
    file = tmp_path / "kept.jsonl"
    asked = ("--reference", "usher-ada", "--email", PERSON, "--name", "Ada Canary")
    for method in (("create_account", "--go"), ("find_account",)):
        assert usher("partner", "record", "sandbox", *method, *asked, "--into", str(file)).code == 0
    text = file.read_text()
    first, second = map(json.loads, text.splitlines())
    assert (first["request"]["method"], first["request"]["path"]) == ("POST", "/accounts")
    assert first["response"]["status"] == 201
    assert second["request"]["query"] == {"reference": "usher-ada"}
    [item] = second["response"]["body"]["data"]
    assert item == {
        "id": first["response"]["body"]["id"],
        "reference": "usher-ada",
        "email": "student@example.org",
    }
    for canary in (API_KEY, PERSON, "Ada Canary"):
        assert canary not in text


def test_a_scaffolded_configuration_is_valid_before_a_line_is_changed(usher: Usher, folder: Path) -> None:
    assert usher("partner", "new", "acme", "--title", "Acme & Sons: Ltd.").code == 0
    found = usher("partner", "test", "acme", "--json")
    assert found.json()[0] == {
        "outcome": "ok",
        "what": "configuration",
        "detail": "template-unverified: their papers; no account was tried",
    }
    assert found.code == 0
