"""Streams over TLS without a proxy: a TLS transport counts what is unsent in its own way, on each event loop."""

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.gateway.real import QUICK, Make, is_, published, say
from tests.servers.process import free_port
from tests.servers.project import Gateway, Project
from tests.servers.sse import Cut, Stream

pytestmark = [
    pytest.mark.proof,
    pytest.mark.parametrize("loop", ["asyncio", "uvloop"]),
    pytest.mark.parametrize("options", [[], ["--no-proxy-headers"]], ids=["by a task", "at once"]),
]


class TlsStream(Stream):
    """A stream over TLS that believes any certificate."""

    def _connect(self, host: str, port: int, receive_buffer: int | None) -> None:
        super()._connect(host, port, receive_buffer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        plain = self.socket
        try:
            self.socket = context.wrap_socket(plain)
        except BaseException:
            plain.close()
            raise


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a key and its self-signed certificate; return both files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    signed = builder.not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    key_file, certificate_file = folder / "key.pem", folder / "certificate.pem"
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return key_file, certificate_file


def serve(one: Project, loop: str, *options: str) -> Gateway:
    key, signed = certificate(one.folder)
    port = free_port()
    tls = ["--ssl-keyfile", str(key), "--ssl-certfile", str(signed)]
    detached = ["--http", "taskbell.gateway.server:StreamProtocol", *options]
    gateway = one._gateway(
        port, "-m", "uvicorn", "tests.asgi:application", "--port", str(port), "--loop", loop, *detached, *tls
    )
    gateway.wait_until(lambda: answers(port), what="answering")
    return gateway


def answers(port: int) -> bool:
    try:
        with TlsStream(port, "/nowhere/"):
            return True
    except (OSError, Cut):
        return False


def test_a_stream_lives_on_after_its_first_write(project: Make, loop: str, options: list[str]) -> None:
    one = project("sqlite")
    one.configure(**QUICK)
    gateway = serve(one, loop, *options)
    with TlsStream(gateway.port, "/events/public:news/") as stream:
        assert stream.read().type == "ping"
        for number in range(3):
            say(number)
            assert published(stream.until(is_(number), timeout=5)) == [number]
        stream.until("ping", timeout=5)
        gateway.terminate()
        assert stream.rest()[-1].json == {"reason": "drain"}


def test_a_reader_that_paused_gets_everything_in_order(project: Make, loop: str, options: list[str]) -> None:
    one = project("sqlite")
    gateway = serve(one, loop, *options)
    texts = [f"{number} {'x' * 30_000}" for number in range(60)]
    with (
        TlsStream(gateway.port, "/events/public:news/", receive_buffer=4096) as paused,
        TlsStream(gateway.port, "/events/public:news/") as quick,
    ):
        paused.until("ping")
        quick.until("ping")
        say(*texts)
        assert published(quick.until(is_(texts[-1]))) == texts
        assert published(paused.until(is_(texts[-1]), timeout=30)) == texts
        say("and on")
        assert published(paused.until(is_("and on"))) == ["and on"]
