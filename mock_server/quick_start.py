"""
How a process that is a command comes to work sooner.

Half of what a command does until it works is to load what it is made of. Some of that
is of no use to most commands, and is put off here until somebody wants it.
"""

import gc
import ssl
from typing import Any, Final

LOADED_OBJECTS: Final = 100_000
"""More than any command is made of before it works."""


class _TrustingLater(ssl.SSLContext):
    """
    A context that reads the certificates it trusts when it first meets a peer.
    """

    def read(self) -> None:
        """
        Read them, and be like any other context from then on.
        """
        self.__class__ = ssl.SSLContext  # type: ignore[assignment]  # its base
        _READ(self)

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """
        Return the peer, as asyncio asks for it.
        """
        self.read()
        return self.wrap_bio(*args, **options)

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """
        Return the peer, as blocking clients ask for it.
        """
        self.read()
        return self.wrap_socket(*args, **options)

    def cert_store_stats(self) -> dict[str, int]:
        """
        Say how many are trusted.
        """
        self.read()
        return self.cert_store_stats()

    def get_ca_certs(self, binary_form: bool = False) -> Any:  # noqa: FBT001, FBT002 - as its base has it
        """
        Return those that are trusted.
        """
        self.read()
        return self.get_ca_certs(binary_form)


_READ = ssl.SSLContext.set_default_verify_paths


def read_later(context: ssl.SSLContext) -> None:
    """
    Have a context read what the system trusts when it is first asked for it.
    """
    if type(context) is ssl.SSLContext:
        context.__class__ = _TrustingLater
    else:
        _READ(context)


def start_quickly() -> None:
    """
    Prepare this process, before it loads anything else, to load what it needs.

    Only a command may: whoever loads the mock as a library finds things as they were.
    """
    # Nearly all that is made while modules are loaded stays: whoever looks for garbage
    # in it every 700 objects finds none.
    gc.set_threshold(LOADED_OBJECTS, *gc.get_threshold()[1:])
    # aiohttp makes two contexts when it is loaded, and has each read the hundred and
    # forty certificates of the system: a fifth of the instructions until a mock works.
    ssl.SSLContext.set_default_verify_paths = read_later  # type: ignore[method-assign,assignment]
