"""Photos become valid DICOM photographs, once each."""

import errno
import os
import subprocess
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms
from pydicom.encaps import get_frame
from pydicom.sr.codedict import codes
from pydicom.uid import (
    DermoscopicPhotographyImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    VLPhotographicImageStorage,
)

from dermcheck.dicom import new_file
from dermcheck.dicom.anatomy import find_site
from dermcheck.dicom.header import read_header
from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.dicom.photo_list import read_details_csv
from dermcheck.dicom.photo_store import import_photo, import_photos
from dermcheck.dicom.photograph import read_photograph, read_picture
from dermcheck.errors import ArgumentError, StorageError, UnreadableImageError

FULL = PhotoDetails(
    patient_id="4711",
    issuer_of_patient_id="Drawn Clinic",
    patient_name="Müller^Synthetic",
    birth_date=date(1960, 2, 3),
    sex="F",
    body_site="left cheek",
    acquired=datetime(2024, 1, 31, 14, 30),
    tracking_id="cheek 1",
    study_description="Yearly check",
    pixel_spacing_mm=0.02,
)


@pytest.fixture
def photo(fields, to_jpeg, tmp_path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(to_jpeg(fields))
    return path


def with_exif(path: Path, **tags) -> Path:
    """Write EXIF tags by name into a JPEG file, without recoding its picture."""
    exif = Image.Exif()
    for name, value in tags.items():
        tag = ExifTags.Base[name]
        (exif.get_ifd(ExifTags.IFD.Exif) if tag > 0x8769 else exif)[tag] = value
    data = exif.tobytes()
    stream = path.read_bytes()
    segment = b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data
    path.write_bytes(stream[:2] + segment + stream[2:])
    return path


class TestWrappedJpeg:
    def test_the_stream_is_kept_byte_for_byte(self, photo):
        dataset = photo_to_dicom(photo, PhotoDetails())
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        assert frame.removesuffix(b"\0") == photo.read_bytes()
        assert dataset.file_meta.TransferSyntaxUID == JPEGBaseline8Bit

    def test_it_shows_the_photos_own_pixels(self, photo, tmp_path):
        photo_to_dicom(photo, PhotoDetails()).save_as(tmp_path / "photo.dcm", enforce_file_format=True)
        np.testing.assert_array_equal(read_photograph(tmp_path / "photo.dcm").pixels, read_picture(photo))

    @pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
    def test_any_subsampling_is_labelled_as_visible_light_objects_must(
        self, subsampling, fields, to_jpeg, tmp_path
    ):
        (tmp_path / "photo.jpg").write_bytes(to_jpeg(fields, subsampling=subsampling))
        dataset = photo_to_dicom(tmp_path / "photo.jpg", PhotoDetails())
        assert dataset.PhotometricInterpretation == "YBR_FULL_422"

    def test_grey_stays_grey(self, fields, to_jpeg, tmp_path):
        (tmp_path / "photo.jpg").write_bytes(to_jpeg(np.ascontiguousarray(fields[..., 0])))
        dataset = photo_to_dicom(tmp_path / "photo.jpg", PhotoDetails())
        assert (dataset.PhotometricInterpretation, dataset.SamplesPerPixel) == ("MONOCHROME2", 1)

    def test_the_lossy_past_is_told(self, photo):
        dataset = photo_to_dicom(photo, PhotoDetails())
        assert dataset.LossyImageCompression == "01"
        assert dataset.LossyImageCompressionMethod == "ISO_10918_1"
        ratio = 32 * 48 * 3 / photo.stat().st_size
        assert dataset.LossyImageCompressionRatio == pytest.approx(ratio, rel=1e-3)

    def test_an_extended_stream_of_eight_bits_has_its_own_transfer_syntax(self, photo):
        photo.write_bytes(photo.read_bytes().replace(b"\xff\xc0", b"\xff\xc1", 1))
        dataset = photo_to_dicom(photo, PhotoDetails())
        assert dataset.file_meta.TransferSyntaxUID == JPEGExtended12Bit

    def test_what_follows_the_picture_in_the_file_is_left_out(self, photo):
        stream = photo.read_bytes()
        photo.write_bytes(stream + b"maker's data \xff\xd8\xff\xd9")
        frame = get_frame(photo_to_dicom(photo, PhotoDetails()).PixelData, 0, number_of_frames=1)
        assert frame.removesuffix(b"\0") == stream


class TestDecodedPhotos:
    @pytest.mark.parametrize("suffix", ["png", "tif"])
    def test_png_and_tiff_are_stored_without_loss(self, suffix, fields, tmp_path):
        path = tmp_path / f"photo.{suffix}"
        Image.fromarray(fields).save(path)
        dataset = photo_to_dicom(path, PhotoDetails())
        assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert dataset.LossyImageCompression == "00"
        np.testing.assert_array_equal(read_photograph(dataset).pixels, fields)

    @pytest.mark.parametrize("orientation", range(2, 9))
    def test_a_turned_jpeg_is_stored_upright(self, orientation, photo):
        with_exif(photo, Orientation=orientation)
        dataset = photo_to_dicom(photo, PhotoDetails())
        assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert dataset.LossyImageCompression == "01"
        assert f"EXIF orientation {orientation}" in dataset.ImageComments
        np.testing.assert_array_equal(read_photograph(dataset).pixels, read_picture(photo))

    @pytest.mark.parametrize(
        ("keywords", "comment"),
        [({"progressive": True}, "a progressive JPEG"), ({"keep_rgb": True}, "a JPEG")],
    )
    def test_streams_that_baseline_dicom_forbids_are_decoded(
        self, keywords, comment, fields, to_jpeg, tmp_path
    ):
        path = tmp_path / "photo.jpg"
        path.write_bytes(to_jpeg(fields, **keywords))
        dataset = photo_to_dicom(path, PhotoDetails())
        assert dataset.ImageComments.startswith(f"Decoded from {comment} photo")
        np.testing.assert_array_equal(read_photograph(dataset).pixels, read_picture(path))

    def test_sixteen_bits_become_eight_and_a_comment_says_so(self, fields, tmp_path):
        Image.fromarray(fields[..., 0].astype(np.uint16) * 257).save(tmp_path / "photo.png")
        dataset = photo_to_dicom(tmp_path / "photo.png", PhotoDetails())
        assert "16 bits reduced to 8" in dataset.ImageComments
        np.testing.assert_array_equal(read_photograph(dataset).pixels[..., 0], fields[..., 0])

    def test_a_damaged_photo_never_enters_the_archive(self, photo):
        photo.write_bytes(photo.read_bytes()[:-60] + b"\xff\xd9")
        with pytest.raises(UnreadableImageError):
            photo_to_dicom(photo, PhotoDetails())


class TestWhatIsWritten:
    def test_the_details_are_read_back(self, photo):
        header = read_header(photo_to_dicom(photo, FULL))
        assert header.acquired == datetime(2024, 1, 31, 14, 30)
        assert (header.anatomic_site, header.laterality) == ("Skin of cheek", "L")
        assert header.tracking_id == "cheek 1"
        assert header.pixel_spacing_mm == (0.02, 0.02)
        assert header.modality == "DMS"

    def test_the_patient_is_that_of_the_details(self, photo):
        dataset = photo_to_dicom(photo, FULL)
        assert str(dataset.PatientName) == "Müller^Synthetic"
        assert (dataset.PatientID, dataset.IssuerOfPatientID) == ("4711", "Drawn Clinic")
        assert (dataset.PatientBirthDate, dataset.PatientSex) == ("19600203", "F")

    @pytest.mark.parametrize(
        ("dermoscopic", "sop_class", "modality"),
        [(True, DermoscopicPhotographyImageStorage, "DMS"), (False, VLPhotographicImageStorage, "XC")],
    )
    def test_the_sop_class_follows_the_camera(self, dermoscopic, sop_class, modality, photo):
        dataset = photo_to_dicom(photo, PhotoDetails(dermoscopic=dermoscopic))
        assert (dataset.SOPClassUID, dataset.Modality) == (sop_class, modality)

    def test_the_camera_and_its_clock_are_read_from_exif(self, photo):
        with_exif(photo, Make="DermCam", Model="D 100\0", DateTimeOriginal="2023:12:24 18:00:01")
        dataset = photo_to_dicom(photo, PhotoDetails())
        assert (dataset.Manufacturer, dataset.ManufacturerModelName) == ("DermCam", "D 100")
        assert read_header(dataset).acquired == datetime(2023, 12, 24, 18, 0, 1)

    def test_a_given_date_outranks_the_cameras_clock(self, photo):
        with_exif(photo, DateTimeOriginal="2023:12:24 18:00:01")
        assert read_header(photo_to_dicom(photo, FULL)).acquired == FULL.acquired

    @pytest.mark.parametrize("unset", ["0000:00:00 00:00:00", "    :  :     :  :  ", ""])
    def test_a_clock_that_was_never_set_gives_no_date(self, unset, photo):
        with_exif(photo, DateTimeOriginal=unset)
        assert read_header(photo_to_dicom(photo, PhotoDetails())).acquired is None

    def test_the_colour_profile_is_copied(self, fields, tmp_path):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        Image.fromarray(fields).save(tmp_path / "photo.jpg", icc_profile=profile)
        assert photo_to_dicom(tmp_path / "photo.jpg", PhotoDetails()).ICCProfile == profile


class TestUids:
    def test_the_same_photo_and_details_give_the_same_instance(self, photo):
        first, second = (photo_to_dicom(photo, FULL) for _ in range(2))
        assert first == second

    def test_the_name_of_the_file_does_not_matter(self, photo, tmp_path):
        copy = tmp_path / "other name.jpg"
        copy.write_bytes(photo.read_bytes())
        assert photo_to_dicom(photo, FULL) == photo_to_dicom(copy, FULL)

    def test_the_photographs_of_a_visit_share_a_study_but_no_series(self, photo, fields, to_jpeg, tmp_path):
        other = tmp_path / "other.jpg"
        other.write_bytes(to_jpeg(np.ascontiguousarray(fields[::-1])))
        later = PhotoDetails(
            patient_id="4711", issuer_of_patient_id="Drawn Clinic", acquired=datetime(2024, 1, 31, 9)
        )
        one, two = photo_to_dicom(photo, FULL), photo_to_dicom(other, later)
        assert one.StudyInstanceUID == two.StudyInstanceUID
        for keyword in ("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "PatientID"):
            assert one[keyword].value == two[keyword].value
        assert one.SeriesInstanceUID != two.SeriesInstanceUID
        assert one.SOPInstanceUID != two.SOPInstanceUID

    @pytest.mark.parametrize("changed", [{"patient_id": "4712"}, {"acquired": datetime(2024, 2, 1)}])
    def test_another_patient_or_day_is_another_study(self, changed, photo):
        details = {"patient_id": "4711", "acquired": datetime(2024, 1, 31)}
        one = photo_to_dicom(photo, PhotoDetails(**details))
        two = photo_to_dicom(photo, PhotoDetails(**{**details, **changed}))
        assert one.StudyInstanceUID != two.StudyInstanceUID
        assert one.SOPInstanceUID != two.SOPInstanceUID

    def test_photos_of_unknown_patients_never_share_a_study(self, photo, fields, to_jpeg, tmp_path):
        other = tmp_path / "other.jpg"
        other.write_bytes(to_jpeg(np.ascontiguousarray(fields[::-1])))
        day = PhotoDetails(acquired=datetime(2024, 1, 31))
        one, two = photo_to_dicom(photo, day), photo_to_dicom(other, day)
        assert one.StudyInstanceUID != two.StudyInstanceUID
        assert read_header(one).patient_key != read_header(two).patient_key

    def test_one_lesion_has_one_uid_over_all_visits(self, photo):
        visits = [
            photo_to_dicom(photo, PhotoDetails(patient_id="1", tracking_id="back 3", acquired=when))
            for when in (datetime(2023, 1, 1), datetime(2024, 1, 1))
        ]
        stranger = photo_to_dicom(photo, PhotoDetails(patient_id="2", tracking_id="back 3"))
        assert visits[0].TrackingUID == visits[1].TrackingUID != stranger.TrackingUID


class TestDetails:
    @pytest.mark.parametrize(
        ("details", "message"),
        [
            ({"sex": "X"}, "sex is 'X', expected M, F, O"),
            ({"laterality": "left"}, "laterality is 'left', expected R, L, B, U"),
            ({"patient_id": "x" * 65}, "patient_id has 65 characters, expected at most 64"),
            ({"study_description": "a\\b"}, "study_description has 3 characters, .*no backslash"),
            ({"tracking_uid": "back 3"}, "tracking_uid is 'back 3', expected a DICOM UID"),
            ({"tracking_id": "back 3"}, "tracking_id is given without patient_id"),
            ({"pixel_spacing_mm": 0}, "pixel_spacing_mm is 0, expected millimetres"),
            ({"pixel_spacing_mm": float("nan")}, "pixel_spacing_mm is nan, expected millimetres"),
            ({"body_site": "elbo"}, "body site 'elbo' is not known. Did you mean elbow"),
            ({"body_site": "left cheek", "laterality": "R"}, "name different sides"),
        ],
    )
    def test_what_dicom_cannot_hold_is_refused_at_once(self, details, message):
        with pytest.raises(ArgumentError, match=message):
            PhotoDetails(**details)

    def test_a_refused_name_is_not_repeated(self):
        with pytest.raises(ArgumentError, match="patient_name has") as refusal:
            PhotoDetails(patient_name="Synthetic\nPatient")
        assert "Synthetic" not in str(refusal.value)


HAM10000_PLACES = {
    "abdomen": "Skin of abdomen",
    "acral": "Acral skin (palms and soles)",
    "back": "Skin of back",
    "chest": "Skin of chest",
    "ear": "Skin of ear",
    "face": "Skin of face",
    "foot": "Skin of foot",
    "genital": "Skin of external genitalia",
    "hand": "Skin of hand",
    "lower extremity": "Skin of lower extremity",
    "neck": "Skin of neck",
    "scalp": "Skin of scalp",
    "trunk": "Skin of trunk",
    "upper extremity": "Skin of upper extremity",
}


class TestSites:
    @pytest.mark.parametrize(("word", "meaning"), HAM10000_PLACES.items())
    def test_the_words_of_ham10000_are_known(self, word, meaning):
        site, side = find_site(word)
        assert (site.meaning, side) == (meaning, None)

    @pytest.mark.parametrize("code", codes.cid4029.concepts.values(), ids=lambda code: code.value)
    def test_every_meaning_and_code_of_the_standards_list_is_known(self, code):
        assert find_site(code.meaning)[0] == code
        assert find_site(code.value)[0] == code

    @pytest.mark.parametrize("word", ["unknown", "", " ", "-", "N/A"])
    def test_words_for_no_place_are_no_place(self, word):
        assert find_site(word) == (None, None)

    @given(st.sampled_from(sorted(HAM10000_PLACES)), st.sampled_from(["left", "Right", "LEFT"]))
    def test_a_side_may_come_first_in_any_spelling(self, word, side):
        site, found = find_site(f" {side}_{word.upper()} ")
        assert (site.meaning, found) == (HAM10000_PLACES[word], side[0].upper())

    def test_a_word_that_is_part_of_several_names_suggests_them(self):
        with pytest.raises(ArgumentError, match=r"Did you mean .*ankle or .*ankle"):
            find_site("ankle")


class TestTable:
    """`read_details_csv`."""

    def read(self, text: str | bytes, folder: Path) -> list[tuple[Path, PhotoDetails]]:
        path = folder / "photos.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_details_csv(path)

    def test_columns_become_details(self, tmp_path):
        [(path, details)] = self.read(
            "Patient-ID,File,Patient Name,Date of birth,Gender,Localization,Side,Date,Lesion,"
            "mm per pixel,dermoscopy\n"
            "4711,pictures/a.jpg,Müller^Synthetic,03.02.1960,female,cheek,left,2024-01-31 14:30,cheek 1,"
            "0.02,no\n",
            tmp_path,
        )
        assert path == tmp_path / "pictures" / "a.jpg"
        assert details == PhotoDetails(
            patient_id="4711",
            patient_name="Müller^Synthetic",
            birth_date=date(1960, 2, 3),
            sex="F",
            body_site="cheek",
            laterality="L",
            acquired=datetime(2024, 1, 31, 14, 30),
            tracking_id="cheek 1",
            pixel_spacing_mm=0.02,
            dermoscopic=False,
        )

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_spreadsheets_delimiters_and_encodings_are_read(self, delimiter, encoding, tmp_path):
        text = "file,name\r\nä.jpg,Ärztin^Synthetic\r\n\r\n".replace(",", delimiter)
        [(path, details)] = self.read(text.encode(encoding), tmp_path)
        assert (path.name, details.patient_name) == ("ä.jpg", "Ärztin^Synthetic")

    def test_an_absolute_path_stays_as_it_is(self, tmp_path):
        assert self.read("file\n/photos/a.jpg\n", tmp_path)[0][0] == Path("/photos/a.jpg")

    def test_columns_of_other_programs_are_left_aside(self, tmp_path):
        [(_, details)] = self.read("image,dx,dx_type,age,localization\na.jpg,nv,histo,45,back\n", tmp_path)
        assert details == PhotoDetails(body_site="back")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("\n", "no column is called 'file', found nothing"),
            ("name,site\n", "no column is called 'file', found 'name', 'site'"),
            (
                "file,lateralty\na.jpg,left\n",
                "the column 'lateralty' is not known. Did you mean 'laterality'",
            ),
            ("file,patient,Patient ID\na,1,1\n", "the columns 'patient' and 'Patient ID' mean the same"),
            ("file,site\n", "the table holds no photo"),
            ("file,site\na.jpg,bakc\n", "line 2: the body site 'bakc' is not known. Did you mean back"),
            (
                "file,date\na.jpg,2024-01-01\nb.jpg,01/02/2024\n",
                "line 3: date is '01/02/2024', expected a day like",
            ),
            ("file,date\na.jpg,2024-02-30\n", "line 2: date is '2024-02-30', expected a day like"),
            ("file,sex\na.jpg,x\n", "line 2: sex is 'x', expected M, F or O"),
            ("file,side\na.jpg,up\n", "line 2: side is 'up', expected left, right"),
            ("file,mm per pixel\na.jpg,small\n", "line 2: mm per pixel is 'small', expected millimetres"),
            ("file,site\n,back\n", "line 2: the column 'file' is empty"),
            ("file,site\na.jpg,back,,,\n", "line 2: it has 5 cells, expected at most 2"),
            ('file,site\n"a.jpg,back\n', "line 2 is not well-formed CSV"),
        ],
    )
    def test_mistakes_are_told_by_line_column_and_value(self, text, message, tmp_path):
        with pytest.raises(ArgumentError, match=rf"photos\.csv: {message}"):
            self.read(text, tmp_path)

    def test_several_mistakes_are_told_at_once(self, tmp_path):
        rows = "".join(f"{number}.jpg,x\n" for number in range(8))
        with pytest.raises(ArgumentError) as refusal:
            self.read("file,sex\n" + rows, tmp_path)
        assert str(refusal.value).count("line ") == 5
        assert str(refusal.value).endswith("And 3 more lines.")

    def test_text_of_another_encoding_is_refused_rather_than_misread(self, tmp_path):
        with pytest.raises(ArgumentError, match=r"the text is not UTF-8 .*Save it as 'CSV UTF-8'"):
            self.read("file,name\na.jpg,Müller\n".encode("cp1252"), tmp_path)

    def test_a_refused_name_is_not_repeated(self, tmp_path):
        with pytest.raises(ArgumentError) as refusal:
            self.read("file,name\na.jpg,Synthetic\\Patient\n", tmp_path)
        assert "Synthetic" not in str(refusal.value)


class TestImport:
    def test_a_photo_lands_under_its_patient_and_day(self, photo, tmp_path):
        path, is_new = import_photo(photo, FULL, tmp_path / "studies")
        header = read_photograph(path).header
        assert is_new
        assert (
            path
            == tmp_path / "studies" / header.patient_key / "2024-01-31" / f"{header.sop_instance_uid}.dcm"
        )

    def test_a_photo_is_imported_only_once(self, photo, tmp_path):
        studies = tmp_path / "studies"
        first = import_photos([(photo, FULL), (photo, FULL)], studies)
        before = first.imported[0].read_bytes(), first.imported[0].stat().st_mtime_ns
        second = import_photos([(photo, FULL)], studies)
        assert (len(first.imported), len(first.already_there)) == (1, 1)
        assert (second.imported, second.already_there) == ((), first.imported)
        assert (first.imported[0].read_bytes(), first.imported[0].stat().st_mtime_ns) == before

    def test_a_photo_that_cannot_be_read_does_not_stop_the_others(self, photo, tmp_path):
        (tmp_path / "empty.jpg").touch()
        photos = [tmp_path / "empty.jpg", tmp_path / "gone.jpg", photo]
        result = import_photos([(path, FULL) for path in photos], tmp_path / "studies")
        assert len(result.imported) == 1
        assert [failure.photo for failure in result.failures] == photos[:2]
        assert "the file is empty" in result.failures[0].reason
        assert "there is no such file" in result.failures[1].reason

    def test_no_trace_of_the_patients_name_is_in_any_path(self, photo, tmp_path):
        path, _ = import_photo(photo, FULL, tmp_path / "studies")
        assert not {"Synthetic", "4711"} & set(str(path.relative_to(tmp_path)).replace("/", " ").split())
        assert "ller" not in str(path)

    def test_photos_without_a_date_are_undated(self, photo, tmp_path):
        path, _ = import_photo(photo, PhotoDetails(), tmp_path)
        assert path.parent.name == "undated"

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
    def test_a_disk_that_fails_is_told_and_leaves_nothing_half_written(
        self, number, photo, tmp_path, monkeypatch
    ):
        studies = tmp_path / "studies"

        def fail(_descriptor):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(new_file.os, "fsync", fail)  # a real full disk answers here at the latest
        with pytest.raises(StorageError, match=os.strerror(number)):
            import_photos([(photo, FULL)], studies)
        assert [path for path in studies.rglob("*") if path.is_file()] == []

    def test_a_second_import_at_the_same_moment_overwrites_nothing(self, photo, tmp_path, monkeypatch):
        path, _ = import_photo(photo, FULL, tmp_path)
        path.write_bytes(b"written by another process")
        seen = iter([False, True])  # it was not there yet when this import looked
        monkeypatch.setattr(Path, "exists", lambda _path: next(seen))
        assert import_photo(photo, FULL, tmp_path) == (path, False)
        assert path.read_bytes() == b"written by another process"

    def test_a_studies_folder_that_is_a_file_is_refused(self, photo, tmp_path):
        (tmp_path / "studies").write_text("not a folder")
        with pytest.raises(StorageError, match="this is not a folder"):
            import_photos([(photo, FULL)], tmp_path / "studies")

    def test_photos_of_any_name_are_imported(self, photo, tmp_path):
        names = ["Muttermal Rücken.jpg", "黒子.jpg", "a'b\"c.jpg", "caf\udce9.jpg"]
        entries = []
        for index, name in enumerate(names):
            copy = tmp_path / name
            copy.write_bytes(photo.read_bytes())
            entries.append((copy, PhotoDetails(patient_id=str(index))))
        assert len(import_photos(entries, tmp_path / "studies").imported) == len(names)


@pytest.mark.parametrize(
    "details", [PhotoDetails(), FULL, PhotoDetails(dermoscopic=False, body_site="acral")]
)
@pytest.mark.parametrize(
    "kind", ["jpeg", "jpeg 4:4:4", "grey", "turned", "progressive", "rgb", "png", "extended"]
)
def test_dciodvfy_finds_no_error(kind, details, fields, to_jpeg, tmp_path, require_program):
    validator = require_program("dciodvfy", "dicom3tools")
    path = tmp_path / "photo"
    keywords = {
        "jpeg 4:4:4": {"subsampling": "4:4:4"},
        "progressive": {"progressive": True},
        "rgb": {"keep_rgb": True},
    }
    if kind == "png":
        Image.fromarray(fields).save(path, "PNG")
    else:
        path.write_bytes(
            to_jpeg(fields[..., 0].copy() if kind == "grey" else fields, **keywords.get(kind, {}))
        )
    if kind == "turned":
        with_exif(path, Orientation=6)
    if kind == "extended":
        path.write_bytes(path.read_bytes().replace(b"\xff\xc0", b"\xff\xc1", 1))
    target = tmp_path / "photo.dcm"
    photo_to_dicom(path, details).save_as(target, enforce_file_format=True)
    answer = subprocess.run([validator, target], capture_output=True, text=True, check=False)
    report = answer.stdout + answer.stderr
    assert "PhotographyImage" in report or "VLPhotographicImage" in report  # it knew the object
    assert [line for line in report.splitlines() if line.startswith("Error")] == []
