"""
``python -m harness.settings``: all settings as a page of the documentation.
"""

from harness.settings.page import settings_page

if __name__ == "__main__":
    print(settings_page())  # noqa: T201 - what the command is for
