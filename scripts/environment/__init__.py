"""What start.py, test.py and lock.py share: checks of the machine, the lock file, and ``.venv``.

Standard library only. ``checks``, ``command`` and ``problems`` can be read by Python 3.7, so that a
wrong Python gets a sentence rather than a SyntaxError.
"""
