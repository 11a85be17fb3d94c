"""Measuring the reference models, and the pages that tell of them."""
