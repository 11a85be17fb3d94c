"""Training of the networks from labelled photographs, calibration and honest figures."""
