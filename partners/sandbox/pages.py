"""The two pages of the sandbox that a student may see: the launched course and the certificate."""

from __future__ import annotations

from html import escape

from partners.sandbox.protocol import Ticket
from partners.sandbox.state import Enrollment

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} - Partner sandbox</title>
<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}}</style></head>
<body><h1>{title}</h1>{body}</body></html>
"""


def launch_page(ticket: Ticket | None, now: float) -> tuple[int, str]:
    """Return (status, HTML) of a launch: which student sits in which course."""
    if ticket is None or ticket.expires_at <= now or ticket.enrollment.deleted:
        return 410, _page(
            "This link has expired", "<p>Please start the course again from your dashboard.</p>"
        )
    seat = ticket.enrollment
    who = escape(seat.account.name or seat.account.email)
    body = (
        f"<p>Signed in as <strong>{who}</strong> ({escape(seat.account.email)}).</p>"
        f"<p>Progress: {seat.percentage:g} %, {escape(seat.status)}.</p>"
        f'<p><a href="{escape(ticket.return_url)}">Back to the school</a></p>'
    )
    return 200, _page(f"Course {escape(seat.course_code)}", body)


def certificate_page(enrollment: Enrollment | None) -> tuple[int, str]:
    """Return (status, HTML) of a certificate; 404 where none was issued."""
    if enrollment is None or enrollment.deleted or enrollment.completed_at is None:
        return 404, _page("No such certificate", "<p>Nothing was issued under this number.</p>")
    who, course = escape(enrollment.account.name), escape(enrollment.course_code)
    return 200, _page("Certificate", f"<p><strong>{who}</strong> completed the course {course}.</p>")


def _page(title: str, body: str) -> str:
    return _PAGE.format(title=title, body=body)
