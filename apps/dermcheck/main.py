"""DermCheck as a MONAI Label app: `monailabel start_server --app apps/dermcheck --studies STUDIES`.

Wiring only; everything is in the package `dermcheck`. MONAI Label makes its folders `model`, `lib`,
`logs` and `bin` beside this file; DermCheck keeps nothing in them but MONAI Label's own log.
"""

from monailabel.interfaces.app import MONAILabelApp

from dermcheck.label_app.application import DermCheckApp


class DermCheck(DermCheckApp, MONAILabelApp):
    """The app. MONAI Label finds it by its *direct* base class, hence the second one."""
