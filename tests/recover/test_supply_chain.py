"""What Usher is made of: hashed, listed, auditable; and no credentials beside it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack import BIN, ROOT

LOCKS = ("requirements.lock", "deploy/runtime.lock", "deploy/demo.lock")
FINDER = ROOT / "deploy" / "find_secrets.py"
# Made up here, piece by piece, so that this file holds none.
PLANTED = {
    "Stripe key": "sk_" + "live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "AWS key": "AKIA" + "IOSFODNN7EXAMPLE",
    "GitHub token": "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8",
    "private key": "-----BEGIN " + "PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIB",
    "password in an address": "postgresql://usher:" + "hunter2hunter2hunter2" + "@db.internal/usher",
}


def run(*command: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "BIN": str(BIN), **env},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_is_pinned_and_hashed(name: str) -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
    assert len(entries) > 5
    assert [entry for entry in entries if not re.match(r"[\w.-]+(\[\w+\])?==\S+", entry)] == []
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_bill_of_materials_lists_what_the_image_runs_on(tmp_path: Path) -> None:
    file = tmp_path / "usher.cdx.json"
    done = run("sh", "deploy/sbom.sh", str(file), https_proxy="http://127.0.0.1:1")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(file.read_text())
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.6")
    listed = {(one["name"], one["version"]) for one in told["components"]}
    locked = re.findall(
        r"^([\w.-]+)(?:\[\w+\])?==([^\s;]+)", (ROOT / "deploy/runtime.lock").read_text(), re.MULTILINE
    )
    assert listed == set(locked)
    assert all(one["externalReferences"][0]["hashes"] for one in told["components"])


def test_an_audit_without_a_network_says_so_and_passes_nothing() -> None:
    done = run("sh", "deploy/audit.sh", https_proxy="http://127.0.0.1:1", HTTPS_PROXY="http://127.0.0.1:1")
    assert done.returncode == 3
    assert done.stdout == ""
    assert "needs a network" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", PLANTED)
def test_a_credential_in_a_new_file_is_found_and_not_repeated(tmp_path: Path, kind: str) -> None:
    run("git", "init", "-q", cwd=tmp_path)
    (tmp_path / "deploy").mkdir()
    (tmp_path / "notes.py").write_text(f"# Before.\n\nkey = '{PLANTED[kind]}'\n")
    found = run(sys.executable, str(FINDER), cwd=tmp_path)
    assert found.returncode == 1
    assert f"notes.py:3: looks like a {kind}" in found.stdout
    assert PLANTED[kind] not in found.stdout + found.stderr
    assert run(sys.executable, str(FINDER), "--accept", cwd=tmp_path).returncode == 0
    assert run(sys.executable, str(FINDER), cwd=tmp_path).returncode == 0
    # Another one in the same place is another one.
    middle = len(PLANTED[kind]) // 2
    other = PLANTED[kind][:middle] + "Z" + PLANTED[kind][middle + 1 :]
    (tmp_path / "notes.py").write_text(f"key = '{other}'\n")
    assert run(sys.executable, str(FINDER), cwd=tmp_path).returncode == 1
