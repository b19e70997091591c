"""Registers an instance, renews it, discovers it, receives its events over AMQP, deregisters."""

import json
import os

import pika
import requests

ADDRESS = os.environ.get("MUSTERD_ADDRESS", "http://127.0.0.1:8000")
AMQP = os.environ.get("MUSTERD_AMQP", "amqp://guest:guest@127.0.0.1:5672/%2f")

session = requests.Session()
if token := os.environ.get("MUSTERD_TOKEN"):
    session.headers["Authorization"] = f"Bearer {token}"


def ask(method, path, **arguments):
    """Sends one request; a refusal is an exception with the daemon's words."""
    answer = session.request(method, ADDRESS + path, timeout=10, **arguments)
    if not answer.ok:
        raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.json().get('detail')}")
    return answer.json() if answer.content else None


# A queue of its own gets every event of the service from now on.
connection = pika.BlockingConnection(pika.URLParameters(AMQP))
channel = connection.channel()
queue = channel.queue_declare("", exclusive=True).method.queue
channel.queue_bind(queue, "musterd", "service.events.*.example")

instance = {
    "service_id": "python-1",
    "service_name": "example",
    "host": "127.0.0.1",
    "port": 8081,
    "ttl": "30s",
}
ask("POST", "/services/register", json=instance)
print("registered python-1")
ask("POST", "/services/python-1/heartbeat")
print("renewed")

found = ask("GET", "/services/discover/example")
assert any(one["service_id"] == "python-1" for one in found["services"])
print("discovered python-1")

for method, properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=10):
    if method is None:
        raise SystemExit("no event came")
    event = json.loads(body)
    if event["service_id"] == "python-1":
        print("event", event["event"])
        break
connection.close()

ask("DELETE", "/services/python-1")
print("deregistered")
