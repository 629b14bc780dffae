"""`usher users import`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Usher
from tests.conftest import Database


def test_people_come_from_csv_and_json_and_bad_rows_are_named(
    usher: Usher, database: Database, tmp_path: Path
) -> None:
    table = tmp_path / "people.csv"
    table.write_text(
        "\ufeffemail,name\nzoe@example.com,Zoë\nnot an address,X\nyan@example.com,\n", encoding="utf-8"
    )
    answer = usher("users", "import", str(table), "--json")
    assert answer.code == 1
    assert (answer.json()["created"], [row["row"] for row in answer.json()["rejected"]]) == (2, [2])

    listed = tmp_path / "people.json"
    listed.write_text('[{"email": "ZOE@example.com", "name": "Zoë Q", "time_zone": "Europe/Vienna"}]')
    answer = usher("users", "import", str(listed), "--json")
    assert answer.code == 0
    assert (answer.json()["created"], answer.json()["updated"]) == (0, 1)


def test_a_file_that_is_neither_is_a_usage_error(
    usher: Usher, usher_env: dict[str, str], tmp_path: Path
) -> None:
    for name, content in {"a.csv": "name\nZoë\n", "b.json": "{", "c.json": '{"email": "a@b.c"}'}.items():
        (tmp_path / name).write_text(content)
        assert usher("users", "import", str(tmp_path / name)).code == 2
    assert usher("users", "import", str(tmp_path / "missing.csv")).code == 2
