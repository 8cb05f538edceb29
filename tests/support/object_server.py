"""A small object store that speaks S3 over HTTP, whose objects are files of a directory.

It serves what ``obstore`` asks of a store: an object is put, got, listed and deleted. A put is
answered once the object is renamed into its place, so a killed client leaves no half object.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4
from xml.sax.saxutils import escape, unescape

BUCKET = "documents"
_MOST_KEYS = 1000
_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


class ObjectServer:
    """The store. ``settings`` are the environment of a node that keeps its documents there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.refuses: dict[str, tuple[int, str]] = {}
        """The status and the S3 code that each method, such as ``GET``, is refused with."""
        directory.mkdir(parents=True, exist_ok=True)
        self._server = _Server(("127.0.0.1", 0), _handler(directory, self.refuses))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def environment(self) -> dict[str, str]:
        """Return the credentials and the address, as obstore reads them."""
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "local",
            "AWS_ENDPOINT": f"http://127.0.0.1:{self._server.server_address[1]}",
            "AWS_ALLOW_HTTP": "true",
        }

    @property
    def url(self) -> str:
        """Return the value of ``CASE_LEDGER_DOCUMENT_STORE``."""
        return f"s3://{BUCKET}/node"

    def objects(self) -> list[str]:
        """Return the names of all objects."""
        return _names(self.directory)

    @contextmanager
    def serving(self) -> Iterator["ObjectServer"]:
        """Serve for as long as the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Print nothing: a client that is killed resets its connections."""


def _names(directory: Path) -> list[str]:
    found = (p for p in directory.rglob("*") if p.is_file() and not p.name.startswith("."))
    return sorted(str(path.relative_to(directory)) for path in found)


def _handler(
    directory: Path, refuses: Mapping[str, tuple[int, str]]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def parse_request(self) -> bool:
            """Read the head of a request, and answer a method that is refused."""
            if not super().parse_request():
                return False
            if self.command not in refuses:
                return True
            self.rfile.read(int(self.headers["content-length"] or 0))
            status, code = refuses[self.command]
            self._answer(status, f"<Error><Code>{code}</Code></Error>".encode())
            return False

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            file = self._file()
            written = file.with_name(f".{uuid4().hex}")
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                written.write_bytes(content)
                written.replace(file)
            except OSError:
                written.unlink(missing_ok=True)
                self._answer(507)
                return
            self._answer(200, etag=content)

        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            if "list-type" in asked:
                self._list({name: values[0] for name, values in asked.items()})
                return
            try:
                content = self._file().read_bytes()
            except (FileNotFoundError, IsADirectoryError):
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
                return
            self._answer(200, content, etag=content, written=self._file().stat().st_mtime)

        def do_DELETE(self) -> None:
            self._file().unlink(missing_ok=True)
            self._answer(204)

        def do_POST(self) -> None:  # several objects are deleted by one request
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            names = [unescape(one) for one in re.findall(r"<Key>(.*?)</Key>", body)]
            for name in names:
                (directory / name).unlink(missing_ok=True)
            gone = "".join(f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in names)
            self._answer(200, f"<DeleteResult {_NAMESPACE}>{gone}</DeleteResult>".encode())

        def log_message(self, *_: object) -> None:
            """Print nothing."""

        def _list(self, asked: dict[str, str]) -> None:
            prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
            after = asked.get("continuation-token", asked.get("start-after", ""))
            keys: dict[str, bool] = {}
            for name in _names(directory):
                rest = name.removeprefix(prefix)
                if not name.startswith(prefix) or name <= after:
                    continue
                is_folder = bool(delimiter) and delimiter in rest
                key = prefix + rest.split(delimiter)[0] + delimiter if is_folder else name
                if key > after:
                    keys[key] = is_folder
            page = sorted(keys)[:_MOST_KEYS]
            told = [_common(key) if keys[key] else _object(directory, key) for key in page]
            more = len(page) < len(keys)
            token = (
                f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
            )
            self._answer(
                200,
                f"<ListBucketResult {_NAMESPACE}><Name>{BUCKET}</Name><KeyCount>{len(page)}"
                f"</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>"
                f"{token}{''.join(told)}</ListBucketResult>".encode(),
            )

        def _file(self) -> Path:
            path = unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}/")
            return directory / path

        def _answer(
            self,
            status: int,
            content: bytes = b"",
            *,
            etag: bytes | None = None,
            written: float | None = None,
        ) -> None:
            self.send_response(status)
            if etag is not None:
                self.send_header("ETag", f'"{md5(etag, usedforsecurity=False).hexdigest()}"')
            if written is not None:
                at = datetime.fromtimestamp(written, UTC)
                self.send_header("Last-Modified", at.strftime("%a, %d %b %Y %H:%M:%S GMT"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


def _common(key: str) -> str:
    return f"<CommonPrefixes><Prefix>{escape(key)}</Prefix></CommonPrefixes>"


def _object(directory: Path, key: str) -> str:
    try:
        found = (directory / key).stat()
    except FileNotFoundError:  # deleted meanwhile
        return ""
    at = datetime.fromtimestamp(found.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return (
        f"<Contents><Key>{escape(key)}</Key><LastModified>{at}</LastModified>"
        f'<ETag>"0"</ETag><Size>{found.st_size}</Size></Contents>'
    )
