"""The problem codes of LTI. Importing this adds them to the registry."""

from __future__ import annotations

from api.problems import PROBLEMS, Kind

PROBLEMS.update(
    {
        "lti_client_unknown": Kind(
            400,
            "No such tool",
            "No tool is registered under this client_id, or it is switched off.",
            "Compare the client id with `usher lti tools`.",
        ),
        "lti_redirect_uri_wrong": Kind(
            400,
            "The tool may not be answered there",
            "The redirect_uri is not one of those that are registered for the tool, letter by letter.",
            "Register exactly the address that the tool sends.",
        ),
        "lti_response_invalid": Kind(
            400,
            "The tool's answer cannot be taken",
            "It is not signed by the tool, is too old, was used before, or answers another request.",
            "Choose the content again. If it stays so, compare the tool's keys with what is registered.",
        ),
        "lti_registration_refused": Kind(
            401,
            "No leave to register",
            "The registration token is unknown, expired or used.",
            "Make a fresh one: usher lti register --invite.",
        ),
        "lti_registration_invalid": Kind(
            400,
            "The registration cannot be taken",
            "It lacks something that a tool needs, or has an address where no tool may be.",
            "The detail says what.",
        ),
        "lti_tool_not_found": Kind(
            404,
            "No such tool",
            "No tool with this client id is registered, or the course is not one of its partner.",
            "Take the client id from `usher lti tools`, the course from `usher catalog`.",
        ),
        "lti_unavailable": Kind(
            503,
            "The tool's keys cannot be had",
            "The tool does not publish its keys just now, so its signature cannot be checked.",
            "Try again in a few seconds.",
        ),
        "lti_not_set_up": Kind(
            503,
            "LTI is not set up here",
            "There is no key to seal our own signing keys with, or not the one that they were sealed with.",
            "Set CREDENTIALS_KEYS on every process of the api.",
        ),
    }
)
