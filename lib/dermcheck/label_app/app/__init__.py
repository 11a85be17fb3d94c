"""The app folder that `dermcheck serve` names to MONAI Label; nothing is ever written into it."""
