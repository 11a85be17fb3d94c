"""From labelled photographs to a version in use: reads the data, trains, and lets the registry decide.

The one way that `dermcheck train` and the Train button of viewers take. Import its modules by their own
names: the server looks at `place` only, and does without what a training needs.
"""
