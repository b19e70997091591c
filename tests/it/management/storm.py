"""The management functions of amqpstorm at the API and the broker. Ends with "ok"."""

import sys
import time

from amqpstorm import Connection
from amqpstorm.management import ApiError, ManagementApi

api = ManagementApi(sys.argv[1], "guest", "guest")
host, port = sys.argv[2].rsplit(":", 1)

assert api.aliveness_test("/") == {"status": "ok"}
assert api.overview()["product_name"] == "musterd"
assert api.whoami()["name"] == "guest"
assert len(api.nodes()) == 1
api.healthchecks.get()
print("node")
api.exchange.declare("storm-x", exchange_type="topic")
api.queue.declare("storm-q", durable=True, arguments={"x-max-length": 10})
api.queue.bind("storm-q", "storm-x", routing_key="a.#")
assert api.exchange.get("storm-x")["type"] == "topic"
assert api.queue.get("storm-q")["arguments"] == {"x-max-length": 10}
assert any(one["source"] == "storm-x" for one in api.queue.bindings("storm-q"))
api.exchange.declare("storm-y", exchange_type="fanout")
api.exchange.bind("storm-y", "storm-x", routing_key="b")
assert any(one["destination"] == "storm-y" for one in api.exchange.bindings("storm-x"))
api.exchange.unbind("storm-y", "storm-x", routing_key="b", properties_key="b")
print("declared")
assert api.basic.publish("hello", "a.b", exchange="storm-x", properties={"headers": {"n": 1}}) == {"routed": True}
messages = api.basic.get("storm-q", requeue=True)
assert messages[0].body == "hello" and messages[0].properties["headers"] == {"n": 1}, messages
assert len(api.basic.get("storm-q", count=5)) == 1
api.basic.publish("gone", "a.c", exchange="storm-x")
api.queue.purge("storm-q")
assert api.basic.get("storm-q") == []
print("published and got")
connection = Connection(host, "guest", "guest", port=int(port))
channel = connection.channel()
listed = [one for one in api.connection.list() if one["client_properties"].get("product") == "AMQPStorm"]
assert len(listed) == 1, listed
name = listed[0]["name"]
assert api.connection.get(name)["user"] == "guest"
assert any(one["connection_details"]["name"] == name for one in api.channel.list())
api.connection.close(name, reason="storm")
try:
    for _ in range(100):
        connection.check_for_errors()
        channel.check_for_errors()
        time.sleep(0.05)
    raise SystemExit("the connection is still open")
except SystemExit:
    raise
except Exception as error:  # amqpstorm raises errors of several kinds
    print("closed:", error)
api.user.create("storm-user", "a secret", tags="management")
assert api.user.get("storm-user")["tags"] == ["management"]
api.user.set_permission("storm-user", "/", configure_regex="^own-")
assert api.user.get_permission("storm-user", "/")["configure"] == "^own-"
assert len(api.user.get_permissions("storm-user")) == 1
mine = ManagementApi(sys.argv[1], "storm-user", "a secret")
mine.queue.declare("own-storm")
try:
    mine.queue.declare("other-storm")
    raise SystemExit("a queue was declared without permission")
except ApiError as error:
    assert error.error_code == 401, error
api.user.delete_permission("storm-user", "/")
api.user.delete("storm-user")
print("users")
for queue in ("storm-q", "own-storm"):
    api.queue.delete(queue)
for exchange in ("storm-x", "storm-y"):
    api.exchange.delete(exchange)
assert [one["name"] for one in api.virtual_host.list()] == ["/"]
print("ok")
