"""Partners without an API: people do the work, or a pool of vouchers does. Nothing is called here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from partners.base import Capability, Click, Partner, Redirect
from partners.connection import Connection
from partners.errors import CredentialsWrong, Refused

# What a column of the partner's bulk upload may hold.
ExportField = Literal[
    "item_id",
    "enrollment_id",
    "reference",
    "email",
    "name",
    "first_name",
    "last_name",
    "course_code",
    "course_name",
    "opened_at",
]
EXPORT_COLUMNS: dict[str, ExportField] = {
    "item_id": "item_id",
    "enrollment_id": "enrollment_id",
    "email": "email",
    "first_name": "first_name",
    "last_name": "last_name",
    "course_code": "course_code",
    "course_name": "course_name",
}


class ManualOptions(BaseModel):
    """The options of a partner without an API.

    `usual_hours` is what a waiting student is told. `expires_days`: how long a voucher may be used after it was handed
    out. `export_columns` are the columns of the partner's bulk upload, each with what goes into it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["work_items", "vouchers"] = "work_items"
    website_url: str | None = None
    instructions: Annotated[str, Field(max_length=5_000)] = ""
    expires_days: Annotated[int, Field(ge=1, le=3_650)] | None = None
    usual_hours: Annotated[int, Field(ge=1, le=2_000)] = 24
    export_columns: Annotated[dict[str, ExportField], Field(min_length=1)] = EXPORT_COLUMNS

    @field_validator("website_url")
    @classmethod
    def _check_website(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError("must start with https:// or http://")
        return value


class ManualPartner(Partner):
    """A partner whose seats people set up, or that are vouchers."""

    capabilities = frozenset({Capability.MANUAL})

    def __init__(self, provider_type: str, options: ManualOptions) -> None:
        self.provider_type = provider_type
        self.options = options

    @classmethod
    def from_connection(cls, connection: Connection) -> ManualPartner:
        """Return the adapter of a connection; raise `CredentialsWrong` naming the options that are wrong."""
        given: Mapping[str, object] = {"website_url": connection.website, **connection.options}
        try:
            options = ManualOptions.model_validate(given)
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(str(part) for part in item['loc'])}: {item['msg'].removeprefix('Value error, ')}"
                for item in error.errors(include_url=False, include_input=False)
            )
            raise CredentialsWrong(f"the partner {connection.provider_type}: {wrong}") from None
        return cls(connection.provider_type, options)

    def launch(self, external_enrollment_id: str, click: Click) -> Redirect:
        """Return the way to the partner's website; raise `Refused` where none is known."""
        if self.options.website_url is None:
            raise Refused(f"the partner {self.provider_type} has no website_url")
        return Redirect(self.options.website_url, None)

    def check(self) -> None:
        """Return: there is nothing to call."""
