"""The React package: its types are the API's, and its own tests pass."""

from __future__ import annotations

import json
import re
from pathlib import Path

from api.app import create_app
from tests.clients.conftest import run_node


def test_the_generated_types_are_those_of_the_api(
    react: Path, usher_env: dict[str, str], tmp_path: Path
) -> None:
    spec, made = tmp_path / "openapi.json", tmp_path / "schema.ts"
    spec.write_text(json.dumps(create_app().test_client().get("/openapi.json").get_json()))
    run_node("scripts/types.mjs", str(spec), "--out", str(made))
    same = made.read_text() == (react / "src/schema.ts").read_text()
    assert same, f"the API changed: `npm run types` makes src/schema.ts anew; it would be {made}"


def test_the_packages_own_tests_pass_with_both_versions_of_react(react: Path) -> None:
    said = run_node("node_modules/vitest/vitest.mjs", "run", USHER_TYPES="checked")
    assert {"react-18", "react-19"} <= set(re.findall(r"react-\d+", said))


def test_the_types_fit_the_seeds_and_nothing_public_is_any(react: Path, tmp_path: Path) -> None:
    options = ("--noEmit", "false", "--emitDeclarationOnly", "--outDir", str(tmp_path))
    run_node("node_modules/typescript/bin/tsc", *options)  # Checks test/shapes.test-d.ts too.
    declared = sorted((tmp_path / "src").glob("*.d.ts"))
    assert tmp_path / "src/index.d.ts" in declared
    text = "\n".join(re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL) for path in declared)
    assert re.findall(r".*\bany\b.*", text) == []
