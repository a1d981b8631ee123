#!/usr/bin/env python3
"""From an archive of faces to a model and its report, with Python's standard library alone.

    examples/train.py FACES.tar NAME DIRECTORY [POINTER=VALUE ...]

Each POINTER=VALUE sets a field of the job, VALUE being JSON or plain text: /mask/method=none /train/epochs=12
The daemon is $GUISE_URL, http://127.0.0.1:8080 by default; a token in $GUISE_TOKEN is sent along.
"""
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import sys
import time
import urllib.error
import urllib.request

URL = os.environ.get("GUISE_URL", "http://127.0.0.1:8080")
PATIENCE = 60  # seconds without a word from the daemon: it may restart
PAUSE = 1


def ask(method, path, body=None, headers=None, timeout=None):
    """The open answer; urllib's errors."""
    headers = dict(headers or {})
    if "GUISE_TOKEN" in os.environ:
        headers["Authorization"] = "Bearer " + os.environ["GUISE_TOKEN"]
    request = urllib.request.Request(URL + path, data=body, method=method, headers=headers)
    return urllib.request.urlopen(request, timeout=timeout)


def refused(method, path, error):
    """The end, with all the reasons that the daemon gave."""
    try:
        problem = json.load(error)
    except ValueError:
        sys.exit(f"{method} {path}: {error}; is {URL} a guised?")
    for mistake in problem.get("errors", []):
        print(f"{mistake['pointer']}: {mistake['detail']}", file=sys.stderr)
    sys.exit(f"{method} {path}: {problem.get('detail') or problem.get('title')}")


def call(method, path, body=None, headers=None):
    """The open answer; without one the program ends."""
    try:
        return ask(method, path, body, headers)
    except urllib.error.HTTPError as error:
        refused(method, path, error)
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"no daemon answers at {URL}: {error}; start guised, or name another in $GUISE_URL")


def get(path):
    with call("GET", path) as answer:
        return json.load(answer)


def upload(archive, name):
    kind = "application/zip" if archive.endswith(".zip") else "application/gzip" if archive.endswith("gz") else "application/x-tar"
    with open(archive, "rb") as file:
        call("PUT", f"/v1/datasets/{name}", file,
             {"Content-Type": kind, "Content-Length": str(os.path.getsize(archive))}).close()
    while (dataset := get(f"/v1/datasets/{name}"))["state"] == "ingesting":
        time.sleep(0.2)
    if dataset["state"] != "ready":
        sys.exit(f"the data set is {dataset['state']}: {dataset.get('error')}")
    print(f"{dataset['identities']} people, {dataset['images']} images, {dataset['rejected']} files rejected")


def job_of(name, settings):
    job = {"type": "train", "dataset": name}
    for setting in settings:
        pointer, _, value = setting.partition("=")
        *sections, key = pointer.strip("/").split("/")
        place = job
        for section in sections:
            place = place.setdefault(section, {})
        try:
            place[key] = json.loads(value)
        except json.JSONDecodeError:
            place[key] = value
    return job


def show(event, data):
    """One event, of which loss and accuracy are printed."""
    if event == "metric":
        row = json.loads(data)
        if row.get("name") in ("loss", "accuracy") and row.get("step") is not None:
            print(f"epoch {row['epoch']}  {row['name']} {row['value']:.3f}")


def read_events(stream, last):
    """Shows each whole event of a stream, then yields its id and name; `last` is the id before the first."""
    number, event, data = last, None, ""
    for line in stream:
        if not line.endswith(b"\n"):
            return  # broken off
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "id":
            number = value
        elif field == "event":
            event = value
        elif field == "data":
            data = value
        elif not line.strip() and event:
            show(event, data)
            last = number
            yield last, event
            event, data = None, ""
        elif line.startswith(b":"):
            yield last, None  # a comment, by which the daemon says that it is there


def follow(job):
    """Prints what happens until the job ends. A connection that breaks goes on where it stopped."""
    path = f"/v1/jobs/{job}/events"
    last, heard = "0", time.monotonic()
    while True:
        try:
            with ask("GET", path, headers={"Last-Event-ID": last}, timeout=PATIENCE) as stream:
                for last, event in read_events(stream, last):
                    heard = time.monotonic()
                    if event == "end":
                        return
            why = "it ended the answer"
        except urllib.error.HTTPError as error:
            if error.code < 502:
                refused("GET", path, error)
            why = error
        except (OSError, http.client.HTTPException) as error:
            why = error
        if time.monotonic() - heard > PATIENCE:
            sys.exit(f"nothing was heard from {URL} for {PATIENCE} s ({why}); the job {job} goes on when it is back")
        time.sleep(PAUSE)


def fetch(model, name, directory):
    """Downloads a file of the model; its ETag is the SHA-256 of its bytes."""
    path = directory / name
    with call("GET", f"/v1/models/{model}/files/{name}") as answer, open(path, "wb") as file:
        shutil.copyfileobj(answer, file)
        expected = answer.headers["ETag"].strip('"')
    if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        sys.exit(f"{path} was damaged on its way: fetch it again")


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    archive, name, directory = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    upload(archive, name)
    body = json.dumps(job_of(name, sys.argv[4:])).encode()
    with call("POST", "/v1/jobs", body, {"Content-Type": "application/json"}) as answer:
        job = json.load(answer)["id"]
    follow(job)
    job = get(f"/v1/jobs/{job}")
    if job["state"] != "succeeded":
        sys.exit(f"the job {job['state']}: {job['error']}")
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("model.safetensors", "model.onnx", "report.json", "report.html", "card.md"):
        fetch(job["model"], name, directory)
    print(f"model {job['model']} in {directory}")


if __name__ == "__main__":
    main()
