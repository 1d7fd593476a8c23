"""
Which version of the distribution this is.
"""

from typing import Final

# Written down, as reading it from what is installed loads a dozen modules.
VERSION: Final = "0.1.0"
