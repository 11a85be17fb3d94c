"""What waits to be sent to an archive is served from the outbox."""

import pytest

from dermcheck.datastore import StudyStore
from dermcheck.datastore.archive_access import ArchiveAccess
from dermcheck.datastore.catalogue import Catalogue
from dermcheck.datastore.outbox_archive import OutboxArchive
from dermcheck.datastore.web_archive import WebArchive
from dermcheck.dicomweb.proxy import ArchiveProxy
from dermcheck.dicomweb.service import DicomWebService
from dermcheck.dicomweb.storing import Receiver
from dermcheck.errors import UnreadableImageError


@pytest.fixture
def outbox(tmp_path):
    return tmp_path / "outbox"


@pytest.fixture
def service(tmp_path, outbox, photographs, outline, monkeypatch):
    """Over an archive that is away, with an outline of each of two photographs on its way."""
    monkeypatch.setattr("dermcheck.datastore.outbox_archive._PATIENCE_S", 0.1)
    access, catalogue = ArchiveAccess("http://127.0.0.1:9/dicom-web"), Catalogue()
    archive = OutboxArchive(WebArchive.connect(access, catalogue), catalogue, outbox)
    for photograph in photographs[:2]:
        archive.store_instances([outline(photograph)])
    store = StudyStore(archive, catalogue, tmp_path / "cache")
    yield DicomWebService(store, Receiver(store, store.originals), None, ArchiveProxy(access))
    store.close()


def test_what_waits_is_found_by_its_series_or_its_own_uid(service, outbox):
    first, second = (service.store.catalogue.find(found.sop_instance_uid) for found in service.store.unsent())
    series = first.study_instance_uid, first.series_instance_uid
    for uids in (series, (*series, first.sop_instance_uid)):
        assert [found.SOPInstanceUID for found in service.unsent(*uids)] == [first.sop_instance_uid]
    assert service.unsent(*series, second.sop_instance_uid) == []
    assert service.unsent("1.2", "3.4") == []


def test_only_what_is_asked_for_is_read(service, outbox):
    first, second = (service.store.catalogue.find(found.sop_instance_uid) for found in service.store.unsent())
    (path,) = outbox.glob(f"*-{second.sop_instance_uid}.dcm")
    path.write_bytes(b"damaged")
    assert len(service.unsent(first.study_instance_uid, first.series_instance_uid)) == 1
    with pytest.raises(UnreadableImageError):
        service.unsent(second.study_instance_uid, second.series_instance_uid)
