"""A validating webhook that does with an object what the object's label ``answers-deny`` says: a program of its own.

A number: deny with this code. ``fail``: answer what is no AdmissionReview.
"""

from __future__ import annotations

import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WebhookHandler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = review["request"]
        wanted = asked["object"]["metadata"]["labels"]["answers-deny"]
        if wanted == "fail":
            self.send_error(500, "out of order")
            return
        status = {"code": int(wanted), "message": "[must-not] it must not be"}
        answer = {"uid": asked["uid"], "allowed": False, "status": status}
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


if __name__ == "__main__":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), WebhookHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()
