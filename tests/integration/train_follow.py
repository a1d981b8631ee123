"""examples/train.py over a stream that breaks: cut in the middle of an event, ended at once, refused while a daemon starts.

    python3 train_follow.py EXAMPLES
"""
import contextlib
import http.server
import io
import json
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import train  # noqa: E402


def event(number, name, data):
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


def metric(epoch):
    return {"name": "loss", "step": 10 * epoch, "epoch": epoch, "value": 1 / epoch}


# What each connection is answered with: status, the bytes, and whether more was promised than comes.
ANSWERS = [
    (200, event(1, "metric", metric(1)) + event(2, "metric", metric(2))[:-9], True),
    (200, b"", False),
    (503, b"{}", False),
    (200, event(2, "metric", metric(2)) + b": still here\n\n" + event(3, "end", {}), False),
]
asked = []  # (when, Last-Event-ID)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, body, more = ANSWERS[len(asked)]
        asked.append((time.monotonic(), self.headers["Last-Event-ID"]))
        self.send_response(status)
        if more:
            self.send_header("Content-Length", str(len(body) + 100))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
train.URL = f"http://127.0.0.1:{server.server_port}"
train.PAUSE = 0.2
printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    train.follow("job_1")
server.shutdown()
server.server_close()

# The event that was cut is asked for again and printed once, and there was a pause before each new try.
assert [last for _, last in asked] == ["0", "1", "1", "1"], asked
assert printed.getvalue() == "epoch 1  loss 1.000\nepoch 2  loss 0.500\n", printed.getvalue()
assert all(b - a >= 0.2 for (a, _), (b, _) in zip(asked, asked[1:])), asked

# It gives up when nobody is heard for long.
train.PATIENCE = 0.3
try:
    train.follow("job_1")
    sys.exit("it did not give up")
except SystemExit as end:
    assert "nothing was heard" in str(end), end
print("followed")
