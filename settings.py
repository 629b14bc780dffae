"""The only reader of the environment: every setting, its unit, its default, and what is wrong with it.

Values come from the environment first, then from ``$USHER_DATA_DIR/runtime.env``, which ``make run`` writes so that
``usher`` in a second terminal talks to the same embedded services.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

RUNTIME_ENV_FILE = "runtime.env"
STRIPE_API = "https://api.stripe.com"
# Settings that need an extra of setup.cfg, and a module of it.
EXTRAS = {
    "otel_exporter_otlp_endpoint": ("tracing", "opentelemetry.sdk"),
    "sentry_dsn": ("sentry", "sentry_sdk"),
}
# Names of partners' adapters: they name queues, files and rows.
PROVIDER_TYPE = re.compile(r"[a-z][a-z0-9_-]{0,39}")


class ConfigurationError(Exception):
    """One or more settings are missing or wrong. ``problems`` holds one readable line for each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("The configuration is not usable:\n" + "\n".join(f"  - {line}" for line in problems))


class Settings(BaseSettings):
    """All settings. Field names are the environment's names in lower case; secrets are `SecretStr`."""

    model_config = SettingsConfigDict(extra="ignore", case_sensitive=False, env_ignore_empty=True)

    # The two services that Usher stands on.
    database_url: SecretStr = Field(description="postgresql://user:password@host:port/name")
    broker_url: SecretStr = Field(description="redis://... (Valkey, Redis) or amqp://... (RabbitMQ)")
    database_direct_url: SecretStr | None = Field(
        None,
        description="PostgreSQL itself, where DATABASE_URL leads to a pooler in transaction mode: for LISTEN and migrations",
    )

    # Where people and programs reach it.
    port: int = Field(8000, ge=1, le=65535)
    flower_port: int = Field(5555, ge=1, le=65535)
    sandbox_port: int = Field(8010, ge=1, le=65535)
    usher_data_dir: Path = Path(".usher")
    app_url: str = Field(
        "http://127.0.0.1:8000", description="The address students reach; launch links start with it"
    )

    # Stripe.
    stripe_secret_key: SecretStr | None = None
    stripe_webhook_secret: Annotated[list[SecretStr], NoDecode] = Field(
        description="whsec_..., several separated by commas while a secret is rotated"
    )
    stripe_api_base: str = STRIPE_API

    # Partners.
    sandbox_url: str | None = None
    sandbox_api_key: SecretStr | None = None
    sandbox_webhook_secret: SecretStr | None = Field(
        None, description="signs the events that the sandbox sends; several while one is rotated"
    )
    hsi_api_key: SecretStr | None = None
    hsi_api_secret: SecretStr | None = None
    certiport_api_key: SecretStr | None = None
    certiport_org_id: str | None = None
    partners: Annotated[list[str], NoDecode] = Field(
        default_factory=lambda: ["certiport", "hsi", "milady", "sandbox"],
        description="the provider types that are served, separated by commas",
    )
    partners_dir: Path | None = Field(
        None, description="a folder of partner configurations, NAME.yaml; all of them are served"
    )
    credentials_keys: Annotated[list[SecretStr], NoDecode] = Field(
        default_factory=list,
        description="keys that seal partners' credentials in the database, the newest first, separated by commas",
    )
    partner_hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="hosts that partners may be at, separated by commas; *.example.com; any public one when unset",
    )
    partner_private_addresses: bool = Field(
        False, description="whether partners may be at private addresses, as in development"
    )
    partner_event_rate: int = Field(
        6000, ge=0, description="events per minute that are taken from one partner; 0 for no limit"
    )
    partner_connect_timeout: float = Field(3.0, gt=0, description="seconds")
    partner_read_timeout: float = Field(10.0, gt=0, description="seconds for one whole call")

    # Mail.
    smtp_url: SecretStr = Field(
        description="smtp://user:password@host:587 (STARTTLS when offered) or smtps://..."
    )
    mail_from: str = "Usher <no-reply@localhost>"
    support_email: str | None = None
    staff_email: str | None = None

    # Sessions.
    auth_secret: SecretStr = Field(
        validation_alias=AliasChoices("auth_secret", "nextauth_secret"),
        min_length=16,
        description="at least 16 characters",
    )
    auth_secret_1: SecretStr | None = Field(None, min_length=16, description="at least 16 characters")
    auth_secret_2: SecretStr | None = Field(None, min_length=16, description="at least 16 characters")
    auth_secret_3: SecretStr | None = Field(None, min_length=16, description="at least 16 characters")
    nextauth_secret: SecretStr | None = Field(None, min_length=16, description="at least 16 characters")
    auth_jwks_url: str | None = Field(None, description="https://..., where the provider publishes its keys")
    auth_issuer: str | None = Field(None, validate_default=True, description="`iss` of the tokens, exactly")
    auth_audience: str | None = None
    supabase_jwt_secret: SecretStr | None = Field(
        None, min_length=16, description="without AUTH_JWKS_URL only"
    )
    auth_role_claim: str | None = Field(
        None, description="the claim that may say ops or service, such as role or app_metadata.role"
    )
    dev_sign_in: bool = Field(False, description="signed sign-in links for development; never in production")

    # Files that students hand in, and certificates.
    files_url: str | None = Field(
        None,
        description="file:///..., s3://bucket/folder, gs://... or az://...; USHER_DATA_DIR/files when unset",
    )
    upload_max_bytes: int = Field(10_000_000, ge=1, le=100_000_000, description="bytes of one uploaded file")
    certificate_issuer: str = Field("Usher", description="the name under which certificates are issued")
    certificate_font: FilePath | None = Field(
        None, description="a TrueType font, where names need letters that the built-in one lacks"
    )
    badge_signing_keys: SecretStr | None = Field(
        None, description="RSA keys in PEM, the first signs; several while a key is rotated"
    )
    verify_rate_limit: int = Field(
        60, ge=0, description="certificates per minute that one address may check; 0 for no limit"
    )

    # What callers may do.
    cors_origins: Annotated[list[str], NoDecode] = Field(
        default_factory=list, description="https://learn.example.com, several separated by commas"
    )
    rate_limit: int = Field(3000, ge=0, description="requests per minute of one caller; 0 for no limit")
    proxy_hops: int = Field(0, ge=0, le=8, description="reverse proxies in front that set X-Forwarded-For")

    # Work.
    level_curve: str = Field(
        "sqrt",
        pattern=r"^(sqrt|linear|table:\d{1,4}:0(,\d{1,12})*)$",
        description="sqrt, linear, or table:START:0,T1,T2,... with rising numbers",
    )
    streak_xp: int = Field(0, ge=0, le=1_000_000, description="XP for each active day; 0 for none")
    worker_concurrency: int = Field(64, ge=1, le=1000, description="threads of one worker process")
    api_workers: int = Field(2, ge=1, le=64, description="processes of the embedded api")
    live_streams: int = Field(50, ge=0, le=200, description="event streams that one api process holds")
    live_poll: float = Field(2.0, gt=0, le=60, description="seconds between two looks for what to stream")
    live_seconds: float = Field(300.0, gt=0, le=3600, description="seconds after which a stream ends")
    sync_interval: int = Field(3600, ge=1, description="seconds between two progress syncs of one partner")
    job_max_attempts: int = Field(25, ge=1, description="failed attempts after which a job is given up")
    job_max_claims: int = Field(5, ge=1, description="claims without an outcome after which a job is parked")
    job_lease: float = Field(60.0, gt=0, description="seconds a worker owns a job before others may take it")
    job_backoff_base: float = Field(
        1.0, gt=0, description="seconds before the first retry; doubles each time"
    )
    job_backoff_cap: float = Field(3600.0, gt=0, description="seconds, the longest pause between two retries")
    partner_concurrency: int = Field(32, ge=1, description="jobs of one partner at once, over all workers")
    mail_concurrency: int = Field(16, ge=1, description="mails handed to the mail server at once")
    breaker_threshold: int = Field(
        10, ge=1, description="failures in a row after which a partner is left alone"
    )
    breaker_base: float = Field(
        5.0, gt=0, description="seconds it is left alone the first time; doubles each time"
    )
    breaker_cap: float = Field(
        300.0, gt=0, description="seconds, the longest it is left alone before a probe"
    )
    inbox_days: int = Field(
        180, ge=31, description="days for which outside events that were dealt with are kept"
    )
    jobs_days: int = Field(90, ge=7, description="days for which jobs that are done are kept")
    failures_days: int = Field(365, ge=31, description="days for which failures that were got over are kept")
    partner_calls_days: int = Field(30, ge=1, description="days for which the audit of partner calls is kept")
    staff_actions_days: int = Field(
        2557, ge=365, description="days for which the audit of what staff did is kept: seven years"
    )
    access_log_days: int = Field(
        365, ge=31, description="days for which it is kept whom staff looked up; part of the audit"
    )
    relay_window: int = Field(500, ge=1, description="doorbells of one queue that may be under way at once")
    relay_ring_timeout: float = Field(
        15.0, gt=0, description="seconds after which an unanswered doorbell rings again"
    )
    relay_poll: float = Field(1.0, gt=0, description="seconds between two looks when nothing was notified")

    # What staff have to hear about.
    alert_webhook_private: bool = Field(
        False, description="whether alerts may go to a private address, and without TLS"
    )
    alert_webhook_url: SecretStr | None = Field(None, description="where alerts are posted, https://...")
    alert_webhook_secret: SecretStr | None = Field(
        None, min_length=16, validate_default=True, description="signs alerts; at least 16 characters"
    )
    payment_deadline: float = Field(
        600.0, gt=0, description="seconds after which a payment that is no usable seat is an alert"
    )
    queue_deadline: float = Field(
        300.0, gt=0, description="seconds after which due work that nobody takes is an alert"
    )
    heartbeat_deadline: float = Field(
        120.0, gt=0, description="seconds without a sign of life of beat or relay that are an alert"
    )
    watch_interval: float = Field(30.0, gt=0, description="seconds between two looks of a relay for alerts")

    crash_at: str | None = Field(
        None, description="the crash point at which this process dies; for tests only"
    )

    otel_exporter_otlp_endpoint: str | None = Field(
        None, description="http(s)://collector:4318, where traces go; the extra `tracing` has to be installed"
    )
    sentry_dsn: SecretStr | None = Field(
        None, description="where unexpected errors are told; the extra `sentry` has to be installed"
    )
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator(
        "stripe_webhook_secret",
        "cors_origins",
        "partners",
        "credentials_keys",
        "partner_hosts",
        mode="before",
    )
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("stripe_webhook_secret")
    @classmethod
    def _need_one(cls, value: list[SecretStr]) -> list[SecretStr]:
        if not value:
            raise ValueError("needs at least one secret")
        return value

    @field_validator("partners")
    @classmethod
    def _check_partners(cls, value: list[str]) -> list[str]:
        for name in value:
            if not PROVIDER_TYPE.fullmatch(name):
                raise ValueError(f"{name!r} is no provider type: small letters, digits and hyphens")
        return value

    @field_validator("credentials_keys")
    @classmethod
    def _check_credentials_keys(cls, value: list[SecretStr]) -> list[SecretStr]:
        for key in value:
            try:
                size = len(base64.urlsafe_b64decode(key.get_secret_value()))
            except ValueError:
                size = 0
            if size != 32:
                raise ValueError("each key must be 32 bytes in URL-safe base64: usher partner key makes one")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            parts = urlsplit(origin)
            if origin != f"{parts.scheme}://{parts.netloc}" or parts.scheme not in ("http", "https"):
                raise ValueError("each must be scheme://host[:port] and nothing more; * is not taken")
        return [origin.lower() for origin in value]

    @field_validator("auth_issuer")
    @classmethod
    def _check_issuer(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("auth_jwks_url") is not None:
            raise ValueError(
                "not set, and AUTH_JWKS_URL needs it: keys alone do not say whose tokens are ours"
            )
        return value

    @field_validator("supabase_jwt_secret")
    @classmethod
    def _check_supabase_secret(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and info.data.get("auth_jwks_url") is not None:
            raise ValueError("never together with AUTH_JWKS_URL (algorithm confusion): unset one of the two")
        return value

    @field_validator("database_url", "database_direct_url")
    @classmethod
    def _check_database_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _require_scheme(value.get_secret_value(), {"postgresql", "postgres", "postgresql+psycopg2"})
        return value

    @field_validator("broker_url")
    @classmethod
    def _check_broker_url(cls, value: SecretStr) -> SecretStr:
        _require_scheme(value.get_secret_value(), {"redis", "rediss", "amqp", "amqps", "pyamqp"})
        return value

    @field_validator("smtp_url")
    @classmethod
    def _check_smtp_url(cls, value: SecretStr) -> SecretStr:
        _require_scheme(value.get_secret_value(), {"smtp", "smtps"})
        return value

    @field_validator("alert_webhook_url")
    @classmethod
    def _check_alert_webhook(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None:
            private = info.data.get("alert_webhook_private")
            _require_scheme(value.get_secret_value(), {"http", "https"} if private else {"https"})
            parts = urlsplit(value.get_secret_value())
            if not parts.hostname or parts.username:
                raise ValueError("must name a host and hold no user")
        return value

    @field_validator("alert_webhook_secret")
    @classmethod
    def _check_alert_secret(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("alert_webhook_url") is not None:
            raise ValueError("not set, and ALERT_WEBHOOK_URL needs it")
        return value

    @field_validator("auth_jwks_url")
    @classmethod
    def _check_jwks_url(cls, value: str | None) -> str | None:
        if value is not None:
            _require_scheme(value, {"http", "https"})
        return value

    @field_validator("files_url")
    @classmethod
    def _check_files_url(cls, value: str | None) -> str | None:
        if value is not None:
            _require_scheme(value, {"file", "s3", "gs", "az"})
            return value.rstrip("/")
        return value

    @field_validator("otel_exporter_otlp_endpoint", "sentry_dsn")
    @classmethod
    def _check_extra(cls, value: Any, info: ValidationInfo) -> Any:
        extra, module = EXTRAS[str(info.field_name)]
        if value is not None and not _is_installed(module):
            raise ValueError(f"needs what is not installed: pip install 'usher[{extra}]'")
        if value is not None:
            _require_scheme(_plain(value), {"http", "https"})
        return value.rstrip("/") if isinstance(value, str) else value

    @field_validator("badge_signing_keys")
    @classmethod
    def _check_badge_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            from domain.badge_keys import open_ring

            open_ring(value.get_secret_value())
        return value

    @field_validator("app_url", "sandbox_url", "stripe_api_base")
    @classmethod
    def _check_http_url(cls, value: str | None) -> str | None:
        if value is not None:
            _require_scheme(value, {"http", "https"})
            return value.rstrip("/")
        return value

    def file_store(self) -> str:
        """Return the address of the file store."""
        return self.files_url or f"file://{self.usher_data_dir.absolute()}/files"

    def environment(self) -> dict[str, str]:
        """Return what partners' configurations may refer to by name: the environment, and `runtime.env` below it."""
        known = {name.upper(): _plain(value) for name, value in self if isinstance(value, str | SecretStr)}
        return {**known, **{name: value for name, value in os.environ.items() if value}}

    def sqlalchemy_url(self) -> str:
        """Return the database address in the form SQLAlchemy wants (`postgresql+psycopg2://`)."""
        return _for_sqlalchemy(self.database_url)

    def direct_url(self) -> str:
        """Return the address of PostgreSQL itself, for what a pooler in transaction mode cannot carry."""
        return _without_driver(self.database_direct_url or self.database_url)

    def direct_sqlalchemy_url(self) -> str:
        """Return that address in the form SQLAlchemy wants."""
        return _for_sqlalchemy(self.database_direct_url or self.database_url)

    def is_pooled(self) -> bool:
        """Say whether a transaction pooler stands before the database, so that a connection keeps nothing."""
        return self.database_direct_url is not None

    def session_secrets(self) -> list[str]:
        """Return what may have sealed a session cookie, the newest first, as Auth.js orders them."""
        given = [
            self.auth_secret_3,
            self.auth_secret_2,
            self.auth_secret_1,
            self.auth_secret,
            self.nextauth_secret,
        ]
        return list(dict.fromkeys(secret.get_secret_value() for secret in given if secret is not None))


def _without_driver(url: SecretStr) -> str:
    return f"postgresql://{url.get_secret_value().split('://', 1)[1]}"


def _for_sqlalchemy(url: SecretStr) -> str:
    return _without_driver(url).replace("postgresql://", "postgresql+psycopg2://", 1)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _plain(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _require_scheme(url: str, schemes: set[str]) -> None:
    parts = urlsplit(url)
    if parts.scheme not in schemes or not (parts.netloc or parts.path):
        raise ValueError(f"must start with {' or '.join(sorted(f'{s}://' for s in schemes))} and name a host")


def data_dir() -> Path:
    """Return the data directory, which is known before anything else is."""
    return Path(os.environ.get("USHER_DATA_DIR") or ".usher").absolute()


def load_settings() -> Settings:
    """Read and check everything; raise `ConfigurationError` naming each missing or wrong variable at once."""
    try:
        return Settings(_env_file=data_dir() / RUNTIME_ENV_FILE)
    except ValidationError as error:
        raise ConfigurationError([_explain(item) for item in error.errors()]) from None


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the process's settings, read once."""
    return load_settings()


def _explain(item: Any) -> str:
    name = str(item["loc"][0]).upper() if item["loc"] else "?"
    field = Settings.model_fields.get(name.lower())
    wanted = f" ({field.description})" if field is not None and field.description else ""
    if item["type"] == "missing":
        return f"{name} is not set{wanted}"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{name} is wrong: {message}{wanted}"
