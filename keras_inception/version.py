"""The version, which is that of ``inception-serving`` too."""

from inception_serving.version import __version__ as __version__
