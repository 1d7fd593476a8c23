"""
A mock behind TLS, for clients that speak nothing else.
"""

import ssl
from pathlib import Path


class TlsError(ValueError):
    """
    A certificate and a key that cannot be served with.
    """


def load_tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """
    Return what serves with this certificate; None if there is none.

    Args:
        cert: The certificate and what stands between it and its root, as PEM.
        key: Its private key, as PEM and without a passphrase.

    Raises:
        TlsError: One of the two is missing, cannot be read, or does not fit the other.
    """
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        message = "TLS needs both: a certificate (--tls-cert) and its key (--tls-key)"
        raise TlsError(message)
    for file in (cert, key):
        try:
            file.read_bytes()
        except OSError as error:
            message = f"{file} cannot be read: {error.strerror}"
            raise TlsError(message) from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty passphrase, so that nobody is asked for one on the terminal.
        context.load_cert_chain(cert, key, password="")
    except (ssl.SSLError, ValueError) as error:
        message = (
            f"{cert} and {key} are no certificate and its private key, as PEM and "
            f"without a passphrase: {error}"
        )
        raise TlsError(message) from error
    context.set_alpn_protocols(["http/1.1"])
    return context
