"""Which lesion a segment or finding is about, over visits and objects (PS3.3 C.7.6.16.2.20)."""

from pydicom.uid import generate_uid

from dermcheck.dicom.header import PhotographHeader
from dermcheck.dicom.references import is_uid
from dermcheck.errors import ArgumentError

__all__ = ["choose_tracking"]


def choose_tracking(
    header: PhotographHeader, tracking_id: str | None, tracking_uid: str | None, *, is_only_lesion: bool
) -> tuple[str, str]:
    """Return the tracking identifier and UID of a lesion.

    Both must be written or neither, so what is missing is made up: the UID from patient and identifier,
    so that the same name gives the same UID at each visit; the identifier from the UID. If neither is
    given, they are those of the photograph (Dermoscopic Photography, PS3.3 C.8.12.13), provided that it
    shows this lesion only, as two lesions must not share one identity; else they are new.

    Raises
    ------
    ArgumentError
        If the given UID is not a UID.
    """
    if tracking_uid is not None and not is_uid(tracking_uid):
        raise ArgumentError(
            f"instance {header.sop_instance_uid}: the tracking UID of a lesion is {tracking_uid!r}, expected "
            "a DICOM UID (digits and dots, at most 64). Leave it out, then a new one is made."
        )
    if tracking_id is None and tracking_uid is None and is_only_lesion:
        tracking_id = header.tracking_id
        tracking_uid = header.tracking_uid if is_uid(header.tracking_uid) else None
    if tracking_uid is None:
        named = [header.patient_key, tracking_id] if tracking_id else None
        tracking_uid = generate_uid(entropy_srcs=named)
    return tracking_id or f"Lesion {tracking_uid[-8:]}", tracking_uid
