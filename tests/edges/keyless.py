"""A Sigstore of the tests' own: a certificate authority, a certificate log and a transparency log, with one entry each.

It makes what no offline tool makes, a keyless signature in a bundle, and the trusted root to verify it with. The forms
are those of RFC 6962 (certificate log), of Rekor 1 (entry, promise, proof) and of C2SP's tlog-checkpoint.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pluginrelease.core.signing import signature

ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
TIMESTAMPS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
SIGNING = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
SHA256_ECDSA = b"\x04\x03"

JSON = dict[str, Any]


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def number(key: ec.EllipticCurvePrivateKey) -> bytes:
    """What a log is known by."""
    return hashlib.sha256(public(key)).digest()


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def made(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    return key.sign(message, ec.ECDSA(hashes.SHA256()))


@dataclass
class Sigstore:
    """One installation."""

    authority: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    certificates: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    entries: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
        ) | dict.fromkeys(("encipher_only", "decipher_only"), False)
        self._off = usage
        self.root = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.authority.public_key())
            .serial_number(1)
            .not_valid_before(SIGNING - timedelta(days=1))
            .not_valid_after(SIGNING + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **usage), critical=True
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.authority.public_key()), critical=False)
            .sign(self.authority, hashes.SHA256())
        )

    def trusted_root(self) -> bytes:
        """The JSON that somebody mounts."""
        start = {"start": (SIGNING - timedelta(days=1)).isoformat().replace("+00:00", "Z")}
        chain = {"certificates": [{"rawBytes": b64(self.root.public_bytes(Encoding.DER))}]}
        subject = {"organization": "tests", "commonName": "tests"}
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [self._log(self.entries, start)],
                "certificateAuthorities": [
                    {"subject": subject, "uri": "https://ca.example", "certChain": chain, "validFor": start}
                ],
                "ctlogs": [self._log(self.certificates, start)],
            }
        ).encode()

    def _log(self, key: ec.EllipticCurvePrivateKey, valid: JSON) -> JSON:
        details = {"rawBytes": b64(public(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": valid}
        return {
            "baseUrl": "https://log.example",
            "hashAlgorithm": "SHA2_256",
            "publicKey": details,
            "logId": {"keyId": b64(number(key))},
        }

    def sign(
        self,
        statement: JSON,
        subject: str,
        issuer: str,
        *,
        at: datetime = SIGNING,
        logged_as: bytes | None = None,
    ) -> JSON:
        """A bundle. ``at``: when the log says that it was made; ``logged_as``: another payload that is logged."""
        key, payload = new_key(), json.dumps(statement).encode()
        certificate = self._certificate(key, subject, issuer)
        made_so = made(key, signature.encode_pae(signature.PAYLOAD_TYPE, payload))
        entry = self._entry(logged_as or payload, made_so, certificate, at)
        return {
            "mediaType": signature.BUNDLE,
            "verificationMaterial": {
                "certificate": {"rawBytes": b64(certificate.public_bytes(Encoding.DER))},
                "tlogEntries": [entry],
            },
            "dsseEnvelope": {
                "payload": b64(payload),
                "payloadType": signature.PAYLOAD_TYPE,
                "signatures": [{"sig": b64(made_so)}],
            },
        }

    def _certificate(self, key: ec.EllipticCurvePrivateKey, subject: str, issuer: str) -> x509.Certificate:
        """For ten minutes, and logged: the log signs the certificate without its own word, which is added then."""
        usage = x509.KeyUsage(digital_signature=True, key_cert_sign=False, crl_sign=False, **self._off)
        name = x509.UniformResourceIdentifier(subject) if "://" in subject else x509.RFC822Name(subject)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(key.public_key())
            .serial_number(2)
            .not_valid_before(SIGNING - timedelta(minutes=1))
            .not_valid_after(SIGNING + timedelta(minutes=9))
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.public_key()), critical=False
            )
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.UnrecognizedExtension(ISSUER, der(0x0C, issuer.encode())), critical=False)
        )
        logged = builder.sign(self.authority, hashes.SHA256()).tbs_certificate_bytes
        word = x509.UnrecognizedExtension(TIMESTAMPS, self._timestamp(logged))
        return builder.add_extension(word, critical=False).sign(self.authority, hashes.SHA256())

    def _timestamp(self, logged: bytes) -> bytes:
        """The certificate log's word (RFC 6962, 3.2 and 3.3), as the value of an extension."""
        when = struct.pack("!Q", int(SIGNING.timestamp() * 1000))
        of = number(self.authority) + struct.pack("!I", len(logged))[1:] + logged
        signed = made(self.certificates, b"\0\0" + when + b"\0\1" + of + b"\0\0")
        one = (
            b"\0" + number(self.certificates) + when + b"\0\0" + SHA256_ECDSA + struct.pack("!H", len(signed)) + signed
        )
        several = struct.pack("!H", len(one)) + one
        several = struct.pack("!H", len(several)) + several
        return der(0x04, several)

    def _entry(self, payload: bytes, made_so: bytes, certificate: x509.Certificate, at: datetime) -> JSON:
        """The only entry of a log: its own hash is the tree's."""
        verifier = b64(certificate.public_bytes(Encoding.PEM))
        spec = {
            "envelopeHash": {"algorithm": "sha256", "value": "00" * 32},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [{"signature": b64(made_so), "verifier": verifier}],
        }
        body = canonical({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        tree = hashlib.sha256(b"\0" + body).digest()
        note = f"log.example - 1\n1\n{b64(tree)}\n"
        seal = b64(number(self.entries)[:4] + made(self.entries, note.encode()))
        when = int(at.timestamp())
        promised = {"body": b64(body), "integratedTime": when, "logID": number(self.entries).hex(), "logIndex": 0}
        return {
            "logIndex": "0",
            "logId": {"keyId": b64(number(self.entries))},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(when),
            "inclusionPromise": {"signedEntryTimestamp": b64(made(self.entries, canonical(promised)))},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": b64(tree),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": f"{note}\n\u2014 log.example {seal}\n"},
            },
            "canonicalizedBody": b64(body),
        }


def der(tag: int, content: bytes) -> bytes:
    """One value of up to 255 bytes."""
    return bytes([tag, *([0x81] if len(content) > 127 else []), len(content)]) + content


def canonical(value: JSON) -> bytes:
    """RFC 8785, for what is ASCII and has no fractions."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
