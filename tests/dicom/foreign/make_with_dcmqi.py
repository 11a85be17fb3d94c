"""Writes dcmqi_*.dcm with dcmqi, which is also what 3D Slicer exports Segmentations with. See README.md."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the field's own name
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

ROWS, COLUMNS = 45, 62
ATTRIBUTES = {
    "SOPClassUID": SecondaryCaptureImageStorage,
    "SOPInstanceUID": "2.25.1003",
    "SeriesInstanceUID": "2.25.1002",
    "StudyInstanceUID": "2.25.1001",
    "PatientID": "SYNTHETIC-1",
    "PatientName": "Synthetic^One",
    "PatientBirthDate": "",
    "PatientSex": "",
    "StudyDate": "20260101",
    "StudyTime": "101500",
    "AccessionNumber": "",
    "StudyID": "1",
    "ReferringPhysicianName": "",
    "Modality": "OT",
    "ConversionType": "WSD",
    "SeriesNumber": 1,
    "InstanceNumber": 1,
    "FrameOfReferenceUID": "2.25.1004",
    "ImagePositionPatient": [0, 0, 0],
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "PixelSpacing": [0.1, 0.1],
    "SliceThickness": 1,
}


def make_photograph(path: Path) -> None:
    photograph = Dataset()
    photograph.file_meta = FileMetaDataset()
    photograph.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword, value in ATTRIBUTES.items():
        setattr(photograph, keyword, value)
    photograph.set_pixel_data(np.zeros((ROWS, COLUMNS, 3), np.uint8), "RGB", 8, generate_instance_uid=False)
    photograph.save_as(path, enforce_file_format=True)


def make_label_map(path: Path, second_value: int) -> None:
    label_map = np.zeros((ROWS, COLUMNS), np.uint8)
    label_map[9:36, 12:18] = label_map[31:36, 12:40] = 1
    label_map[3:8, 47:59] = second_value
    image = sitk.GetImageFromArray(label_map[None])
    image.SetSpacing((0.1, 0.1, 1.0))
    sitk.WriteImage(image, str(path))


def segment(label_id: int, label: str, code: str, meaning: str) -> dict[str, object]:
    return {
        "labelID": label_id,
        "SegmentDescription": label,
        "SegmentLabel": label,
        "SegmentAlgorithmType": "SEMIAUTOMATIC",
        "SegmentAlgorithmName": "paint",
        "SegmentedPropertyCategoryCodeSequence": {
            "CodeValue": "49755003",
            "CodingSchemeDesignator": "SCT",
            "CodeMeaning": "Morphologically Abnormal Structure",
        },
        "SegmentedPropertyTypeCodeSequence": {
            "CodeValue": code,
            "CodingSchemeDesignator": "SCT",
            "CodeMeaning": meaning,
        },
        "recommendedDisplayRGBValue": [200, 50, 50],
    }


def main(folder: Path) -> None:
    for name, second_value, options in (
        ("dcmqi_binary", 3, []),
        ("dcmqi_labelmap", 3, ["--segmentationType", "labelmap"]),
        ("dcmqi_deflated", 2, ["--compress", "deflate"]),
    ):
        with tempfile.TemporaryDirectory() as scratch:
            photograph, label_map, metadata = (Path(scratch) / part for part in ("p.dcm", "l.nrrd", "m.json"))
            make_photograph(photograph)
            make_label_map(label_map, second_value)
            segments = [
                segment(1, "Lesion", "372244006", "Malignant melanoma"),
                segment(second_value, "mole", "95324001", "Skin lesion"),
            ]
            metadata.write_text(
                json.dumps(
                    {
                        "ContentCreatorName": "Reader1",
                        "SeriesDescription": "Segmentation",
                        "SeriesNumber": "300",
                        "InstanceNumber": "1",
                        "ContentLabel": "SEGMENTATION",
                        "segmentAttributes": [segments],
                    }
                )
            )
            inputs = [
                f"--inputImageList={label_map}",
                f"--inputDICOMList={photograph}",
                f"--inputMetadata={metadata}",
            ]
            output = f"--outputDICOM={folder / name}.dcm"
            subprocess.run(["itkimage2segimage", *inputs, output, *options], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
