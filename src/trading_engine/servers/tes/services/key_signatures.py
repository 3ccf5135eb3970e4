"""What is signed with an API key, and by whom: with the key's secret (HMAC-SHA256), or by an owner who keeps a private key (Ed25519).

The two are told apart by their form: 64 hexadecimal digits, or 64 bytes in Base64. A key has one of them. Of one with a public half the
secret that belongs to its id was never told to anybody, so no signature of the first form is right.
"""

import binascii
import re
from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from trading_engine.servers.tes.errors import invalid_request

HMAC_SIGNATURE = re.compile(r"[0-9A-Fa-f]{64}")
PEM_CHARACTERS_MAX = 1_000


def is_hmac(signature: str) -> bool:
    return HMAC_SIGNATURE.fullmatch(signature) is not None


def is_of_private_key(public_key: str, payload: bytes, signature: str) -> bool:
    """Whether the owner of the private half signed this (RFC 8032). `public_key` and `signature` are Base64."""
    if not public_key:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(b64decode(public_key)).verify(b64decode(signature, validate=True), payload)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def public_key_of(pem: str) -> str:
    """The 32 bytes in Base64. Raises `ApiError`."""
    problem = invalid_request("This is no Ed25519 public key in PEM.", "public_key")
    if len(pem) > PEM_CHARACTERS_MAX:
        raise problem
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise problem from None
    if not isinstance(key, Ed25519PublicKey):
        raise problem
    return b64encode(key.public_bytes_raw()).decode()
