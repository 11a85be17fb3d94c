"""How both set-up commands end: a sentence and a status, never a traceback for a user's mistake."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from environment.checks import check_python
from environment.problems import SetUpError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["run_command"]


def run_command(main: Callable[[], int]) -> None:
    """Run `main` if this Python will do, and exit with its status, or 1 and the problem's sentence."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being ended is being stopped: tidy up
    try:
        check_python(sys.argv[0])
        status = main()
    except SetUpError as problem:
        print(problem, file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        status = 130
    sys.exit(status)
