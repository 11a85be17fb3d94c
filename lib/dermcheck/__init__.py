"""DermCheck: outlines and classifies skin lesions in DICOM photographs, offline. Research use only."""
