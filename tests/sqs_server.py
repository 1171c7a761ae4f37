"""An SQS of a test's own: moto's, behind a check of every signature by AWS's own signer (botocore), on a free
port of the loopback; says "ready PORT" when it is, and ends when its standard input does. Or, with --socket PATH,
on a Unix socket, until it is killed.

What it checks of a request is what AWS checks: the time, the scope, the security token and the signature. Paths
that begin with /_test/ are for the tests: /_test/counts answers how many calls were verified and refused.
"""
import datetime
import json
import os
import signal
import sys
import threading
import time

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.sqs import models
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEY = Credentials("AKIDMARATHON", "marathon/secret+for=tests")
TOKENED = Credentials("ASIAMARATHON", "another/secret", "the session token")
REGION = "eu-west-1"
SKEW_MAX = datetime.timedelta(minutes=15)


def delete_message(queue, handle):
    """As moto's, which loses what is sent while it copies its list."""
    if handle in queue.deleted_messages:
        return
    with queue._messages_lock:
        for message in queue._messages:
            if message.had_receipt_handle(handle):
                queue._messages = [other for other in queue._messages if other is not message]
                queue.pending_messages.discard(message)
                queue.deleted_messages.update(message.all_receipt_handles)
                return
    raise models.ReceiptHandleIsInvalid()


def mend_moto():
    """moto looks at all messages of a queue several times for each one sent or received, and does not wake
    whoever waits for a message when one is given back."""
    for count in ("", "_delayed", "_not_visible"):
        setattr(models.Queue, "approximate_number_of_messages" + count, property(lambda queue: 0))
    models.Queue.delete_message = delete_message
    slow = models.unix_time_millis
    models.unix_time_millis = lambda when=None: slow(when) if when else time.time() * 1000
    change = models.SQSBackend.change_message_visibility

    def change_and_wake(backend, queue_name, receipt_handle, visibility_timeout):
        change(backend, queue_name, receipt_handle, visibility_timeout)
        queue = backend.get_queue(queue_name)
        with queue._messages_lock:
            queue._messages_lock.notify_all()

    models.SQSBackend.change_message_visibility = change_and_wake


class Verifier:
    def __init__(self, app):
        self.app = app
        self.lock = threading.Lock()
        self.counts = {"verified": 0, "refused": 0}

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"] == "/_test/counts":
            return reply(start_response, "200 OK", self.counts)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        problem = check(environ, body)
        with self.lock:
            self.counts["refused" if problem else "verified"] += 1
        if problem:
            return reply(start_response, "403 Forbidden", {"__type": problem, "message": "no"})
        environ["wsgi.input"] = Again(body)
        return self.app(environ, start_response)


class Again:
    """A body that was read, to be read again."""

    def __init__(self, body):
        self.body = body

    def read(self, size=-1):
        size = len(self.body) if size is None or size < 0 else size
        part, self.body = self.body[:size], self.body[size:]
        return part


def reply(start_response, status, value):
    body = json.dumps(value).encode()
    start_response(status, [("Content-Type", "application/x-amz-json-1.0"),
                            ("Content-Length", str(len(body)))])
    return [body]


def check(environ, body):
    """What is wrong with a request's signature; None: nothing."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    if not header.startswith("AWS4-HMAC-SHA256 "):
        return "MissingAuthenticationToken"
    parts = dict(part.strip().split("=", 1) for part in header[len("AWS4-HMAC-SHA256 "):].split(","))
    key_id, _, scope = parts["Credential"].partition("/")
    known = {key.access_key: key for key in (KEY, TOKENED)}
    if key_id not in known:
        return "InvalidClientTokenId"
    stamp = environ.get("HTTP_X_AMZ_DATE", "")
    if scope != f"{stamp[:8]}/{REGION}/sqs/aws4_request":
        return "SignatureDoesNotMatch"
    then = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    if abs(datetime.datetime.now(datetime.timezone.utc) - then) > SKEW_MAX:
        return "RequestTimeTooSkewed"
    key = known[key_id]
    if environ.get("HTTP_X_AMZ_SECURITY_TOKEN") != key.token:
        return "InvalidClientTokenId"
    names = parts["SignedHeaders"].split(";")
    if not {"host", "x-amz-date", "x-amz-target"} <= set(names):
        return "SignatureDoesNotMatch"
    values = {}
    for name in names:
        field = "CONTENT_TYPE" if name == "content-type" else "HTTP_" + name.upper().replace("-", "_")
        if field not in environ:
            return "SignatureDoesNotMatch"
        values[name] = environ[field]
    request = AWSRequest("POST", f"http://{environ['HTTP_HOST']}/", values, body)
    request.context["timestamp"] = stamp
    signer = SigV4Auth(key, "sqs", REGION)
    canonical = signer.canonical_request(request)
    expected = signer.signature(signer.string_to_sign(request, canonical), request)
    return None if expected == parts["Signature"] else "SignatureDoesNotMatch"


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def log_request(self, *_):
        pass


def main():
    mend_moto()
    app = Verifier(DomainDispatcherApplication(create_backend_app))
    socket = sys.argv[2] if sys.argv[1:2] == ["--socket"] else None
    host = f"unix://{socket}" if socket else "127.0.0.1"
    Handler.disable_nagle_algorithm = not socket
    server = make_server(host, 0, app, threaded=True, request_handler=Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", server.port, flush=True)
    if socket:
        signal.pause()
    sys.stdin.read()  # until whoever started it is gone
    os._exit(0)


main()
