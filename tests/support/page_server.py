"""The curation page's server in a thread, and a plain HTTP client for it."""

import http.client
import json
import threading

from localblur.datasets.view.state import Curation
from localblur.datasets.view_dataset import listen, make_server

TOKEN = "secret-token"
TICKET = "works-once"


class PageServer:
    """A running server of the page of a pairs file; a context manager.

    Attributes:
        address: of the page, token included.
    """

    def __init__(self, path, user="kim"):
        self.curation = Curation(path, user)
        self.listener = listen(0)
        self.port = self.listener.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/?token={TOKEN}"
        self.server = make_server(self.curation, self.listener, TOKEN, TICKET)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """End the server and close the file."""
        self.server.should_exit = True
        self.thread.join(20)
        self.listener.close()
        self.curation.close()

    def ask(self, path, method="GET", body=None, token=TOKEN, **headers):
        """Status, headers and body of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        wanted = {"x-localblur-token": token} if token else {}
        wanted |= {key.replace("_", "-"): value for key, value in headers.items()}
        try:
            connection.putrequest(method, path, skip_host="host" in wanted)
            for key, value in wanted.items():
                connection.putheader(key, value)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def json(self, path, *arguments, **options):
        status, _, body = self.ask(path, *arguments, **options)
        return status, json.loads(body)

    def decide(self, number, change, **headers):
        headers = {"content_type": "application/json"} | headers
        return self.json(f"/api/pairs/{number}", "POST", json.dumps(change).encode(), **headers)
