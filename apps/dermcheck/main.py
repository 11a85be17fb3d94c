"""DermCheck as a MONAI Label app: `monailabel start_server --app apps/dermcheck --studies STUDIES`.

Wiring only; everything is in the package `dermcheck`. MONAI Label makes its folders `model`, `lib`,
`logs` and `bin` beside this file; DermCheck keeps nothing in them but MONAI Label's own log.
"""

from monailabel.interfaces.app import MONAILabelApp

from dermcheck.label_app.application import DermCheckApp
from dermcheck.viewer import attach_viewer


class DermCheck(DermCheckApp, MONAILabelApp):
    """The app. MONAI Label finds it by its *direct* base class, hence the second one."""

    def on_init_complete(self) -> None:
        """Add the viewer to the server that this app is started in."""
        from monailabel.app import app as server

        super().on_init_complete()
        attach_viewer(server)
