"""TLS context and its trusted certificates.

The first of these sources that is set applies: ``ca_file`` of the connection; ``SSL_CERT_FILE`` and
``SSL_CERT_DIR``; ``REQUESTS_CA_BUNDLE``; the system's store; certifi's store, if the system has none.
"""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path

from msgspec import Struct

from airflow_provider_dingtalk.exceptions import ConfigurationError


class _Source(Struct, frozen=True):
    """Source of certificates; without file and folder, OpenSSL's default paths."""

    name: str
    file: str | None = None
    folder: str | None = None


def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Return the process's TLS context, cached by source. Certificates are always verified.

    :param ca_file: PEM file to trust instead of all other sources; default None.
    :raises ConfigurationError: If the certificates cannot be read. The error names their source.
    """
    source = _source(ca_file)
    try:
        return _context(source)
    except OSError as error:  # SSLError is a subclass
        problem = type(error).__name__
    raise ConfigurationError(f"{source.name}: cannot be read ({problem}); expected a file of certificates (PEM).")


def _source(ca_file: str | None) -> _Source:
    if ca_file:
        return _Source("extra ca_file", ca_file)
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or folder:
        return _Source("SSL_CERT_FILE" if file else "SSL_CERT_DIR", file or None, folder or None)
    if bundle := os.environ.get("REQUESTS_CA_BUNDLE"):
        is_folder = os.path.isdir(bundle)  # noqa: PTH112 -- pathlib's raises for a name that is too long
        return _Source("REQUESTS_CA_BUNDLE", None if is_folder else bundle, bundle if is_folder else None)
    return _Source("the system's certificates")


# Cached, because reading the certificates takes 16 ms and 0.7 MB.
@functools.cache
def _context(source: _Source) -> ssl.SSLContext:
    if source.file or source.folder:
        context = _context_of(source)
    else:
        context = ssl.create_default_context()
        if not _system_has_certificates(context):
            import certifi

            context = ssl.create_default_context(cafile=certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


def _context_of(source: _Source) -> ssl.SSLContext:
    # Reading a pipe or a device might never end, so both are refused.
    if source.file and not Path(source.file).is_file():
        raise FileNotFoundError(source.file)
    if source.folder and not all(Path(folder).is_dir() for folder in source.folder.split(os.pathsep)):
        raise NotADirectoryError(source.folder)
    return ssl.create_default_context(cafile=source.file, capath=source.folder)


def _system_has_certificates(context: ssl.SSLContext) -> bool:
    folder = ssl.get_default_verify_paths().capath
    return context.cert_store_stats()["x509_ca"] > 0 or bool(folder and any(Path(folder).iterdir()))
