"""Where studies live: photographs and their labels, in a folder or in an archive with DICOMweb."""

from dermcheck.datastore.instances import StoredLabel
from dermcheck.datastore.study_store import StudyStore

__all__ = ["StoredLabel", "StudyStore"]
