"""
Fingerprints of what came in.
"""

import hashlib


def sha256_of(data: bytes) -> str:
    """
    Return the hex digest.
    """
    return hashlib.sha256(data).hexdigest()
