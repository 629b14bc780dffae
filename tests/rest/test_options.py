"""Mistakes in a declarative partner's options are told with the file's line and the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from partners import configuration
from partners.configuration import ConfigurationWrong

GOOD = Path(__file__).parent / "partners/brightpath.yaml"

# What is replaced by what, and what is then said of which key.
MISTAKES = [
    ("kind: login_token", "kind: magic", "auth.kind", "'magic' is not one of"),
    ("prefix: ''", "prefixes: ''", "auth.prefixes", "is not known here; known are"),
    ("method: POST", "method: FETCH", "operations.create_account.method", "'FETCH' is not one of"),
    ("path: /people\n", "path: people\n", "operations.find_account.path", "does not match"),
    ("path: /people\n", "path: /people?x=1\n", "operations.find_account.path", "does not match"),
    ("path: /people\n", "path: /../people\n", "operations.find_account.path", "does not match"),
    ("path: /people\n", "path: //evil.example/\n", "operations.find_account.path", "does not match"),
    ("items: people", "items: people[", "operations.find_account.items", "is no JMESPath expression"),
    ('live_when: "state', 'live_when: "state ==', "operations.find_enrollment.live_when", "no JMESPath"),
    ("when: \"error.code == 'BUSY'\"", 'when: "error."', "errors.3.when", "no JMESPath"),
    ("means: duplicate", "means: dupe", "errors.0.means", "'dupe' is not one of"),
    (
        "{student.email}",
        "{student.mail}",
        "operations.create_account.form.mail",
        "{student.mail} is not known",
    ),
    ("{student.email}", "{student.__class__}", "operations.create_account.form.mail", "is not known here"),
    ("{student.email}", "{student.email|eval}", "operations.create_account.form.mail", "|eval is not known"),
    ("{student.email}", "{student.email", "operations.create_account.form.mail", "has a brace"),
    ("{student.email}", "{secret.password}", "operations.create_account.form.mail", "is not known here"),
    ("{secret.password}", "{secret.pass}", "auth.form.password", "{secret.pass} is not known here"),
    ("    unenroll:", "      json: {a: 1}\n    unenroll:", "operations.enroll.form", "not both"),
    (
        "result: {id: no}",
        "result: {name: no}",
        "operations.find_account.result",
        "'id' is a required property",
    ),
    (
        'method: POST, path: "/places/{seat_id}/void"',
        "metod: POST, path: /",
        "operations.unenroll.metod",
        "not known",
    ),
    ("kind: page, param: page, size: 2", "kind: page, size: 2", "operations.find_account.paging", "'param'"),
    ("per_second: 200", "per_second: 200, per_minute: 5", "limits.per_minute", "not both"),
    ("kind: hmac_sha256", "kind: md5", "webhook.verify.kind", "'md5' is not one of"),
    (
        "  operations:\n    check:",
        "  operations:\n    chek:",
        "operations.chek",
        "is not known here; known are",
    ),
    ("header: X-Session", 'header: "X-Session\\r\\nX-Evil"', "auth.header", "does not match"),
]


def test_the_good_one_is_good() -> None:
    assert configuration.read(GOOD).options["times"] == "epoch_ms"


@pytest.mark.parametrize(("good", "bad", "key", "words"), MISTAKES)
def test_a_mistake_is_told_with_its_line_and_key(
    tmp_path: Path, good: str, bad: str, key: str, words: str
) -> None:
    text = GOOD.read_text().replace('prefix: ""', "prefix: ''")
    assert good in text, good
    place = text.index(good)
    broken = text[:place] + bad + text[place + len(good) :]
    path = tmp_path / "brightpath.yaml"
    path.write_text(broken)
    with pytest.raises(ConfigurationWrong) as caught:
        configuration.read(path)
    told = [problem for problem in caught.value.problems if f": options.{key}: " in problem]
    assert told, caught.value.problems
    assert words in told[0]
    lines = broken.splitlines()
    line = lines[int(told[0].split(":")[1]) - 1]
    last = key.rpartition(".")[2]
    assert last in line or last.isdecimal(), (told[0], line)


def test_headers_that_steer_http_itself_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "brightpath.yaml"
    path.write_text(
        GOOD.read_text().replace("  success_when: ok\n", "  success_when: ok\n  headers: {Host: evil}\n")
    )
    with pytest.raises(ConfigurationWrong, match=r"options\.headers\.Host: is set by Usher itself"):
        configuration.read(path)


def test_only_true_and_false_are_truth_values(tmp_path: Path) -> None:
    value, _ = configuration.parse("id: no\non: yes\nok: true\n", "x.yaml")
    assert value == {"id": "no", "on": "yes", "ok": True}
