"""One module a command of `dermcheck`; each offers `register(subparsers)`."""
