"""Look for credentials in what is, or is about to be, in the repository: `python deploy/find_secrets.py` in `make check`.

Prints path, line and kind of each that is not in deploy/known_secrets.txt, never the credential; exit code 1 where there
is one. What a test needs and looks like one is put there by `--accept`, as a hash, so that any other value is found.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

KNOWN = Path("deploy/known_secrets.txt")
# Larger files are data and vendored code; a key in one of these is found by nobody's eyes either way.
LARGEST = 1_000_000
KINDS = {
    "private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----[\s\\nr\"']+[A-Za-z0-9+/]{40}[A-Za-z0-9+/=\s\\n]*",
    "Stripe key": r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}",
    "webhook secret": r"\bwhsec_[A-Za-z0-9+/]{24,}",
    "AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{50,})",
    "Slack token": r"\bxox[abeprs]-[\w-]{20,}",
    "Google key": r"\bAIza[\w-]{35}",
    "package registry token": r"\b(?:npm_[A-Za-z0-9]{36}|pypi-AgE[\w-]{40,})",
    "Sentry address": r"https://[0-9a-f]{32}@[\w.-]+\.sentry\.io/\d+",
    "token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}",
    "password in an address": r"\b(?:postgres(?:ql)?|rediss?|amqps?|smtps?|https?)://[^\s/:@\"'{}<>$]+:[^\s/@\"'{}<>$]{12,}@",
    "value of a secret": r"\b(?i:\w{0,40}(?:api_?key|secret|password|token|credentials_key)\w{0,40})[\"']?\s{0,2}[:=]\s{0,2}[\"'][\w+/-]{32,}={0,2}[\"']",
}
PATTERN = re.compile("|".join(f"({pattern})" for pattern in KINDS.values()))
# Values that only say what they stand for, such as names of files and classes of styles.
WORDS = re.compile(r"[\"'][a-z]+(?:[_/-][a-z]+)+[\"']$")


def find(root: Path) -> Iterator[tuple[str, int, str, str]]:
    """Yield path, line, kind and the hash of what looks like a credential, file by file."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
        timeout=60,
    )
    for name in sorted(set(listed.stdout.decode().split("\0")) - {"", str(KNOWN)}):
        path = root / name
        if not path.is_file() or path.stat().st_size > LARGEST:
            continue
        text = path.read_text(errors="replace")
        for found in PATTERN.finditer(text):
            kind = list(KINDS)[(found.lastindex or 1) - 1]
            if not WORDS.search(found[0]):
                line = text.count("\n", 0, found.start()) + 1
                yield name, line, kind, hashlib.sha256(found[0].encode()).hexdigest()[:20]


def main(arguments: list[str]) -> int:
    """Print what is found and not known; with `--accept`, make all of it known."""
    root = Path.cwd()
    every = list(find(root))
    if arguments == ["--accept"]:
        lines = sorted({f"{name} {digest}" for name, _, _, digest in every})
        (root / KNOWN).write_text("".join(f"{line}\n" for line in lines))
        return 0
    known = set((root / KNOWN).read_text().splitlines()) if (root / KNOWN).exists() else set()
    new = [one for one in every if f"{one[0]} {one[3]}" not in known]
    for name, line, kind, _ in new:
        print(f"{name}:{line}: looks like a {kind}")
    if new:
        print(
            "A real one: revoke it, then take it out. A made-up one: python deploy/find_secrets.py --accept"
        )
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
