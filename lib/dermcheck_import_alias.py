"""Answers the one module name that MONAI Label 0.8.5 needs and pydicom 3 no longer has.

MONAI Label 0.8.5 imports pydicom_seg 0.4.1, which takes ``SegmentationStorage`` from
``pydicom._storage_sopclass_uids``; in pydicom 3 it lives in ``pydicom.uid``. MONAI Label starts
child processes of its own (training, scoring, batch), so the answer must be there in every Python
of the environment: ``dermcheck_import_alias.pth`` beside this file imports it at interpreter start.

The finder stands last in ``sys.meta_path``: Python asks it only once nobody else has found a
module, so a pydicom that has the real one wins, and a MONAI Label without pydicom_seg never asks.
Every interpreter of the environment pays for this import; it must stay free of imports of its own.
"""

import sys

_MISSING = "pydicom._storage_sopclass_uids"


class _StorageClassesFinder:
    """Finder and loader of that one module (the import protocol of PEP 451)."""

    @staticmethod
    def find_spec(name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name != _MISSING:
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, _StorageClassesFinder, origin=__file__)

    @staticmethod
    def create_module(spec):  # type: ignore[no-untyped-def]
        return None  # the import system makes an ordinary module

    @staticmethod
    def exec_module(module):  # type: ignore[no-untyped-def]
        from pydicom.uid import SegmentationStorage

        module.SegmentationStorage = SegmentationStorage


sys.meta_path.append(_StorageClassesFinder)
