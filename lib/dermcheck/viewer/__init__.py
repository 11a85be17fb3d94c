"""The viewer in the browser: OHIF's unmodified build, one configuration, one module of ours.

The server's end of the module, which knows MONAI Label, is `dermcheck.label_app.viewer_routes`.
"""

from dermcheck.viewer.bundles import BUNDLES, Bundle, BundleError
from dermcheck.viewer.installation import (
    BundleState,
    chosen_bundle,
    install_bundle,
    list_bundles,
    use_bundle,
    viewer_root,
)
from dermcheck.viewer.serving import attach_viewer

__all__ = [
    "BUNDLES",
    "Bundle",
    "BundleError",
    "BundleState",
    "attach_viewer",
    "chosen_bundle",
    "install_bundle",
    "list_bundles",
    "use_bundle",
    "viewer_root",
]
