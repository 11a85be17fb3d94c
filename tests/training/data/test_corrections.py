"""What clinicians drew and decided becomes training data; what cannot teach is reported."""

import numpy as np
import pytest
import requests
from PIL import Image
from pydicom.uid import generate_uid

from dermcheck.datastore import StudyStore
from dermcheck.lesions import CLASSES
from dermcheck.training.data import decode, open_corrections, open_data_set, write_split
from dermcheck.training.data.splits import stable_fold

from .conftest import MODEL, draw, write_table

ROWS, COLUMNS, SIDE = 48, 64, 32
DISC = draw(0)[1]
ELSEWHERE = np.zeros((ROWS, COLUMNS), np.bool_)
ELSEWHERE[2:6, 2:6] = True


def only(store):
    data_set = open_corrections(store)
    assert data_set.problems == ()
    (correction,) = data_set.photographs
    return correction


def name(correction):
    return None if correction.diagnosis is None else CLASSES[correction.diagnosis]


# ---- what teaches ----


def test_a_correction_is_the_photograph_with_its_outline_and_diagnosis(open_store, add_photograph, add_label):
    photograph = add_photograph(
        PatientAge="045Y",
        PatientSex="F",
        Manufacturer="Maker",
        ManufacturerModelName="One",
        BodyPartExamined="SKIN",
    )
    add_label(photograph, (DISC, "mel"))
    store = open_store()
    correction = only(store)
    assert (correction.image_id, correction.source, name(correction)) == (
        photograph.SOPInstanceUID,
        "corrections",
        "mel",
    )
    assert correction.group == f"patient:corrections/{store.header(photograph.SOPInstanceUID).patient_key}"
    np.testing.assert_array_equal(correction.picture.read(), photograph.pixel_array)
    np.testing.assert_array_equal(correction.mask.read(), DISC)
    assert (correction.age, correction.sex, correction.site, correction.device) == (
        45,
        "female",
        "SKIN",
        "Maker One",
    )


def test_a_mask_alone_and_a_diagnosis_alone_teach_too(open_store, add_photograph, add_label, cache):
    outlined, diagnosed = add_photograph(1), add_photograph(2)
    add_label(outlined, (DISC, None))
    add_label(diagnosed, (None, "df"))
    photographs = decode(open_corrections(open_store()), SIDE, cache, progress=False)
    known = dict(
        zip(photographs.image_id, zip(photographs.diagnosis, photographs.has_mask, strict=True), strict=True)
    )
    assert known == {
        outlined.SOPInstanceUID: (-1, True),
        diagnosed.SOPInstanceUID: (CLASSES.index("df"), False),
    }


def test_the_newest_final_label_counts_and_predictions_never(open_store, add_photograph, add_label):
    photograph = add_photograph()
    add_label(photograph, (DISC, "nv"), ContentDate="20240201")
    add_label(photograph, (DISC, "mel"), ContentDate="20240203")
    add_label(photograph, (DISC, "bcc"), author=MODEL, ContentDate="20240204")
    predicted_only = add_photograph(1)
    add_label(predicted_only, (DISC, "bcc"), author=MODEL)
    assert name(only(open_store())) == "mel"


def test_several_lesions_of_one_diagnosis_are_one_mask(open_store, add_photograph, add_label):
    add_label(add_photograph(), (DISC, "nv"), (ELSEWHERE, "nv"), (None, "mel"))
    correction = only(open_store())
    assert name(correction) == "nv"
    np.testing.assert_array_equal(correction.mask.read(), DISC | ELSEWHERE)


def test_the_lesion_followed_over_visits_is_known(open_store, add_photograph, add_label):
    followed = generate_uid()
    add_label(add_photograph(TrackingID="left arm", TrackingUID=followed), (DISC, "nv"))
    assert only(open_store()).lesion_id == followed


@pytest.mark.parametrize(
    ("attributes", "age"),
    [
        ({"PatientAge": "006M"}, 0.5),
        ({"PatientBirthDate": "19740102"}, 50.0),
        ({"PatientBirthDate": "20990102"}, None),
        ({"PatientAge": "old"}, None),
        ({}, None),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR AS")
def test_age_is_stated_or_follows_from_the_birth(open_store, add_photograph, add_label, attributes, age):
    add_label(add_photograph(**attributes), (DISC, "nv"))
    found = only(open_store()).age
    assert found == (None if age is None else pytest.approx(age, abs=0.01))


# ---- what does not ----


@pytest.mark.parametrize(
    ("lesions", "problem", "used"),
    [
        (
            [(DISC, "nv"), (ELSEWHERE, "mel")],
            "with lesions of different diagnoses, which teach outlines only",
            True,
        ),
        (
            [(DISC, "nv"), (ELSEWHERE, None)],
            "with lesions of different diagnoses, which teach outlines only",
            True,
        ),
        ([(None, "nv"), (None, "mel")], "with several diagnoses and no outline, not used", False),
        ([(None, None)], "with the answer that there is no lesion, which teaches neither network", False),
    ],
)
def test_an_ambiguous_answer_is_reported(open_store, add_photograph, add_label, lesions, problem, used):
    photograph = add_photograph()
    add_label(photograph, *lesions)
    data_set = open_corrections(open_store())
    assert data_set.problems == (f"Corrected photographs {problem} (1): {photograph.SOPInstanceUID}.",)
    assert [correction.diagnosis for correction in data_set.photographs] == ([None] if used else [])


def test_a_damaged_label_stops_nobody(open_store, add_photograph, add_label):
    good, bad = add_photograph(1), add_photograph(2)
    add_label(good, (DISC, "nv"))
    add_label(bad, (DISC, "nv"), PixelData=b"\0\0")
    data_set = open_corrections(open_store())
    assert [correction.image_id for correction in data_set.photographs] == [good.SOPInstanceUID]
    assert len(data_set.problems) == 1
    assert data_set.problems[0].startswith("A correction is not used: instance ")


def test_an_undecodable_photograph_is_left_out(open_store, add_photograph, add_label, cache):
    good, bad = add_photograph(1), add_photograph(2, PixelData=b"\0\0")
    for photograph in (good, bad):
        add_label(photograph, (DISC, "nv"))
    photographs = decode(open_corrections(open_store()), SIDE, cache, progress=False)
    assert list(photographs.image_id) == [good.SOPInstanceUID]
    (problem,) = photographs.problems
    assert bad.SOPInstanceUID in problem
    assert problem.endswith("The photograph is left out.")


def test_studies_without_corrections_give_an_empty_data_set(open_store, add_photograph):
    add_photograph()
    assert len(open_corrections(open_store())) == 0


def test_a_lesion_outside_the_centred_square_teaches_nothing(open_store, add_photograph, add_label, cache):
    at_the_edge, centred = add_photograph(1), add_photograph(2)
    add_label(at_the_edge, (ELSEWHERE, "mel"))
    add_label(centred, (DISC, "mel"))
    photographs = decode(open_corrections(open_store()), SIDE, cache, progress=False)
    teaches = photographs.image_id == centred.SOPInstanceUID
    np.testing.assert_array_equal(photographs.diagnosis >= 0, teaches)
    np.testing.assert_array_equal(photographs.has_mask, teaches)
    (problem,) = photographs.problems
    assert problem.startswith("Photographs with the lesion mostly outside the centred square")
    assert problem.endswith(f"not used (1): {at_the_edge.SOPInstanceUID}.")


# ---- folds ----


def test_all_photographs_of_a_patient_are_in_one_fold_which_never_changes(
    open_store, add_photograph, add_label, cache, tmp_path
):
    photographs = [add_photograph(seed, patient=f"P{seed % 7}") for seed in range(14)]
    for photograph in photographs:
        add_label(photograph, (DISC, "nv"))
    data_set = open_corrections(open_store())
    decoded = decode(data_set, SIDE, cache, progress=False)
    expected = {p.image_id: stable_fold(p.group) for p in data_set.photographs}
    assert dict(zip(decoded.image_id, decoded.fold, strict=True)) == expected
    assert len(set(decoded.group)) == 7
    add_label(add_photograph(99, patient="new"), (DISC, "nv"))
    more = decode(open_corrections(open_store()), SIDE, cache, progress=False)
    later = dict(zip(more.image_id, more.fold, strict=True))
    assert {image_id: later[image_id] for image_id in expected} == expected
    write_split(more, tmp_path / "split.csv")
    assert "DRAWN" not in (tmp_path / "split.csv").read_text()


def test_a_correction_of_a_reference_photograph_never_crosses_its_side(
    open_store, add_photograph, add_label, draw_pictures, cache
):
    """The same pixels as JPEG in the reference data and as DICOM in the studies."""
    photograph = add_photograph(5)
    add_label(photograph, (DISC, "mel"))
    root = draw_pictures(["other"])
    Image.fromarray(draw(5)[0]).save(root / "images" / "same.png")
    corrections = open_corrections(open_store())
    side = stable_fold(corrections.photographs[0].group)
    fold = 9 if side < 8 else 0
    write_table(
        root / "labels.csv",
        {"image_id": "same", "lesion_id": "1", "dx": "mel", "fold": fold},
        {"image_id": "other", "lesion_id": "2", "dx": "nv", "fold": 1},
    )
    photographs = decode(corrections + open_data_set(root), SIDE, cache, progress=False)
    folds = dict(zip(photographs.image_id, photographs.fold, strict=True))
    assert folds == {photograph.SOPInstanceUID: -1, "same": fold, "other": 1}
    assert any(
        problem.startswith("Left out, as there are the same pixels in") for problem in photographs.problems
    )


# ---- archives ----


def test_corrections_in_an_archive_teach_like_those_in_a_folder(
    orthanc, studies, open_store, add_photograph, add_label, cache, tmp_path
):
    for patient in requests.get(f"{orthanc}/patients", timeout=10).json():
        requests.delete(f"{orthanc}/patients/{patient}", timeout=10).raise_for_status()
    for seed in range(3):
        photograph = add_photograph(seed, patient=f"P{seed}", PatientAge="030Y", PatientSex="M")
        add_label(photograph, (DISC, "mel" if seed else None))
    for path in studies.iterdir():
        requests.post(f"{orthanc}/instances", data=path.read_bytes(), timeout=10).raise_for_status()
    with StudyStore.open(f"{orthanc}/dicom-web/", tmp_path / "web", watch=False) as store:
        web = decode(open_corrections(store), SIDE, cache, progress=False)
    folder = decode(open_corrections(open_store()), SIDE, cache, progress=False)
    assert len(web) == 3
    assert web.problems == folder.problems == ()
    assert web.fingerprint == folder.fingerprint
    order = np.argsort(web.image_id), np.argsort(folder.image_id)
    np.testing.assert_array_equal(web.images[order[0]], folder.images[order[1]])
    np.testing.assert_array_equal(web.masks[order[0]], folder.masks[order[1]])
    np.testing.assert_array_equal(web.age, 30)
