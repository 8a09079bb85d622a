"""A package index on this machine: HTTPS with a certificate of its own, one package, and a list of what was asked."""

import asyncio
import base64
import hashlib
import io
import ssl
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAME, VERSION = "tinyscope", "1.0"
WHEEL = f"{NAME}-{VERSION}-py3-none-any.whl"


@dataclass
class Index:
    """An index that runs."""

    port: int
    asked: list[str] = field(default_factory=list[str])

    @property
    def url(self) -> str:
        """Where it is."""
        return f"https://localhost:{self.port}/simple/"


def wheel() -> bytes:
    """Return a package with one module that knows the answer."""
    files = {
        f"{NAME}.py": b"ANSWER = 42\n",
        f"{NAME}-{VERSION}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n".encode(),
        f"{NAME}-{VERSION}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{NAME}-{VERSION}.dist-info/RECORD"
    lines = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in files.items()]
    files[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return packed.getvalue()


@asynccontextmanager
async def package_index(folder: Path) -> AsyncIterator[Index]:
    """Run an index at a free port of this machine's loopback."""
    package = wheel()
    link = f'<a href="/files/{WHEEL}#sha256={hashlib.sha256(package).hexdigest()}">{WHEEL}</a>'
    pages = {
        f"/simple/{NAME}/": ("text/html", f"<!DOCTYPE html><html><body>{link}</body></html>".encode()),
        f"/files/{WHEEL}": ("application/octet-stream", package),
    }
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1].decode()
                asked.append(path)
                kind, body = pages.get(path, ("text/plain", b""))
                status = "200 OK" if path in pages else "404 Not Found"
                told = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
                writer.write(told.encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=_certified(folder))
    async with server:
        yield Index(server.sockets[0].getsockname()[1], asked)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _certified(folder: Path) -> ssl.SSLContext:
    """Return a server's context with a certificate for `localhost` that nobody else has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(plain + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
