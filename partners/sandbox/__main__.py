"""`python -m partners.sandbox`: run the sandbox partner as a process of its own, for development and tests."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
from pathlib import Path

from partners.sandbox.server import Sandbox, start
from partners.sandbox.state import State


def main() -> int:
    """Serve until SIGTERM or SIGINT. Exit code 2 for a missing key, 1 for an unreadable state or a taken port."""
    options = _options()
    api_key = os.environ.get(options.api_key_env)
    if not api_key:
        print(
            f"{options.api_key_env} is not set: it holds the key that callers have to send", file=sys.stderr
        )
        return 2
    try:
        state = State(options.state)
    except (OSError, ValueError, KeyError) as error:
        print(f"the state cannot be read: {error}", file=sys.stderr)
        return 1
    # The records live as long as the process does; walking a million of them again and again only costs time.
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
    try:
        asyncio.run(_serve(Sandbox(api_key, state), options.host, options.port))
    except OSError as error:
        print(f"cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1
    finally:
        state.close()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m partners.sandbox", description=main.__doc__)
    parser.add_argument("--port", type=int, default=8010, help="0 lets the system choose (default: 8010)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--api-key-env", default="SANDBOX_API_KEY", help="the variable that holds the key")
    parser.add_argument("--state", type=Path, help="keep everything in this file over a restart")
    return parser.parse_args()


async def _serve(sandbox: Sandbox, host: str, port: int) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    runner, port = await start(sandbox, host, port)
    print(f"partner sandbox on http://{host}:{port}", flush=True)
    await stopped.wait()
    await runner.cleanup()


if __name__ == "__main__":
    sys.exit(main())
