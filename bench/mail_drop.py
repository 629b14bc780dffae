"""A mail server that takes every mail and keeps none, so that what it does with them is not what is measured.

`python -m bench.mail_drop PORT`.
"""

from __future__ import annotations

import asyncio
import sys

from aiosmtpd.smtp import SMTP, Envelope, Session


class Drop:
    """What aiosmtpd calls for each mail."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take it."""
        return "250 taken"


async def serve(port: int) -> None:
    """Serve until the process ends."""
    drop, loop = Drop(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(drop, hostname="mail-drop"), "127.0.0.1", port)
    print("mail drop started", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
