"""DermCheck as a MONAI Label app; the only room that imports monailabel.

Import what you need from the modules: importing this package alone loads nothing heavy.
"""

from typing import Final

__all__ = ["STUDIES_VARIABLE"]

STUDIES_VARIABLE: Final = "DERMCHECK_STUDIES"
"""Environment variable that names the studies where `--studies` is not given. Here and not in `datastore`, as
`dermcheck --help` names it and loads nothing heavy."""
