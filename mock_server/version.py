"""
Which version of the distribution this is.
"""

from importlib.metadata import PackageNotFoundError, version


def _read_version() -> str:
    try:
        return version("toolcall-harness")
    except PackageNotFoundError:
        # Run from a checkout that was never installed.
        return "0"


VERSION = _read_version()
