"""Calls of RabbitMQ's management API, each with the keys and types of its answer, as JSON on standard output.

Called with the URLs of the API and of AMQP. Run against RabbitMQ, it makes the recording that the test compares with.
"""

import base64
import json
import sys
import time
import urllib.error
import urllib.request

import pika

API, AMQP = sys.argv[1].rstrip("/"), sys.argv[2]


def call(method, path, body=None, user="guest", password="guest"):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(API + path, data=data, method=method)
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    request.add_header("authorization", "Basic " + token)
    request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def shape(value):
    """The type of a value; of an object that of each member, of a list that of its first item."""
    if isinstance(value, dict):
        return {key: shape(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    for kind, name in ((bool, "bool"), ((int, float), "number"), (str, "text"), (type(None), "null")):
        if isinstance(value, kind):
            return name
    raise AssertionError(value)


answers = {}


def note(method, path, body=None, name=None, pick=None, **as_user):
    code, text = call(method, path, body, **as_user)
    value = json.loads(text) if text else None
    if pick:
        value = next((one for one in value if pick(one)), None)
    answers[name or f"{method} {path}"] = {"code": code, "shape": shape(value)}
    return value


# What the calls are about: made over the API, used over AMQP.
note("PUT", "/api/exchanges/%2F/shape-x", {"type": "topic", "durable": True, "auto_delete": False, "internal": False, "arguments": {}})
note("PUT", "/api/exchanges/%2F/shape-x", {"type": "topic", "durable": True}, name="PUT exchange again")
note("PUT", "/api/exchanges/%2F/shape-x", {"type": "fanout", "durable": True}, name="PUT exchange differently")
note("PUT", "/api/exchanges/%2F/shape-wrong", {"type": "strange"}, name="PUT exchange of an unknown type")
note("PUT", "/api/exchanges/%2F/shape-y", {"type": "fanout"})
note("PUT", "/api/queues/%2F/shape-q", {"durable": True, "auto_delete": False, "arguments": {"x-max-length": 100}})
note("PUT", "/api/queues/%2F/shape-q", {"durable": True, "arguments": {"x-max-length": 100}}, name="PUT queue again")
note("PUT", "/api/queues/%2F/shape-q", {"durable": True, "arguments": {"x-max-length": 7}}, name="PUT queue differently")
note("PUT", "/api/queues/%2F/shape-empty", {})
note("POST", "/api/bindings/%2F/e/shape-x/q/shape-q", {"routing_key": "a.#", "arguments": {"n": 1}})
note("POST", "/api/bindings/%2F/e/shape-x/e/shape-y", {"routing_key": "b"})
note("POST", "/api/bindings/%2F/e/none/q/shape-q", {"routing_key": "a"}, name="POST binding of no exchange")
message = {"routing_key": "a.b", "payload": "hello", "payload_encoding": "string", "properties": {"headers": {"h": 1}, "delivery_mode": 2, "content_type": "text/plain"}}
note("POST", "/api/exchanges/%2F/shape-x/publish", message)
note("POST", "/api/exchanges/%2F/shape-x/publish", message | {"routing_key": "none"}, name="publish to nowhere")
note("POST", "/api/exchanges/%2F/shape-x/publish", message | {"payload_encoding": "base64", "payload": "AAH/"}, name="publish base64")
note("POST", "/api/exchanges/%2F/shape-x/publish", {"routing_key": "a"}, name="publish without payload")
note("POST", "/api/exchanges/%2F/none/publish", message, name="publish to no exchange")
note("POST", "/api/queues/%2F/shape-q/get", {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"})
note("POST", "/api/queues/%2F/shape-q/get", {"count": 5, "ackmode": "ack_requeue_false", "encoding": "base64", "truncate": 3}, name="get all")
note("POST", "/api/queues/%2F/shape-empty/get", {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}, name="get nothing")
note("POST", "/api/queues/%2F/shape-q/get", {"count": 1}, name="get without mode")

parameters = pika.URLParameters(AMQP)
parameters.client_properties = {"connection_name": "shapes"}
connection = pika.BlockingConnection(parameters)
channel = connection.channel()
channel.basic_qos(prefetch_count=7)
channel.basic_consume("shape-q", lambda *_: None, consumer_tag="shape-consumer")
connection.process_data_events(0.1)
call("POST", "/api/exchanges/%2F/shape-x/publish", message)
connection.process_data_events(0.5)


def listed(path, found):
    """Statistics come late: waits until the list has what it is to have."""
    for _ in range(100):
        code, text = call("GET", path)
        if code == 200 and any(found(one) for one in json.loads(text)):
            return
        connection.process_data_events(0.1)
    raise AssertionError(f"{path} does not have it: {text}")


own = lambda one: one.get("client_properties", {}).get("connection_name") == "shapes"
listed("/api/connections", own)
listed("/api/channels", lambda one: one.get("consumer_count") == 1 and one.get("connection_details"))
listed("/api/queues", lambda one: one.get("consumers") == 1 and "messages_unacknowledged" in one)
# Statistics of rates need a second look of RabbitMQ.
end = time.monotonic() + 3
while time.monotonic() < end:
    connection.process_data_events(0.2)

for path in (
    "overview", "cluster-name", "nodes", "extensions", "definitions", "definitions/%2F", "vhosts", "vhosts/%2F", "whoami",
    "exchanges/%2F/shape-x", "exchanges/%2F/shape-x/bindings/source", "exchanges/%2F/shape-y/bindings/destination",
    "queues/%2F/shape-q", "bindings/%2F/e/shape-x/q/shape-q", "bindings/%2F/e/shape-x/e/shape-y",
    "users", "users/guest", "users/guest/permissions", "users/without-permissions", "permissions", "permissions/%2F/guest",
    "vhosts/%2F/permissions", "topic-permissions", "parameters", "parameters/shovel", "global-parameters", "policies", "policies/%2F",
    "operator-policies", "vhost-limits", "user-limits", "aliveness-test/%2F", "health/checks/alarms", "health/checks/local-alarms",
    "health/checks/virtual-hosts", "health/checks/node-is-mirror-sync-critical", "health/checks/node-is-quorum-critical",
    "health/checks/port-listener/1", "health/checks/protocol-listener/amqp091", "health/checks/certificate-expiration/1/months",
    "feature-flags", "auth/attempts/none", "auth", "federation-links", "healthchecks/node",
    "queues?page=1&page_size=1", "queues?page=1&page_size=10&name=shape&use_regex=false&sort=name&sort_reverse=true",
    "queues?columns=name,messages", "exchanges?page=1&page_size=2", "connections?page=1&page_size=5", "channels?page=1&page_size=5",
    "queues/%2F?page=1&page_size=1", "queues?disable_stats=true&enable_queue_totals=true",
):
    note("GET", "/api/" + path)
for path, name in (("queues", "shape-q"), ("queues/%2F", "shape-q"), ("exchanges", "shape-x"), ("exchanges/%2F", "shape-x")):
    note("GET", "/api/" + path, name=f"one of {path}", pick=lambda one: one["name"] == name)
for path in ("bindings", "bindings/%2F", "queues/%2F/shape-q/bindings"):
    note("GET", "/api/" + path, name=f"one of {path}", pick=lambda one: one["source"] == "shape-x")
for path in ("consumers", "consumers/%2F"):
    note("GET", "/api/" + path, name=f"one of {path}", pick=lambda one: one["consumer_tag"] == "shape-consumer")
mine = note("GET", "/api/connections", name="one of connections", pick=own)
note("GET", "/api/vhosts/%2F/connections", name="one of a vhost's connections", pick=own)
quoted = urllib.request.quote(mine["name"], safe="")
note("GET", f"/api/connections/{quoted}", name="a connection")
of_mine = lambda one: one["connection_details"]["name"] == mine["name"]
channels = note("GET", f"/api/connections/{quoted}/channels", name="channels of a connection")
note("GET", "/api/channels", name="one of channels", pick=of_mine)
note("GET", "/api/vhosts/%2F/channels", name="one of a vhost's channels", pick=of_mine)
quoted_channel = urllib.request.quote(channels[0]["name"], safe="")
note("GET", f"/api/channels/{quoted_channel}", name="a channel")
props = json.loads(call("GET", "/api/bindings/%2F/e/shape-x/q/shape-q")[1])[0]["properties_key"]
note("GET", "/api/bindings/%2F/e/shape-x/q/shape-q/" + urllib.request.quote(props, safe=""), name="a binding")
node = json.loads(call("GET", "/api/nodes")[1])[0]["name"]
note("GET", "/api/nodes/" + node, name="a node")

# What is wrong.
for path in (
    "queues/%2F/none", "exchanges/%2F/none", "vhosts/none", "users/none", "connections/none", "channels/none", "nodes/none",
    "queues/none", "bindings/%2F/e/shape-x/q/none", "permissions/%2F/none", "none", "policies/%2F/none", "aliveness-test/none",
    "bindings/%2F/e/shape-x/q/shape-q/none", "queues?page=0", "queues?page=9&page_size=10", "queues?page=x",
):
    note("GET", "/api/" + path)
note("GET", "/api/overview", name="a wrong password", password="wrong")
note("POST", "/api/overview", name="a wrong method")
note("PUT", "/api/queues/%2F/shape-r", name="a body that is no JSON", body="text")
note("PUT", "/api/queues/%2F/shape-r", {"durable": "maybe"}, name="a flag that is none")
note("PUT", "/api/queues/none/shape-r", {}, name="a queue in no vhost")
note("DELETE", "/api/queues/%2F/none", name="delete no queue")
note("DELETE", "/api/queues/%2F/shape-q?if-unused=true", name="delete if unused")
call("POST", "/api/exchanges/%2F/amq.default/publish", message | {"routing_key": "shape-empty"})
note("DELETE", "/api/queues/%2F/shape-empty?if-empty=true", name="delete if empty")
note("DELETE", "/api/exchanges/%2F/amq.topic", name="delete a predeclared exchange")
note("DELETE", "/api/queues/%2F/none/contents", name="purge no queue")

# Everything away again.
note("DELETE", "/api/queues/%2F/shape-q/contents")
note("DELETE", "/api/bindings/%2F/e/shape-x/q/shape-q/" + urllib.request.quote(props, safe=""), name="delete a binding")
note("DELETE", "/api/exchanges/%2F/shape-x")
note("DELETE", "/api/exchanges/%2F/shape-y")
note("DELETE", "/api/queues/%2F/shape-q")
note("DELETE", "/api/queues/%2F/shape-empty")
note("DELETE", f"/api/connections/{quoted}", name="close a connection")
time.sleep(0.5)
try:
    connection.process_data_events(1)
    raise AssertionError("the connection is still open")
except pika.exceptions.AMQPError as error:
    answers["the reason of the close"] = {"code": error.args[0], "shape": "text"}
print(json.dumps(answers, indent=1, sort_keys=True))
