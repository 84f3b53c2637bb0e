"""edgexai: recipe -> twin -> engine -> evidence, for small image classifiers on edge boards."""

__version__ = "0.1.0"
