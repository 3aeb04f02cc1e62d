"""The private key of a GitHub App, in every form in which keys are pasted (pure).

The kind of a key is read from its DER encoding by hand: the library that signs with it takes long to import, and the
settings are read at every cold start.
"""

import base64
import binascii
import re

# Line ends as awk, jq, JSON and pipelines write them: `\n` and `\r\n`, escaped once or more, and `%0D%0A`.
_ESCAPED_LINE_END = re.compile(r"\\+[rn]|%0[AD]", re.IGNORECASE)
_PEM = re.compile(r"-----BEGIN\s*([A-Z0-9\s]*PRIVATE\s*KEY)\s*-----(.*?)-----END", re.DOTALL)
_NO_DIGIT = re.compile(r"[^A-Za-z0-9+/]")
_LINE_LENGTH = 64

# Tags (ITU-T X.690, 8.1.2) and algorithms (RFC 8017, A.1; RFC 5480, 2.1.1) in DER.
_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30
_RSA = bytes.fromhex("06092a864886f70d010101")
_ELLIPTIC_CURVE = bytes.fromhex("06072a8648ce3d0201")

_NO_KEY = "is not a private key in PEM form (as it is, with \\n for line ends, or in base64)"
_DAMAGED = "is a private key that is damaged or cut off"
_ENCRYPTED = "is encrypted: use the key as GitHub gave it, or decrypt it (openssl rsa -in key.pem)"
_EC = "is an EC key, but the key of a GitHub App is an RSA key"
_OTHER = "is not an RSA key in PKCS#1 or PKCS#8 form, as the key is that GitHub gives for an App"


def normalized(text: str) -> str:
    """Return an RSA private key as a PEM with plain line ends.

    Args:
        text: the PEM as it is; or with line ends that are escaped, replaced by blanks or lost, in quotes, or behind a
            byte order mark; or any of these in base64.

    Raises:
        ValueError: It is not the private key of a GitHub App; the message says why.
    """
    plain = _ESCAPED_LINE_END.sub("\n", text)
    found = _PEM.search(plain) or _PEM.search(_ESCAPED_LINE_END.sub("\n", _text(_decoded(plain))))
    if found is None:
        raise ValueError(_NO_KEY)
    kind, content = "".join(found[1].split()), found[2]
    if "ENCRYPTED" in kind + content:  # in the label, or in a header line (RFC 1421, 4.6.1.1)
        raise ValueError(_ENCRYPTED)
    if kind == "ECPRIVATEKEY":
        raise ValueError(_EC)
    if kind not in ("PRIVATEKEY", "RSAPRIVATEKEY"):
        raise ValueError(_OTHER)
    der = _decoded(content)
    label = _label(der)
    digits = base64.b64encode(der).decode()
    lines = [digits[at : at + _LINE_LENGTH] for at in range(0, len(digits), _LINE_LENGTH)]
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""))


def _decoded(text: str) -> bytes:
    """Decode base64, whatever stands between its digits; nothing comes of what is none."""
    digits = _NO_DIGIT.sub("", text)
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4))
    except binascii.Error:
        return b""


def _text(content: bytes) -> str:
    """Read ASCII, also where it comes in two bytes for each character, as Windows tools write it."""
    return content.replace(b"\0", b"").decode("latin-1")


def _label(der: bytes) -> str:
    """Return the PEM label of an RSA private key.

    Source: RFC 8017, A.1.2 (RSA); RFC 5958, 2 and 3 (PKCS#8, encrypted or not); RFC 5915, 3 (EC).

    Raises:
        ValueError: It is another key, or no complete one.
    """
    try:
        (tag, key), rest = _element(der)
        (first, version), after = _element(key)
        (second, content), _ = _element(after)
    except IndexError:
        raise ValueError(_DAMAGED) from None
    kinds = (first, second)
    if tag != _SEQUENCE or rest:
        raise ValueError(_DAMAGED)
    if kinds == (_INTEGER, _INTEGER) and not any(version):
        return "RSA PRIVATE KEY"
    if kinds == (_INTEGER, _SEQUENCE) and content.startswith(_RSA):
        return "PRIVATE KEY"
    if kinds == (_INTEGER, _OCTETS) or content.startswith(_ELLIPTIC_CURVE):
        raise ValueError(_EC)
    raise ValueError(_ENCRYPTED if first == _SEQUENCE else _OTHER)


def _element(der: bytes) -> tuple[tuple[int, bytes], bytes]:
    """Return the tag and the content of the first element, and what follows it (ITU-T X.690, 8.1).

    Raises:
        IndexError: It is not complete.
    """
    tag, length, start = der[0], der[1], 2
    if length > 0x7F:  # noqa: PLR2004 - the rest of the octet says in how many others the length stands
        start += length & 0x7F
        length = int.from_bytes(der[2:start])
    if start + length > len(der):
        raise IndexError
    return (tag, der[start : start + length]), der[start + length :]
