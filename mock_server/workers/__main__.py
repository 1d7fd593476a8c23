"""
One worker; started by the mock that it works for.
"""

import sys

from mock_server.quick_start import start_quickly

if __name__ == "__main__":
    start_quickly()
    from mock_server.workers.worker import main

    sys.exit(main(sys.argv[1:]))
