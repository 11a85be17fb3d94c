"""What to label next: scores of unlabelled photographs, strategies that choose among them, and the proof."""
