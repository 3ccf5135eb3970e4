"""Signatures of API keys: by RFC 8032's own examples, and what is no signature or no key."""

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.services.key_signatures import is_hmac, is_of_private_key, public_key_of

EXAMPLES = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
"""Public key, message, signature of section 7.1, in hexadecimal digits."""


def base64_of(digits: str) -> str:
    return b64encode(bytes.fromhex(digits)).decode()


@pytest.mark.parametrize(("public_key", "message", "signature"), EXAMPLES)
def test_signature_of_the_published_examples_is_of_their_keys(public_key: str, message: str, signature: str) -> None:
    key, payload, signed = base64_of(public_key), bytes.fromhex(message), base64_of(signature)
    assert is_of_private_key(key, payload, signed)
    assert not is_of_private_key(key, payload + b"x", signed)
    assert not is_of_private_key(base64_of(EXAMPLES[0][0][::-1]), payload, signed)


@pytest.mark.parametrize("signature", ["", "x", "AAAA", "é", "=" * 88, "A" * 86 + "==", "A" * 10_000])
def test_what_is_no_signature_is_of_nobody(signature: str) -> None:
    assert not is_of_private_key(base64_of(EXAMPLES[0][0]), b"", signature)


def test_key_without_a_public_half_signs_nothing_in_base64() -> None:
    assert not is_of_private_key("", b"", base64_of(EXAMPLES[0][2]))


def test_form_tells_what_was_signed_with() -> None:
    assert is_hmac("0aF9" * 16)
    assert not is_hmac("0aF9" * 22)
    assert not is_hmac("z" * 64)


def test_public_key_is_read_from_its_pem() -> None:
    public_key = ed25519.Ed25519PrivateKey.generate().public_key()
    pem = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert public_key_of(pem) == b64encode(public_key.public_bytes_raw()).decode()
    assert public_key_of(f"\n{pem}\n") == public_key_of(pem)


other_kind = ec.generate_private_key(ec.SECP256R1()).public_key()


@pytest.mark.parametrize(
    "pem",
    [
        "x",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        "é",
        "x" * 1_001,
        other_kind.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    ],
)
def test_what_is_no_ed25519_key_is_refused(pem: str) -> None:
    with pytest.raises(ApiError) as refused:
        public_key_of(pem)
    assert (refused.value.code, refused.value.body.field) == ("INVALID_REQUEST", "public_key")
