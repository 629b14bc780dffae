"""The catalogue as a file: YAML, or CSV for one kind of row. Read and checked here without a database.

What a row names is set; what it leaves out stays as it is, or has its default in a new row. Every mistake has its line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from domain.course_fields import (
    LESSONS_MAX,
    LIST_MAX,
    Description,
    Difficulty,
    Hours,
    Line,
    Markdown,
    Slug,
    WebAddress,
    XpReward,
)
from domain.users import normalize_email

# Characters of a whole file.
FILE_MAX = 50_000_000
# Where a value stands: ("courses", 3, "title").
Path = tuple[str | int, ...]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What tells the kinds of CSV files apart: a column, and what a row of it is.
CSV_KINDS = {"code": "partner courses", "course": "lessons", "slug": "courses"}
CSV_HINT = "the header needs slug (courses), course and slug (lessons) or partner and code (partner courses)"


@dataclass(frozen=True)
class Mistake:
    """What is wrong in a file. `line` counts from 1; `key` names the value, such as `courses[3].title`."""

    line: int
    key: str
    message: str


class FileMistakes(Exception):
    """The file cannot be taken; `mistakes` holds all that was found."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = sorted(mistakes, key=lambda mistake: mistake.line)
        super().__init__(f"{len(self.mistakes)} mistakes")


class RowModel(BaseModel):
    """A row of the file. Fields with a default may be left out, and are then not touched."""

    model_config = ConfigDict(extra="forbid")

    def values(self, *without: str) -> dict[str, Any]:
        """Return what was named, but for these."""
        return self.model_dump(exclude=set(without), exclude_unset=True)


class CategoryRow(RowModel):
    slug: Slug
    name: Line


class AttachmentRow(RowModel):
    name: Line
    url: WebAddress


class LessonRow(RowModel):
    slug: Slug
    title: Line = ""
    description: Description = ""
    body: Markdown = ""
    video_url: WebAddress | None = None
    xp_reward: XpReward = 50
    published: bool = False


class CourseRow(RowModel):
    """One of our own courses. Its lessons come in the order of the file, those that it does not name after them."""

    slug: Slug
    title: Line = ""
    description: Description = ""
    image_url: WebAddress | None = None
    category: Slug | None = None
    difficulty: Difficulty = "beginner"
    estimated_hours: Hours | None = None
    xp_reward: XpReward = 200
    prerequisites: Annotated[list[Slug], Field(default=[], max_length=LIST_MAX)]
    published: bool = False
    attachments: Annotated[list[AttachmentRow], Field(default=[], max_length=LIST_MAX)]
    lessons: Annotated[list[LessonRow], Field(default=[], max_length=LESSONS_MAX)]


class PartnerCourseRow(RowModel):
    """A course of a partner. `external_code` is the partner's own id; without one, `code` is sent."""

    code: Line
    name: Line = ""
    external_code: Line | None = None
    description: Description | None = None
    hours: Hours | None = None
    level: Line | None = None
    credential_type: Line | None = None
    active: bool = True


class PartnerRow(RowModel):
    """A partner platform. `type` names the adapter; `id` is needed only where several have the same."""

    type: Line
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")] = ""
    name: Line = ""
    website_url: WebAddress | None = None
    support_email: Annotated[str, AfterValidator(normalize_email)] | None = None
    active: bool = True
    courses: Annotated[list[PartnerCourseRow], Field(default=[])]


class Catalogue(RowModel):
    """A whole file."""

    categories: Annotated[list[CategoryRow], Field(default=[])]
    courses: Annotated[list[CourseRow], Field(default=[])]
    partners: Annotated[list[PartnerRow], Field(default=[])]


@dataclass
class Source:
    """A file as it was read: plain values, the line of each, and what was wrong with it so far."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def mistake(self, path: Path, message: str) -> None:
        """Note a mistake at the line of this value, or of the nearest that there is around it."""
        self.mistakes.append(Mistake(self.line(path), name_of(path), message))

    def line(self, path: Path) -> int:
        """Return the line at which a value, or what it is part of, begins."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def check(self) -> None:
        """Raise `FileMistakes` when any was noted."""
        if self.mistakes:
            raise FileMistakes(self.mistakes)


@dataclass(frozen=True)
class Parsed:
    """A file that can be taken as far as it can be told without the database."""

    catalogue: Catalogue
    source: Source


def parse(text: str, *, is_csv: bool) -> Parsed:
    """Read a file; raise `FileMistakes` naming everything that is wrong with it."""
    if len(text) > FILE_MAX:
        raise FileMistakes([Mistake(1, "", f"larger than {FILE_MAX} characters: split it")])
    source = read_csv(text) if is_csv else read_yaml(text)
    source.check()
    try:
        catalogue = Catalogue.model_validate(source.data)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            source.mistake(item["loc"], item["msg"].removeprefix("Value error, "))
        source.check()
        raise
    _check_keys(catalogue, source)
    source.check()
    return Parsed(catalogue, source)


def read_yaml(text: str) -> Source:
    """Read one YAML document. Aliases and repeated keys are mistakes: what a file says should be seen in it."""
    source = Source()
    try:
        loader = LOADER(text)
        try:
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                source.mistake((), "the file needs at least one of categories, courses, partners")
                return source
            source.data = _plain(loader, node, (), source, set())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        source.mistakes.append(Mistake(line, "", f"not YAML: {error.problem or error.context}"))
    except yaml.YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        source.mistakes.append(Mistake(line, "", f"not YAML: {str(error).splitlines()[0]}"))
    except RecursionError:
        source.mistakes.append(Mistake(1, "", "nested too deeply"))
    return source


def read_csv(text: str) -> Source:
    """Read a CSV file with a header: courses, lessons of courses, or courses of partners. An empty cell is left out."""
    source = Source({})
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        kind = next((kind for column, kind in CSV_KINDS.items() if column in header), None)
        if kind is None:
            source.mistake((), CSV_HINT)
        elif len(set(header)) < len(header):
            source.mistake((), "a column stands twice in the header")
        else:
            _take_rows(source, kind, header, reader)
    except csv.Error as error:
        source.mistakes.append(Mistake(max(reader.line_num, 1), "", f"not CSV: {error}"))
    return source


def name_of(path: Path) -> str:
    """Return a path as people write it: `courses[3].title`, counted from 0."""
    named = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return named.removeprefix(".")


def dump(catalogue: dict[str, Any]) -> str:
    """Return a catalogue as YAML; texts of several lines stay readable."""
    return yaml.dump(catalogue, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _write_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _write_text)


def _plain(loader: Any, node: Any, path: Path, source: Source, seen: set[int]) -> Any:
    """Return a node's value and note the line of all that is in it."""
    source.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(loader, node, path, source)
    if id(node) in seen:
        source.mistakes.append(
            Mistake(node.start_mark.line + 1, name_of(path), "an alias repeats it: write it out")
        )
        return None
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        return [_plain(loader, item, (*path, at), source, seen) for at, item in enumerate(node.value)]
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = _scalar(loader, key_node, path, source) if isinstance(key_node, yaml.ScalarNode) else None
        inner: Path = (*path, str(key))
        if str(key) in found:
            source.mistakes.append(
                Mistake(key_node.start_mark.line + 1, name_of(inner), "stands here a second time")
            )
        source.lines[inner] = key_node.start_mark.line + 1
        found[str(key)] = _plain(loader, value_node, inner, source, seen)
    return found


def _scalar(loader: Any, node: yaml.ScalarNode, path: Path, source: Source) -> Any:
    try:
        return loader.construct_object(node)
    except (ValueError, yaml.YAMLError):
        source.mistakes.append(
            Mistake(node.start_mark.line + 1, name_of(path), "cannot be read; put it in quotes")
        )
        return None


def _take_rows(source: Source, kind: str, header: list[str], reader: Any) -> None:
    """Put rows where they would stand in a YAML file."""
    begins = reader.line_num + 1
    owners: dict[Any, int] = {}
    for cells in reader:
        line, begins = begins, reader.line_num + 1
        if not any(cells):
            continue
        if len(cells) > len(header):
            source.mistakes.append(Mistake(line, "", "has more cells than the header"))
        row: dict[str, Any] = {name: cell for name, cell in zip(header, cells, strict=False) if cell.strip()}
        if "prerequisites" in row:
            row["prerequisites"] = [part.strip() for part in row["prerequisites"].split(";") if part.strip()]
        path: Path = ("courses",)
        if kind == "lessons":
            path = _owner(source, owners, line, "courses", {"slug": row.pop("course", None)}, "lessons")
        elif kind == "partner courses":
            path = _owner(source, owners, line, "partners", {"type": row.pop("partner", None)}, "courses")
        _append(source, path, row, line)


def _owner(
    source: Source, owners: dict[Any, int], line: int, name: str, key: dict[str, Any], below: str
) -> Path:
    """Return the path of the list that a row belongs in; who owns it is named by a column of the row."""
    [owner] = key.values()
    if owner not in owners:
        owners[owner] = _append(source, (name,), {**key, below: []}, line)
    return (name, owners[owner], below)


def _append(source: Source, path: Path, row: dict[str, Any], line: int) -> int:
    """Add a row to the list at a path; return its place."""
    listed = source.data
    for part in path:
        listed = listed.setdefault(part, []) if isinstance(listed, dict) else listed[part]
    listed.append(row)
    source.lines[(*path, len(listed) - 1)] = line
    return len(listed) - 1


def _check_keys(catalogue: Catalogue, source: Source) -> None:
    """Note every key that stands twice."""
    lists: list[tuple[Path, list[Any]]] = [
        (("categories",), [row.slug for row in catalogue.categories]),
        (("courses",), [row.slug for row in catalogue.courses]),
        (("partners",), [(row.type, row.id) for row in catalogue.partners]),
    ]
    for at, course in enumerate(catalogue.courses):
        lists.append((("courses", at, "lessons"), [row.slug for row in course.lessons]))
        lists.append((("courses", at, "attachments"), [row.name for row in course.attachments]))
        lists.append((("courses", at, "prerequisites"), course.prerequisites))
    for at, partner in enumerate(catalogue.partners):
        lists.append((("partners", at, "courses"), [row.code for row in partner.courses]))
    for path, keys in lists:
        for place in _repeated(keys):
            source.mistake((*path, place), f"{_shown(keys[place])} stands here a second time")


def _repeated(keys: Sequence[Hashable]) -> Iterator[int]:
    seen: set[Hashable] = set()
    for place, key in enumerate(keys):
        if key in seen:
            yield place
        seen.add(key)


def _shown(key: Any) -> str:
    return key if isinstance(key, str) else str(key[0])
