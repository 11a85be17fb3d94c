"""OHIF's configuration: where the studies are, and which module of ours it loads."""

from __future__ import annotations

import json
from typing import Any, Final

from dermcheck.viewer.bundles import Bundle

__all__ = ["MODULE", "app_config"]

MODULE: Final = "/viewer/static/dermcheck.js"
"""Our ES module; OHIF loads it by this address, so the server's root is part of it."""
_ROUTE: Final = "/ohif/"
"""Where both builds show their pages; the optional one's files are asked for at `/` besides."""


def app_config(bundle: Bundle) -> str:
    """Return the JavaScript that OHIF reads its configuration from, in the place of its own.

    `bundle` decides what the two builds want to be told differently.
    """
    config: dict[str, Any] = {
        "routerBasename": _ROUTE,
        "showStudyList": True,
        "extensions": [MODULE],
        "modes": [MODULE],
        "customizationService": {},
        "dermcheck": {"bundle": bundle.name},  # for our module, which finds it as window.config
        "maxNumberOfWebWorkers": 2,
        "useSharedArrayBuffer": "FALSE",
        "investigationalUseDialog": {"option": "never"},  # our panel says it, always
        # OHIF shows the patient of whatever was loaded first; our panel shows that of the photograph.
        "showPatientInfo": "disabled",
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": True,
        "showLoadingIndicator": True,
        "strictZSpacingForVolumeViewport": True,
        "defaultDataSourceName": "dicomweb",
        "dataSources": [_data_source()],
    }
    return f"window.config = {json.dumps(config, indent=2)};\n"


def _data_source() -> dict[str, Any]:
    return {
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": "dicomweb",
        "configuration": {
            "friendlyName": "DermCheck",
            "name": "dermcheck",
            "wadoUriRoot": "/dicom-web",
            "qidoRoot": "/viewer/dicom-web",  # its list shows studies with photographs alone
            "wadoRoot": "/dicom-web",
            "qidoSupportsIncludeField": False,
            "supportsReject": False,
            "imageRendering": "wadors",
            "thumbnailRendering": "wadors",
            "enableStudyLazyLoad": True,
            "supportsFuzzyMatching": False,
            "supportsWildcard": True,
            "omitQuotationForMultipartRequest": True,
            "dicomUploadEnabled": False,
            "segmentation": {
                # Stored by the optional build's own menu: the kind that DermCheck reads back.
                "store": {"defaultMode": "bitmap", "transferSyntaxUID": "1.2.840.10008.1.2.1"}
            },
            "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
        },
    }
