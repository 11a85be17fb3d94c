"""Checks an installation and says in words what is wrong and what to do about it."""

from dermcheck.doctor.examination import Subject, examine
from dermcheck.doctor.finding import Finding

__all__ = ["Finding", "Subject", "examine"]
