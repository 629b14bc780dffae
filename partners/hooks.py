"""What goes with every call of a job: a gate before it (the shared rate limit) and a witness after it (the audit).

The workers attach both for the time of a job. Partners know neither the database nor what is done here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple


class CallRecord(NamedTuple):
    """One call for the audit. `outcome` is "ok" or the error's code; `status` None: no answer.

    `request` and `answer` hold the fields on the allow-list, nothing else.
    """

    partner: str
    method: str
    path_template: str
    status: int | None
    duration_ms: float
    outcome: str
    request: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None


class Exchange(NamedTuple):
    """One call and its answer in full, for whoever records it. `secrets` are what must not be kept of it."""

    method: str
    path_template: str
    path_args: Mapping[str, str]
    params: Mapping[str, Any]
    json: Any
    form: Any
    status: int
    headers: Mapping[str, str]
    body: bytes
    secrets: Collection[str]


# Asked with (partner, credential) before each call: lets it pass by returning, may wait, or raises `Throttled`.
Gate = Callable[[str, str], None]
# Told of each call.
Witness = Callable[[CallRecord], None]
# Given each call that was answered, in full.
Recorder = Callable[[Exchange], None]

_gate: ContextVar[Gate | None] = ContextVar("gate", default=None)
_witness: ContextVar[Witness | None] = ContextVar("witness", default=None)
_recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


# Told of each call of this process, whoever made it: for traces.
_observer: Witness | None = None


def observe(observer: Witness) -> None:
    """Have each call of this process told of."""
    global _observer
    _observer = observer


@contextmanager
def attached(gate: Gate, witness: Witness) -> Iterator[None]:
    """Attach both to the calls of this context; a thread needs a copy of the context to have them too."""
    before, after = _gate.set(gate), _witness.set(witness)
    try:
        yield
    finally:
        _gate.reset(before)
        _witness.reset(after)


def pass_gate(partner: str, credential: str) -> None:
    """Ask the gate, where there is one."""
    gate = _gate.get()
    if gate is not None:
        gate(partner, credential)


def tell_witness(record: CallRecord) -> None:
    """Tell the witness and the observer, where there are any."""
    if _observer is not None:
        _observer(record)
    witness = _witness.get()
    if witness is not None:
        witness(record)


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Have every answered call of this context given to a recorder: for `usher partner record`, never in a worker."""
    before = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(before)


def current_recorder() -> Recorder | None:
    """Return the recorder, None where nothing is recorded."""
    return _recorder.get()
