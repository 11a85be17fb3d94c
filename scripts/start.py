"""Set DermCheck up where needed, then start its server on the sample studies.

    python3 scripts/start.py                        # http://127.0.0.1:8000
    python3 scripts/start.py --port 8010            # arguments go to the server
    python3 scripts/start.py --studies MY_STUDIES
    python3 scripts/start.py --torch-wheel FILE     # a torch of your choice, e.g. the CPU-only build

Needs Python 3.10, 3.11 or 3.12 and nothing else. The first run makes .venv and installs the locked
packages (network needed); later runs install nothing. The server's own arguments:
.venv/bin/dermcheck serve --help
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from environment.command import run_command


def port_number(text: str) -> int:
    """Read a TCP port."""
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, not {text}")
    return int(text)


def main() -> int:
    """Check, set up, serve; the server itself says what to open when it is ready."""
    from environment.checks import check_port
    from environment.packages import ROOT, become
    from environment.virtual import set_up

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (this computer only)")
    parser.add_argument("--port", type=port_number, default=8000, help="TCP port (8000)")
    parser.add_argument("--studies", default=str(ROOT / "sample_studies"), help="folder or DICOMweb address")
    parser.add_argument("--torch-wheel", type=Path, metavar="FILE", help="install this file of torch")
    arguments, further = parser.parse_known_args()
    check_port(arguments.host, arguments.port)
    set_up(["run"], arguments.torch_wheel)
    check_port(arguments.host, arguments.port)  # again: set-up may have taken minutes
    print(f"Starting the server on {arguments.studies}.", flush=True)
    server = [
        "serve",
        "--studies",
        arguments.studies,
        "--host",
        arguments.host,
        "--port",
        str(arguments.port),
    ]
    return become("dermcheck", [*server, *further])


if __name__ == "__main__":
    run_command(main)
