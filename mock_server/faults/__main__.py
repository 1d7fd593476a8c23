"""
``python -m mock_server.faults``: the catalogue as a page of the documentation.
"""

from mock_server.faults import catalogue_page

if __name__ == "__main__":
    print(catalogue_page())  # noqa: T201 - what the command is for
