"""Problems that the person at the keyboard can solve, each told in one sentence."""

from __future__ import annotations

__all__ = ["SetUpError", "explain"]


class SetUpError(Exception):
    """Set-up cannot go on; the message says why and what to do."""


NO_SPACE = "The disk is full: free some space, then run the same command again."
NO_NETWORK = (
    "The package index cannot be reached: connect this computer to the network (only this set-up needs it), "
    "or set PIP_INDEX_URL to an index it can reach, then run the same command again."
)
WRONG_HASH = (
    "A downloaded package is not the one that requirements.lock names: pip refused it. Run the same command "
    "again; if it happens again, ask whoever runs your package index or proxy."
)
NO_FILE = (
    "The package index has no file of a locked package that fits this computer: check that it is Linux "
    "(x86_64 or aarch64), Windows (x86_64) or macOS (Apple silicon), and that PIP_INDEX_URL, if set, is "
    "complete."
)

WRONG_FILE = (
    "The file given with --torch-wheel is for another Python or another computer: take the one whose name "
    "has this Python's version (cp310, cp311 or cp312) and this system."
)

NO_COMPILER = (
    "A package must be compiled for this computer and that failed: install a C++ compiler (Debian, Ubuntu: "
    "sudo apt install g++ python3-dev), then run the same command again."
)

# pip's own words, in the order in which they are looked for. A failed connection ends in "no
# matching distribution" too, so it must be recognised first.
_SIGNS = (
    (("No space left on device", "[Errno 28]", "[WinError 112]", "Disk quota exceeded"), NO_SPACE),
    (("is not a supported wheel on this platform",), WRONG_FILE),
    (("DO NOT MATCH THE HASHES",), WRONG_HASH),
    (
        (
            "Failed to establish a new connection",
            "Temporary failure in name resolution",
            "Name or service not known",
            "getaddrinfo failed",
            "nodename nor servname provided",
            "Max retries exceeded",
            "Read timed out",
            "Network is unreachable",
            "ProxyError",
            "Connection refused",
            "Connection reset by peer",
            "ConnectTimeoutError",
        ),
        NO_NETWORK,
    ),
    (("Failed building wheel for",), NO_COMPILER),
    (("No matching distribution found", "Could not find a version that satisfies"), NO_FILE),
)


def explain(output: str) -> str | None:
    """Return the sentence for what pip printed before it failed, or None if its words are not known."""
    for signs, sentence in _SIGNS:
        if any(sign in output for sign in signs):
            return sentence
    return None
