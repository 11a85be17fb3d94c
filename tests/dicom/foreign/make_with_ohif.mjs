// Writes ohif_*.dcm with the library that OHIF 3.13.2 exports Segmentations with, called as OHIF calls it.
// See README.md for how to run it.
import fs from 'fs';
import * as dcmjsModule from 'dcmjs';
import { adaptersSEG } from '@cornerstonejs/adapters';

const dcmjs = dcmjsModule.default ?? dcmjsModule;
const folder = process.argv[2];
const rows = 45, columns = 62;
const label = new Uint8Array(rows * columns);
for (let row = 0; row < rows; row++) {
  for (let column = 0; column < columns; column++) {
    const stem = row >= 9 && row < 36 && column >= 12 && column < 18;
    const foot = row >= 31 && row < 36 && column >= 12 && column < 40;
    if (stem || foot) label[row * columns + column] = 1;
    if (row >= 3 && row < 8 && column >= 47 && column < 59) label[row * columns + column] = 2;
  }
}

// What OHIF's metadata providers answer for a photograph; the position is our plane provider's.
const study = {
  StudyInstanceUID: '2.25.1001', PatientID: 'SYNTHETIC-1', PatientName: 'Synthetic^One', PatientBirthDate: '',
  PatientSex: '', StudyDate: '20260101', StudyTime: '101500', AccessionNumber: '', StudyID: '1',
  ReferringPhysicianName: '',
};
const series = { SeriesInstanceUID: '2.25.1002', Modality: 'XC', SeriesNumber: 1 };
const image = {
  SOPClassUID: '1.2.840.10008.5.1.4.1.1.77.1.4', SOPInstanceUID: '2.25.1003', Rows: rows, Columns: columns,
  InstanceNumber: 1, SamplesPerPixel: 3, PhotometricInterpretation: 'RGB', BitsStored: 8, HighBit: 7,
  PixelRepresentation: 0, ImagePositionPatient: [0, 0, 7], ImageOrientationPatient: [1, 0, 0, 0, 1, 0],
};
const answers = {
  studydata: study, seriesdata: series, imagedata: { ...study, ...series, ...image },
  instance: { ...study, ...series, ...image }, generalseriesmodule: { ...series, modality: 'XC' },
  imageplanemodule: {
    rowCosines: [1, 0, 0], columnCosines: [0, 1, 0], imageOrientationPatient: [1, 0, 0, 0, 1, 0],
    imagePositionPatient: [0, 0, 7], rowPixelSpacing: 1, columnPixelSpacing: 1, rows, columns,
  },
  sopcommonmodule: { sopClassUID: image.SOPClassUID, sopInstanceUID: image.SOPInstanceUID },
};
const metadata = { get: (type) => answers[type.toLowerCase()] };

const tissue = { CodeValue: 'T-D0050', CodingSchemeDesignator: 'SRT', CodeMeaning: 'Tissue' };
const segment = (number, name) => ({
  SegmentNumber: String(number), SegmentLabel: name, SegmentAlgorithmType: 'MANUAL', SegmentAlgorithmName: 'OHIF Brush',
  RecommendedDisplayCIELabValue: [40000, 40000, 40000], SegmentedPropertyCategoryCodeSequence: tissue,
  SegmentedPropertyTypeCodeSequence: tissue,
});
const labelmap = {
  labelmaps2D: [{ segmentsOnLabelmap: [1, 2], rows, columns, pixelData: label }],
  metadata: [undefined, segment(1, 'Melanoma'), segment(2, 'Melanocytic naevus')],
};
const pixels = () => new Uint8Array(rows * columns * 3);
const images = [{ imageId: 'photograph', rows, columns, voxelManager: { getScalarData: pixels }, getPixelData: pixels }];

function save(name, options) {
  const { dataset } = adaptersSEG.Cornerstone3D.Segmentation.generateSegmentation(images, structuredClone(labelmap), metadata, options);
  const { DicomMetaDictionary, DicomDict } = dcmjs.data;
  const dict = new DicomDict(DicomMetaDictionary.denaturalizeDataset({
    FileMetaInformationVersion: new Uint8Array([0, 1]).buffer,
    MediaStorageSOPClassUID: dataset.SOPClassUID,
    MediaStorageSOPInstanceUID: dataset.SOPInstanceUID,
    TransferSyntaxUID: options.transferSyntaxUID,
    ImplementationClassUID: '2.25.270695996825855179949881587723571202391.2.0.0',
    ImplementationVersionName: 'OHIF-3.11.0', // the constant of 3.13.2
  }));
  dict.dict = DicomMetaDictionary.denaturalizeDataset(dataset);
  fs.writeFileSync(`${folder}/${name}.dcm`, Buffer.from(dict.write()));
}

const labelmapClass = '1.2.840.10008.5.1.4.1.1.66.7';
const explicit = '1.2.840.10008.1.2.1', rle = '1.2.840.10008.1.2.5';
save('ohif_binary', { transferSyntaxUID: explicit });
save('ohif_binary_rle', { transferSyntaxUID: rle });
save('ohif_labelmap', { sopClassUID: labelmapClass, transferSyntaxUID: explicit });
save('ohif_labelmap_rle', { sopClassUID: labelmapClass, transferSyntaxUID: rle });
