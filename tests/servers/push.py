"""A push service on the loopback, over real TLS, and browsers that subscribed there. No line of it is shared with what
is tested: a browser decrypts by RFC 8291 and RFC 8188 as they are written, with nothing but a library of primitives.

What the service answers is the first part of an endpoint's path: `/201/…`, `/429/…`, `/hang/…`.
"""

import base64
import datetime
import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

HOSTS: Final = (
    "fcm.googleapis.com",
    "updates.push.services.mozilla.com",
    "web.push.apple.com",
    "wns2-by3p.notify.windows.com",
    "push.example.com",
)
HEAD_BYTES: Final = 16_384
CURVE: Final = ec.SECP256R1()


def unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def padded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def derived(salt: bytes, key: bytes, info: bytes, length: int) -> bytes:
    """HKDF with one block, RFC 5869."""
    extracted = hmac.new(salt, key, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()[:length]


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


class Subscriber:
    """A browser that subscribed: it has the keys that nobody else has."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._key = ec.generate_private_key(CURVE)
        self._auth = hashlib.sha256(endpoint.encode() + self.p256dh.encode()).digest()[:16]

    @property
    def p256dh(self) -> str:
        return unpadded(point(self._key.public_key()))

    @property
    def auth(self) -> str:
        return unpadded(self._auth)

    def as_json(self) -> dict[str, Any]:
        """What `PushSubscription.toJSON()` says."""
        keys = {"p256dh": self.p256dh, "auth": self.auth}
        return {"endpoint": self.endpoint, "expirationTime": None, "keys": keys}

    def open(self, body: bytes) -> dict[str, Any]:
        """Decrypt a message, RFC 8291 and 8188: one record."""
        salt, record, length = body[:16], int.from_bytes(body[16:20]), body[20]
        sender, sealed = body[21 : 21 + length], body[21 + length :]
        assert len(sealed) <= record
        shared = self._key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, sender))
        info = b"WebPush: info\x00" + point(self._key.public_key()) + sender
        secret = derived(self._auth, shared, info, 32)
        key = derived(salt, secret, b"Content-Encoding: aes128gcm\x00", 16)
        nonce = derived(salt, secret, b"Content-Encoding: nonce\x00", 12)
        text, _, padding = AESGCM(key).decrypt(nonce, sealed, None).rpartition(b"\x02")
        assert not padding.strip(b"\x00")
        opened: dict[str, Any] = json.loads(text)
        return opened


def claims_of(authorization: str) -> tuple[dict[str, Any], str]:
    """Return the claims of a VAPID header, and the key that has truly signed them (RFC 8292)."""
    scheme, _, rest = authorization.partition(" ")
    assert scheme == "vapid"
    parts = dict(one.strip().split("=", 1) for one in rest.split(","))
    signed, _, signature = parts["t"].rpartition(".")
    raw = padded(signature)
    r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    key = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, padded(parts["k"]))
    key.verify(utils.encode_dss_signature(r, s), signed.encode(), ec.ECDSA(hashes.SHA256()))
    head, claims = (json.loads(padded(one)) for one in signed.split("."))
    assert head == {"typ": "JWT", "alg": "ES256"}
    return claims, parts["k"]


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it was on the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    name: str | None  # asked for in TLS


@dataclass
class PushService:
    """Answers on 127.0.0.1 as the paths of its endpoints say; `received` is what came."""

    folder: Path
    received: list[Received] = field(default_factory=list)
    port: int = 0

    def endpoint(self, answer: object, host: str = HOSTS[0]) -> str:
        """Return a new endpoint that is answered so: a status, `hang`, `drip`, `huge`, `redirect`, `garbage`, `cut`."""
        self._made += 1
        return f"https://{host}/{answer}/{self._made}:APA91b_%2b?token=a%3d"

    def of(self, subscriber: Subscriber) -> list[Received]:
        """Return what came for a browser."""
        path = subscriber.endpoint.partition("//")[2].partition("/")[2]
        return [one for one in self.received if one.path == f"/{path}"]

    def __post_init__(self) -> None:
        self._made = 0
        self._names: dict[int, str | None] = {}
        self._ends: list[socket.socket] = []
        self.authority = _write_certificates(self.folder)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        self._tls.sni_callback = lambda line, name, _: self._names.__setitem__(id(line), name)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def believing(self) -> ssl.SSLContext:
        """Return what a client needs to believe this service, and it alone."""
        return ssl.create_default_context(cafile=str(self.authority))

    def close(self) -> None:
        self._over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in list(self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=[plain], daemon=True))
            self._threads[-1].start()

    def _serve(self, plain: socket.socket) -> None:
        self._ends.append(plain)
        with plain, suppress(OSError, ssl.SSLError):
            plain.settimeout(60)
            with self._tls.wrap_socket(plain, server_side=True) as line:
                self._ends.append(line)
                while self._one(line):
                    pass

    def _one(self, line: ssl.SSLSocket) -> bool:
        with line.makefile("rb") as reader:
            first = reader.readline(HEAD_BYTES).decode()
            if not first:
                return False
            method, path, _ = first.split(" ")
            headers: dict[str, str] = {}
            while text := reader.readline(HEAD_BYTES).decode().strip():
                name, _, value = text.partition(":")
                headers[name.lower()] = value.strip()
            body = reader.read(int(headers.get("content-length", 0)))
        self.received.append(Received(method, path, headers, body, self._names.get(id(line))))
        return self._answer(line, path.split("/")[1])

    def _answer(self, line: ssl.SSLSocket, answer: str) -> bool:
        status, _, more = answer.partition(",")
        if status.isdigit():
            after = f"Retry-After: {more.replace('_', ' ')}\r\n" if more else ""
            line.sendall(f"HTTP/1.1 {status} So\r\n{after}Content-Length: 0\r\n\r\n".encode())
            return True
        if status == "redirect":
            line.sendall(b"HTTP/1.1 307 So\r\nLocation: https://127.0.0.1/inside\r\nContent-Length: 0\r\n\r\n")
            return True
        if status == "garbage":
            line.sendall(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
        if status == "huge":
            line.sendall(b"HTTP/1.1 201 So\r\nContent-Length: 1000000000000\r\n\r\n")
            while not self._over.is_set():
                line.sendall(b"x" * 65_536)
        if status == "drip":
            for byte in b"HTTP/1.1 201 So\r\nX-Slow: " + b"x" * 10_000:
                if self._over.wait(0.2):
                    break
                line.sendall(bytes([byte]))
        if status == "hang":
            self._over.wait(60)
        return False


@contextmanager
def push_service(folder: Path) -> Iterator[PushService]:
    service = PushService(folder)
    try:
        yield service
    finally:
        service.close()


def _write_certificates(folder: Path) -> Path:
    """Write a server's certificate and its key, and return the file of the authority that signed it."""
    authority_key, key = ec.generate_private_key(CURVE), ec.generate_private_key(CURVE)
    authority = _named("Authority of the tests")
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    root = (
        _certificate(authority, authority, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    leaf = (
        _certificate(_named("push"), authority, key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    (folder / "authority.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "authority.pem"


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    return builder.not_valid_after(now + datetime.timedelta(days=1))


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
