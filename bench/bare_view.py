"""A reference: a Flask view that reads the body and answers, behind the same gunicorn as the api."""

from __future__ import annotations

from flask import Flask, Response, request

RECEIVED = b'{"received":true}'

app = Flask(__name__)


@app.post("/api/stripe/webhook")
def receive() -> Response:
    """Read the body and throw it away."""
    request.get_data(cache=False)
    return Response(RECEIVED, mimetype="application/json")


@app.get("/healthz")
def health() -> str:
    """Say that the process answers."""
    return "ok"
