"""Accepts TLS connections, and counts each from the moment that it is accepted.

The servers of the event loops call a protocol only after the handshake. A client that opens
connections and never ends a handshake would therefore count for no limit.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable

from api.http.http_protocol import ConnectionsOfAddresses, Place, SmallReads

HANDSHAKE_SECONDS = 10.0
_SHUTDOWN_SECONDS = 5.0
"""So long a connection that the node closes waits for the other side's close of TLS."""
_BACKLOG = 2048
_NO_FILES_SECONDS = 1.0
"""So long nothing is accepted after the system had no file or no memory for a connection."""


class TlsAcceptor:
    """Accepts the connections of one listening socket, as long as it is not closed.

    Takes the place of an ``asyncio.Server`` for uvicorn, which asks it to close and waits for it.
    """

    def __init__(
        self,
        listening: socket.socket,
        context: ssl.SSLContext,
        of_addresses: ConnectionsOfAddresses,
        make: Callable[[], SmallReads],
    ) -> None:
        """Begin to listen. ``make`` returns the protocol of one connection."""
        self._listening = listening
        self._context = context
        self._of_addresses = of_addresses
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._is_closed = False
        listening.setblocking(False)
        listening.listen(_BACKLOG)
        self._listen()

    def close(self) -> None:
        """Accept no more, and end the handshakes that are under way."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._listening)
        for task in self._handshakes:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait for the end of the handshakes."""
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    def _listen(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        """Accept one connection. The event loop calls again while there are more."""
        try:
            connection, peer = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process took it, or it went
        except OSError:
            # The socket stays readable, so that the loop would call again at once.
            self._loop.remove_reader(self._listening)
            self._loop.call_later(_NO_FILES_SECONDS, self._listen)
            return
        place = self._of_addresses.take(str(peer[0]))
        if place is None:
            connection.close()
            return
        task = self._loop.create_task(self._shake_hands(connection, place))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, connection: socket.socket, place: Place) -> None:
        """Make a TLS connection. Its protocol leaves the place when the connection is lost."""
        reads = self._make()
        reads.hold(place)
        connection.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(
                lambda: reads,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
            )
        except OSError:
            pass  # no TLS, another version, no certificate, too slow, or gone
        finally:
            if not reads.has_begun:
                place.leave()
