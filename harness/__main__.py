"""
``python -m harness`` is the command ``harness``.
"""

import sys

EXIT_INTERRUPTED = 130
"""Known before anything is loaded, the command line's own exit codes included."""


def main() -> None:
    """
    Run the command line; Ctrl-C while it is still being loaded is no mistake either.
    """
    try:
        from harness.cli import main as run  # noqa: PLC0415 - to be interrupted while it loads
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
