"""The diagnosis of a photograph as a DICOM Structured Report: written and read back."""

from dermcheck.dicom.finding import DiagnosisFinding
from dermcheck.dicom.report_reading import read_report
from dermcheck.dicom.report_writing import write_report

__all__ = ["DiagnosisFinding", "read_report", "write_report"]
