"""
What the HTTP server may log.

Bytes that are no HTTP are a client's mistake, and they may hold its key: that they
came is worth a line, what they were is not.
"""

import logging
from typing import Final

from aiohttp.http_exceptions import HttpProcessingError

_NAME: Final = "mock_server.http"


class _Discretion(logging.Filter):
    """
    Turns an error about a client's bytes into a line without them.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """
        Let a record pass, without what came over the socket.
        """
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.levelno, record.levelname = logging.DEBUG, "DEBUG"
            record.msg = "a request was no HTTP: %s"
            record.args = (type(error).__name__,)
            record.exc_info = record.exc_text = None
            return logging.getLogger(_NAME).isEnabledFor(logging.DEBUG)
        return True


def http_logger() -> logging.Logger:
    """
    Return the logger that an HTTP server of the mock is given.
    """
    logger = logging.getLogger(_NAME)
    if not any(isinstance(each, _Discretion) for each in logger.filters):
        logger.addFilter(_Discretion())
    return logger
