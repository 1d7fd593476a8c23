"""
One worker; started by the mock that it works for.
"""

import sys

from mock_server.workers.worker import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
