"""Secrets at rest: sealed with the newest of the configured keys, opened with any of them, sealed anew on rotation.

Fernet (AES-128-CBC with HMAC-SHA256) of the package cryptography. The keys live in the environment, never beside what
they seal.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from domain.errors import DomainError
from settings import get_settings


class NoKeys(DomainError):
    """`CREDENTIALS_KEYS` is not set, so nothing can be sealed or opened."""

    code = "credentials_keys_missing"

    def __init__(self) -> None:
        super().__init__("CREDENTIALS_KEYS is not set: usher partner key makes one")


class NotOurs(DomainError):
    """A sealed text was made with a key that is not among `CREDENTIALS_KEYS`, or was changed."""

    code = "credentials_key_unknown"

    def __init__(self) -> None:
        super().__init__("a sealed secret cannot be opened: its key is not among CREDENTIALS_KEYS")


def new_key() -> str:
    """Return a fresh random key."""
    return Fernet.generate_key().decode()


def seal(plain: str) -> str:
    """Return the text sealed with the newest key; raise `NoKeys` without one."""
    return _ring().encrypt(plain.encode()).decode()


def unseal(sealed: str) -> str:
    """Return what was sealed; raise `NoKeys`, or `NotOurs` where no key fits."""
    try:
        return _ring().decrypt(sealed).decode()
    except InvalidToken:
        raise NotOurs from None


def reseal(sealed: str) -> str:
    """Return the same secret sealed with the newest key; raise `NoKeys`, or `NotOurs` where no key fits."""
    try:
        return _ring().rotate(sealed).decode()
    except InvalidToken:
        raise NotOurs from None


def is_current(sealed: str) -> bool:
    """Return whether the newest key sealed this; raise `NoKeys` without one."""
    _ring()
    newest = get_settings().credentials_keys[0].get_secret_value()
    try:
        _open_ring((newest,)).decrypt(sealed)
    except InvalidToken:
        return False
    return True


def _ring() -> MultiFernet:
    keys = tuple(key.get_secret_value() for key in get_settings().credentials_keys)
    if not keys:
        raise NoKeys
    return _open_ring(keys)


@lru_cache(maxsize=4)
def _open_ring(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
