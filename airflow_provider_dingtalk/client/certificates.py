"""TLS context and its trusted certificates.

The first of these sources that is set applies: ``ca_file`` of the connection; ``SSL_CERT_FILE`` and
``SSL_CERT_DIR``; ``REQUESTS_CA_BUNDLE``; the system's store; certifi's store, if the system has none.
"""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path

from airflow_provider_dingtalk.exceptions import ConfigurationError

#: Name, file and folder of a source of certificates; without file and folder, OpenSSL's default paths.
_Source = tuple[str, str | None, str | None]


def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Return the process's TLS context, cached by source. Certificates are always verified.

    :param ca_file: PEM file to trust instead of all other sources; default None.
    :raises ConfigurationError: If the certificates cannot be read. The error names their source.
    """
    name, file, folder = _source(ca_file)
    try:
        return _context(file, folder)
    except OSError as error:  # SSLError is a subclass
        problem = type(error).__name__
    raise ConfigurationError(
        f"{name}: cannot be read ({problem}); expected a file of certificates (PEM).",
        message_zh=f"{name}：无法读取（{problem}）；应为证书文件（PEM）。",
    )


def _source(ca_file: str | None) -> _Source:
    if ca_file:
        return "extra ca_file", ca_file, None
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or folder:
        return "SSL_CERT_FILE" if file else "SSL_CERT_DIR", file or None, folder or None
    if bundle := os.environ.get("REQUESTS_CA_BUNDLE"):
        is_folder = os.path.isdir(bundle)  # noqa: PTH112 -- pathlib's raises for a name that is too long
        return "REQUESTS_CA_BUNDLE", None if is_folder else bundle, bundle if is_folder else None
    return "the system's certificates", None, None


# Cached, because reading the certificates takes 16 ms and 0.7 MB.
@functools.cache
def _context(file: str | None, folder: str | None) -> ssl.SSLContext:
    if file or folder:
        context = _context_of(file, folder)
    else:
        context = ssl.create_default_context()
        if not _system_has_certificates(context):
            import certifi

            context = ssl.create_default_context(cafile=certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


def _context_of(file: str | None, folder: str | None) -> ssl.SSLContext:
    # Reading a pipe or a device might never end, so both are refused.
    if file and not Path(file).is_file():
        raise FileNotFoundError(file)
    if folder and not all(Path(part).is_dir() for part in folder.split(os.pathsep)):
        raise NotADirectoryError(folder)
    return ssl.create_default_context(cafile=file, capath=folder)


def _system_has_certificates(context: ssl.SSLContext) -> bool:
    folder = ssl.get_default_verify_paths().capath
    return context.cert_store_stats()["x509_ca"] > 0 or bool(folder and any(Path(folder).iterdir()))
