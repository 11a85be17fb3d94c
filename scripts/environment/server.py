"""Starting the server, and telling what to open once it answers."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

from environment.packages import program

__all__ = ["serve"]

PATIENCE = 180.0  # seconds; a slow disk needs a while for the first import of torch


def serve(studies: str, host: str, port: int, further: list[str]) -> int:
    """Run ``dermcheck serve`` until it ends or is stopped; returns its exit status."""
    address = f"http://{reachable(host)}:{port}"
    command = [
        program("dermcheck"),
        "serve",
        "--studies",
        studies,
        "--host",
        host,
        "--port",
        str(port),
        *further,
    ]
    print(f"Starting the server on {studies}.", flush=True)
    with subprocess.Popen(command) as server:
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        threading.Thread(target=announce, args=(server, address, studies), daemon=True).start()
        try:
            return server.wait()
        except KeyboardInterrupt:  # the server got it too: let it finish its work
            server.wait()
            raise


def reachable(host: str) -> str:
    """Return the address under which this computer reaches a server that listens on `host`."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - a question, not a binding
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def announce(server: subprocess.Popen[bytes], address: str, studies: str) -> None:
    """Wait until the server answers, then say what to open; silent if it ends before."""
    end = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < end:
        if answers(f"{address}/info/"):
            print(ready_text(address, studies), flush=True)
            return
        time.sleep(0.25)


def answers(url: str) -> bool:
    """Whether somebody answers there, asked directly: a proxy cannot know this computer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def ready_text(address: str, studies: str) -> str:
    """Return what the person at the keyboard does next."""
    return f"""
DermCheck is ready. Research use only: not a medical device.

  In 3D Slicer   open the module "MONAI Label" (Extensions Manager: MONAILabel), enter the server
                 address {address} and press the button beside it, then "Next Sample".
  In a browser   open {address} for the server's own page of what it offers.

Studies: {studies}
Stop the server with Ctrl+C.
"""
