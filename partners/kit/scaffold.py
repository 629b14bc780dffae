"""Writes the first files of a new partner: a configuration, or a configuration with an adapter, a fake and a test."""

from __future__ import annotations

from pathlib import Path
from string import Template

TEMPLATES = Path(__file__).parent / "scaffold"


def scaffold(folder: Path, name: str, title: str, *, code: bool) -> list[Path]:
    """Write the files into `folder` and return them; raise `FileExistsError` before anything is written."""
    package = f"{name.replace('-', '_')}_partner"
    values = {
        "name": name,
        "title": title,
        "package": package,
        "class_": "".join(part.capitalize() for part in name.replace("-", "_").split("_")),
        "env": name.replace("-", "_").upper(),
    }
    wanted = {folder / f"{name}.yaml": "code.yaml" if code else "rest.yaml"}
    if code:
        wanted |= {
            folder / package / "adapter.py": "adapter.py",
            folder / package / "fake.py": "fake.py",
            folder / package / f"test_{package}.py": "test.py",
        }
    taken = [path for path in wanted if path.exists()]
    if taken:
        raise FileExistsError(f"{taken[0]} exists")
    for path, template in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
        path.write_text(Template(text).substitute(values), encoding="utf-8")
    if code:
        (folder / package / "__init__.py").write_text(f'"""{title}."""\n', encoding="utf-8")
    return list(wanted)
