"""Hosts of a network of their own: namespaces of Linux on a bridge, each of which can be cut off."""

from __future__ import annotations

import contextlib
import os
import random
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.faults.proxy import Proxy


def why_not() -> str | None:
    """Return why there can be no namespaces here, None where there can."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "network namespaces need root and iproute2"
    name = f"usher-{secrets.token_hex(3)}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode == 0:
        _ip("netns", "del", name)
    return made.stderr.strip() or None


class Network:
    """A bridge, on which this machine is one host and every namespace another.

    What listens on this machine's loopback is reached through a forwarder on the bridge: it is outside of the hosts, so
    a host that is cut off loses its connections as by a broken cable, without an end or a reset.
    """

    def __init__(self) -> None:
        tag = secrets.token_hex(3)
        self._bridge, self._tag = f"ub{tag}", tag
        self._net = f"10.213.{random.randrange(256)}"
        self._hosts: list[str] = []
        self._forwarders: list[Proxy] = []
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("addr", "add", f"{self._net}.1/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")

    def add(self) -> list[str]:
        """Add a host; return what has to stand before a command that is to run on it."""
        number = len(self._hosts)
        host, outer, inner = f"uh{self._tag}{number}", f"uo{self._tag}{number}", f"ui{self._tag}{number}"
        _ip("netns", "add", host)
        self._hosts.append(host)
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", host)
        _ip("link", "set", outer, "master", self._bridge, "up")
        _ip("-n", host, "addr", "add", f"{self._net}.{10 + number}/24", "dev", inner)
        _ip("-n", host, "link", "set", inner, "up")
        _ip("-n", host, "link", "set", "lo", "up")
        return ["ip", "netns", "exec", host]

    def cut_off(self, number: int) -> None:
        """Pull a host's cable."""
        _ip("link", "set", f"uo{self._tag}{number}", "down")

    def put_back(self, number: int) -> None:
        """Plug it in again."""
        _ip("link", "set", f"uo{self._tag}{number}", "up")

    def reachable(self, env: dict[str, str]) -> dict[str, str]:
        """Return those settings that name services on this machine's loopback, as the hosts reach them."""
        return {
            name: self._forward(value)
            for name, value in env.items()
            if name.endswith("_URL") and re.search(r"[@/]127\.0\.0\.1:\d", value)
        }

    def close(self) -> None:
        """Remove everything."""
        for forwarder in self._forwarders:
            forwarder.close()
        for host in self._hosts:
            _ip("netns", "del", host)
        _ip("link", "del", self._bridge)

    def _forward(self, url: str) -> str:
        port = int(urlsplit(url).port or 0)
        made = Proxy("127.0.0.1", port, listens_at=f"{self._net}.1")
        self._forwarders.append(made)
        return url.replace(f"127.0.0.1:{port}", f"{self._net}.1:{made.port}")


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Make a network and remove it."""
    made = Network()
    try:
        yield made
    finally:
        made.close()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)
