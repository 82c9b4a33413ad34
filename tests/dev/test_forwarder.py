"""Forwarder: each mode over loopback sockets, for open and for new connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from dev.forwarder import LOOPBACK, Forwarder, Mode

#: Seconds in which a black hole must let nothing through. Longer makes no wrong forwarder right.
SILENCE = 0.2
TIMEOUT = 15.0


class Echo:
    """Server that sends back what it gets, and counts its connections."""

    def __init__(self) -> None:
        self._sock = socket.create_server((LOOPBACK, 0))
        self.port = self._sock.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):  # closed before
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._sock.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(100):
                connection.sendall(data)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def forwarder(echo: Echo) -> Iterator[Forwarder]:
    forwarder = Forwarder(echo.port)
    yield forwarder
    forwarder.close()


@pytest.fixture
def client(forwarder: Forwarder) -> Iterator[socket.socket]:
    with connect(forwarder) as sock:
        assert says(sock, b"before")
        yield sock


def connect(forwarder: Forwarder) -> socket.socket:
    return socket.create_connection((LOOPBACK, forwarder.port), TIMEOUT)


def says(sock: socket.socket, text: bytes) -> bool:
    sock.sendall(text)
    return hears(sock, text)


def hears(sock: socket.socket, text: bytes) -> bool:
    sock.settimeout(TIMEOUT)
    heard = b""
    while len(heard) < len(text) and (more := sock.recv(100)):
        heard += more
    return heard == text


def is_silent(sock: socket.socket) -> bool:
    sock.settimeout(SILENCE)
    try:
        sock.recv(100)
    except TimeoutError:
        return True
    return False


def is_ended(sock: socket.socket) -> bool:
    sock.settimeout(TIMEOUT)
    try:
        return sock.recv(100) == b""
    except ConnectionResetError:
        return True


def test_both_directions_are_forwarded(client, forwarder):
    assert says(client, b"again")
    with connect(forwarder) as other:
        assert says(other, b"another client")


def test_requests_are_counted_and_answers_are_not(client, forwarder):
    assert says(client, b"GET / HTTP/1.1\r\n\r\n")
    assert says(client, b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
    assert forwarder.requests == 3


def test_a_part_of_an_answer_does_not_wait_for_an_acknowledgement(client, forwarder):
    sockets = [writer.get_extra_info("socket") for writer in forwarder._writers]
    assert [one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in sockets] == [1, 1]


def test_the_end_of_one_side_ends_the_other(forwarder, client, echo):
    client.shutdown(socket.SHUT_WR)
    assert is_ended(client)


def test_refusing_ends_open_connections_and_refuses_new_ones(client, forwarder):
    forwarder.set_mode(Mode.REFUSE)
    assert is_ended(client)
    with pytest.raises(ConnectionRefusedError):
        connect(forwarder)


def test_after_a_refusal_the_same_port_forwards_again(client, forwarder):
    forwarder.set_mode(Mode.REFUSE)
    forwarder.set_mode(Mode.FORWARD)
    with connect(forwarder) as other:
        assert says(other, b"again")


def test_a_black_hole_keeps_what_was_written_and_tells_nobody(client, forwarder, echo):
    forwarder.set_mode(Mode.HOLD)
    client.sendall(b"open")
    with connect(forwarder) as other:
        other.sendall(b"new")
        assert is_silent(client)
        assert is_silent(other)
        assert echo.connections == 1
        forwarder.set_mode(Mode.FORWARD)
        assert hears(client, b"open")
        assert hears(other, b"new")


def test_a_black_hole_can_turn_into_a_refusal(client, forwarder):
    forwarder.set_mode(Mode.HOLD)
    client.sendall(b"lost")
    with connect(forwarder) as other:
        forwarder.set_mode(Mode.REFUSE)
        assert is_ended(client)
        assert is_ended(other)


def test_a_dead_server_ends_the_connection(forwarder, echo):
    echo.close()
    with connect(forwarder) as sock:
        assert is_ended(sock)


def test_forwarders_are_cut_apart(client, forwarder, echo):
    other = Forwarder(echo.port)
    other.set_mode(Mode.REFUSE)
    assert says(client, b"still here")
    other.close()
