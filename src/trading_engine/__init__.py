"""A trading venue that you run yourself, and that behaves like an exchange."""

__version__ = "0.1.0"
