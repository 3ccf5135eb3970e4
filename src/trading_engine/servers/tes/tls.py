"""TLS of the TES and the FIX gateway: the certificate, and what is refused without one."""

import ssl
from pathlib import Path

from trading_engine.shared.addresses import is_loopback
from trading_engine.shared.config import Config, ConfigError, FixConfig, TesConfig


class UnsafePlainHttp(Exception):
    """Passwords and tokens would go over a network in the clear; the message says what to do."""


def scheme_of(config: Config) -> str:
    return "https" if config.tes.tls_certificate else "http"


def check_plain_http(config: Config) -> None:
    """Raises `UnsafePlainHttp`."""
    tes = config.tes
    if is_loopback(tes.host) or tes.tls_certificate or tes.plain_http_beyond_loopback:
        return
    raise UnsafePlainHttp(
        f"tes.host is {tes.host!r}, which other machines can reach, and there is no TLS: passwords and tokens could be read on the way. "
        "Set tes.tls_certificate and tes.tls_key; or, where a proxy in front ends TLS and nobody else gets here, "
        "tes.plain_http_beyond_loopback: true."
    )


def tls_context(section: TesConfig | FixConfig, name: str = "tes") -> ssl.SSLContext | None:
    """TLS 1.2 and later, with Python's choice of ciphers. Raises `ConfigError`."""
    if not section.tls_certificate:
        return None
    for key, file in ((f"{name}.tls_certificate", section.tls_certificate), (f"{name}.tls_key", section.tls_key)):
        if file and not Path(file).exists():
            raise ConfigError(
                f"{key}: there is no {file}. Put the PEM file there that an authority gave you, or name another one; to try, "
                "scripts/make_certificate.sh makes one that signs itself (docs/security.md#tls)."
            )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(section.tls_certificate, section.tls_key or None)
    except OSError as error:
        raise ConfigError(
            f"{name}.tls_certificate {section.tls_certificate!r} with {name}.tls_key {section.tls_key!r} cannot be used: {error}"
        ) from error
    return context
