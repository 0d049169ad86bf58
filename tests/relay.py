"""Puts a TCP port, with TLS or without, before a server on a Unix socket, so that clients are tested as they are."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

#: What a PostgreSQL client says first when it wants TLS, before the handshake.
_SSL_REQUEST = bytes.fromhex("0000000804d2162f")


class Relay:
    """Relays from ``port`` to a socket file; ``postgres`` says that TLS is asked for in PostgreSQL's way."""

    def __init__(self, path: str, *, tls: ssl.SSLContext | None = None, postgres: bool = False) -> None:
        self._path, self._tls, self._postgres = path, tls, postgres
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if self._postgres and self._tls is not None:
                assert client.recv(8, socket.MSG_WAITALL) == _SSL_REQUEST
                client.sendall(b"S")
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            with client, socket.socket(socket.AF_UNIX) as server:
                server.connect(self._path)
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def make_authority(folder: Path, name: str) -> Path:
    """Make a certificate authority with openssl; returns its certificate, beside which lies its key."""
    certificate = folder / f"{name}.pem"
    _openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        "-keyout", str(folder / f"{name}.key"), "-out", str(certificate),
    )  # fmt: skip
    return certificate


def serve_as(authority: Path, host: str) -> ssl.SSLContext:
    """TLS of a server that has proved to the authority that it is ``host``."""
    folder = authority.parent
    request, key, certificate, more = (folder / f"{host}.{kind}" for kind in ("csr", "key", "crt", "cnf"))
    # What Python 3.13 asks for, beside the authority's key usage.
    more.write_text("authorityKeyIdentifier=keyid\n")
    _openssl(
        "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={host}",
        "-addext", f"subjectAltName=DNS:{host}", "-keyout", str(key), "-out", str(request),
    )  # fmt: skip
    _openssl(
        "x509", "-req", "-in", str(request), "-CA", str(authority), "-CAkey", str(authority.with_suffix(".key")),
        "-days", "2", "-copy_extensions", "copy", "-extfile", str(more), "-out", str(certificate),
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
