"""Row policies for Supabase's roles: a student reads their own rows and changes nothing, a stranger reads nothing."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import ARRAY, Boolean, Column, Connection, Date, DateTime, Engine, Numeric, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import ProgrammingError

from cli.database import policies as command
from cli.doctor import WARNING, WRONG, check_schema
from db import policies
from db.migrate import downgrade, upgrade
from db.models import Base
from db.policies import HIDDEN, POLICY, STRANGER, STUDENT, VISIBLE
from db.session import get_engine
from settings import get_settings
from tests.conftest import Database

ANA, BEN = str(uuid.uuid4()), str(uuid.uuid4())
OWNER = "usher_owner"
ISSUER = "https://ref.supabase.co/auth/v1"
NOW = datetime(2026, 11, 21, tzinfo=UTC)
# What a row needs to satisfy its table's checks, where a value of the right type is not enough.
NEEDED: dict[str, dict[str, Any]] = {
    "users": {"email": "x@example.com"},
    "xp_transactions": {
        "kind": "adjustment",
        "source_type": "MANUAL_ADJUSTMENT",
        "category": "MANUAL",
        "amount": 5,
        "transport_key": "x",
    },
}
DENIED = "permission denied"


@pytest.fixture
def roles(database: Database) -> Iterator[Engine]:
    """Supabase's roles, which all databases of the server share: there while the test runs, and an owner like ours.

    As in an older project, everything on every table was granted to them.
    """
    names = (STUDENT, STRANGER, OWNER)
    with database.engine.begin() as connection:
        for name in names:
            connection.execute(text(f"CREATE ROLE {name} NOLOGIN"))
        connection.execute(
            text(
                f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {STUDENT}, {STRANGER}; GRANT {OWNER} TO current_user"
            )
        )
    yield database.engine
    database.engine.dispose()
    with database.engine.begin() as connection:
        for name in names:
            connection.execute(text(f"REASSIGN OWNED BY {name} TO current_user; DROP OWNED BY {name}"))
            connection.execute(text(f"DROP ROLE {name}"))


@pytest.fixture
def protected(roles: Engine) -> Engine:
    """A database in which the roles were given out after it was migrated, and the policies then."""
    with roles.connect() as connection:
        assert policies.apply(connection) == len(tables(connection))
        assert policies.find_open(connection) == []
    return roles


@contextmanager
def request_of(engine: Engine, role: str, claims: dict[str, Any] | str | None) -> Iterator[Connection]:
    """A transaction as PostgREST opens it: the role and the claims hold for as long as it lasts."""
    with engine.connect() as connection, connection.begin() as begun:
        if claims is not None:
            said = claims if isinstance(claims, str) else json.dumps(claims)
            connection.execute(text("SELECT set_config('request.jwt.claims', :said, true)"), {"said": said})
        connection.execute(text(f"SET LOCAL ROLE {role}"))
        yield connection
        begun.rollback()


def as_student(engine: Engine, user_id: str) -> Any:
    return request_of(engine, STUDENT, {"role": STUDENT, "iss": ISSUER, "sub": user_id})


def tables(connection: Connection) -> set[str]:
    """Return every table of the schema."""
    found = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
    return set(found)


def fill(connection: Connection, name: str, user_id: str) -> None:
    """Insert a row of this user's, without what it refers to."""
    table, owner = Base.metadata.tables[name], VISIBLE[name].owner
    row = {
        column.name: value_for(column)
        for column in table.columns
        if not column.nullable and column.server_default is None and column.computed is None
    }
    row |= NEEDED.get(name, {}) | {owner: user_id}
    if name == "users":
        row["email"] = f"{user_id}@example.com"
    connection.execute(table.insert().values(row))


def value_for(column: Column[Any]) -> Any:
    match column.type:
        case Uuid():
            return str(uuid.uuid4())
        case DateTime():
            return NOW
        case Date():
            return date(2026, 11, 21)
        case Boolean():
            return False
        case ARRAY() | JSONB():
            return []
        case Numeric():
            return 1
    return 1 if column.type.python_type is int else str(uuid.uuid4())


@pytest.fixture
def rows(protected: Engine) -> Engine:
    """A row of Ana's and one of Ben's in each table that students read."""
    with protected.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for name in VISIBLE:
            for user_id in (ANA, BEN):
                fill(connection, name, user_id)
    return protected


def test_every_table_has_a_decision_and_every_decision_a_table(database: Database) -> None:
    with database.engine.connect() as connection:
        assert tables(connection) == VISIBLE.keys() | HIDDEN
    assert not VISIBLE.keys() & HIDDEN
    for name, visible in VISIBLE.items():
        assert {visible.owner, *visible.columns} <= set(Base.metadata.tables[name].columns.keys()), name


def test_a_student_reads_their_own_rows_and_nobody_elses(rows: Engine) -> None:
    for name, visible in VISIBLE.items():
        for user_id in (ANA, BEN):
            with as_student(rows, user_id) as connection:
                wanted = text(f"SELECT {', '.join(visible.columns)} FROM {name}")
                found = connection.execute(wanted).mappings().all()
                assert [row[visible.owner] for row in found] == [user_id], name
                foreign = text(f"SELECT count({visible.owner}) FROM {name} WHERE {visible.owner} <> :id")
                assert connection.scalar(foreign, {"id": user_id}) == 0, name


def test_a_student_reads_no_other_column_and_no_other_table(rows: Engine) -> None:
    secret = [
        (name, f'"{column}"')
        for name, visible in VISIBLE.items()
        for column in set(Base.metadata.tables[name].columns.keys()) - set(visible.columns)
    ]
    assert ("partner_lms_enrollments", '"external_account_id"') in secret
    for name, column in [*secret, *((name, "*") for name in HIDDEN)]:
        with as_student(rows, ANA) as connection, pytest.raises(ProgrammingError, match=DENIED):
            connection.execute(text(f"SELECT {column} FROM {name}"))


@pytest.mark.parametrize("role", [STUDENT, STRANGER])
def test_nobody_writes_anything(rows: Engine, role: str) -> None:
    columns = text(
        "SELECT relname, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid"
        " WHERE attnum = 1 AND relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    with request_of(rows, role, {"role": role, "sub": ANA}) as connection:
        first = {row.relname: row.attname for row in connection.execute(columns)}
        assert first.keys() == VISIBLE.keys() | HIDDEN
        for name, column in first.items():
            for statement in (
                f"INSERT INTO {name} DEFAULT VALUES",
                f"UPDATE {name} SET {column} = DEFAULT",
                f"DELETE FROM {name}",
                f"TRUNCATE {name}",
            ):
                with pytest.raises(ProgrammingError, match=DENIED), connection.begin_nested():
                    connection.execute(text(statement))


def test_a_stranger_reads_nothing(rows: Engine) -> None:
    for name in VISIBLE.keys() | HIDDEN:
        with (
            request_of(rows, STRANGER, {"role": STRANGER, "sub": ANA}) as connection,
            pytest.raises(ProgrammingError, match=DENIED),
        ):
            connection.execute(text(f"SELECT count(*) FROM {name}"))


def test_a_linked_identity_decides_before_a_user_of_the_same_id(rows: Engine) -> None:
    subject = str(uuid.uuid4())
    with rows.begin() as connection:
        link = text("INSERT INTO identities (issuer, subject, user_id) VALUES (:issuer, :subject, :user_id)")
        for values in ((ISSUER, subject, ANA), (ISSUER, "user_2x", BEN), (ISSUER, BEN, ANA)):
            connection.execute(link, dict(zip(("issuer", "subject", "user_id"), values, strict=True)))
        connection.execute(link, {"issuer": "supabase", "subject": "legacy", "user_id": BEN})
    for claims, whose in (
        ({"iss": ISSUER, "sub": subject}, ANA),
        ({"iss": ISSUER, "sub": "user_2x"}, BEN),
        ({"iss": ISSUER, "sub": BEN}, ANA),
        ({"iss": ISSUER, "sub": ANA.upper()}, ANA),
        ({"sub": "legacy"}, BEN),
    ):
        with request_of(rows, STUDENT, claims) as connection:
            assert connection.scalars(text("SELECT id FROM users")).all() == [whose], claims


def test_claims_of_nobody_read_nothing(rows: Engine) -> None:
    for claims in (
        *(None, "", "{}", "null", "[]", {"sub": ""}, {"sub": None}, {"sub": "x' OR true --"}),
        *({"sub": str(uuid.uuid4())}, {"sub": f"{ANA}\n"}, {"iss": "https://elsewhere.example", "sub": "x"}),
    ):
        with request_of(rows, STUDENT, claims) as connection:
            for name, visible in VISIBLE.items():
                assert connection.scalar(text(f"SELECT count({visible.owner}) FROM {name}")) == 0, (
                    name,
                    claims,
                )


def test_a_certificate_of_an_unpaid_seat_is_not_shown(rows: Engine) -> None:
    with rows.begin() as connection:
        connection.execute(text("UPDATE partner_certificates SET revoked_at = now()"))
    with as_student(rows, ANA) as connection:
        assert connection.scalar(text("SELECT count(id) FROM partner_certificates")) == 0


def test_only_the_callers_function_runs_with_our_rights(protected: Engine) -> None:
    """Any other function that a student calls can do no more than the student."""
    found = text(
        "SELECT proname, proconfig FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace"
    )
    with protected.connect() as connection:
        assert connection.execute(found).all() == [("usher_user_id", ['search_path=""'])]
    with (
        request_of(protected, STRANGER, {"sub": ANA}) as connection,
        pytest.raises(ProgrammingError, match=DENIED),
    ):
        connection.execute(text("SELECT usher_user_id()"))


def test_the_owner_of_the_tables_is_not_held_to_policies(rows: Engine) -> None:
    """Our own role, which is no superuser in production."""
    with rows.begin() as connection:
        for name in tables(connection):
            connection.execute(text(f"ALTER TABLE {name} OWNER TO {OWNER}"))
        connection.execute(text(f"ALTER FUNCTION usher_user_id() OWNER TO {OWNER}"))
    with request_of(rows, OWNER, None) as connection:
        assert not policies.is_held(connection)
        for name in VISIBLE:
            assert connection.scalar(text(f"SELECT count(*) FROM {name}")) == 2, name
        connection.execute(text("UPDATE users SET name = 'Ada'"))
    with as_student(rows, ANA) as connection:
        assert policies.is_held(connection)
        assert connection.scalars(text("SELECT id FROM users")).all() == [ANA]


def test_without_the_roles_nothing_is_done(database: Database) -> None:
    with database.engine.connect() as connection:
        assert policies.apply(connection) == 0
        assert policies.find_open(connection) == []
        assert connection.scalar(text("SELECT count(*) FROM pg_class WHERE relrowsecurity")) == 0
        assert connection.scalar(text("SELECT count(*) FROM pg_policy")) == 0


def test_a_migration_applies_them_and_goes_down_and_up_again(roles: Engine, empty_database: Database) -> None:
    engine = empty_database.engine
    upgrade(engine, "0005")
    assert policies_of(engine) == set()
    upgrade(engine)
    assert policies_of(engine) == VISIBLE.keys()
    downgrade(engine, "0005")
    assert policies_of(engine) == set()
    upgrade(engine)
    assert policies_of(engine) == VISIBLE.keys()
    with engine.connect() as connection:
        assert policies.find_open(connection) == []
    downgrade(engine, "base")


def policies_of(engine: Engine) -> set[str]:
    """Return the tables that have our policy."""
    with engine.connect() as connection:
        found = text("SELECT polrelid::regclass::text FROM pg_policy WHERE polname = :name")
        return set(connection.scalars(found, {"name": POLICY}))


def test_the_doctor_sees_what_is_open_and_the_command_closes_it(roles: Engine) -> None:
    found = check_schema(get_settings())
    assert (found.state, found.fix) == (WARNING, "run `usher db policies`")
    for _ in range(2):
        command.main([], standalone_mode=False)
        assert check_schema(get_settings()).state == "ok"
    with roles.begin() as connection:
        connection.execute(text(f"GRANT INSERT ON jobs TO {STRANGER}"))
    assert "1 tables" in check_schema(get_settings()).detail
    command.main([], standalone_mode=False)
    with roles.begin() as connection:
        connection.execute(
            text(f"GRANT {STUDENT} TO current_user; ALTER TABLE users DISABLE ROW LEVEL SECURITY")
        )
    assert check_schema(get_settings()).state == WARNING


def test_the_doctor_says_when_our_own_role_is_held(
    protected: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with protected.begin() as connection:
        connection.execute(text(f"ALTER ROLE {OWNER} LOGIN PASSWORD 'owner'"))
        connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {OWNER}"))
    url = protected.url.set(drivername="postgresql", username=OWNER, password="owner")
    monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
    get_settings.cache_clear()
    get_engine.cache_clear()
    found = check_schema(get_settings())
    get_engine().dispose()
    assert (found.state, found.detail) == (WRONG, "our own role is held to row policies")
