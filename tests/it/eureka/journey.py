"""A journey with py_eureka_client: register, discover, renew, change the status, deregister. Ends with "ok"."""

import asyncio
import json
import sys
import time
import urllib.request

from py_eureka_client import eureka_client
from py_eureka_client.eureka_client import EurekaClient

URL = sys.argv[1]
EUREKA = URL + "/eureka"


def rest(method, path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(URL + path, data=data, method=method, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def status():
    return rest("GET", "/services/py-1")["status"]


def until(what, wanted, seconds=20):
    """Waits until `what()` is as wanted: the client works in a thread."""
    deadline = time.monotonic() + seconds
    while (found := what()) != wanted:
        assert time.monotonic() < deadline, f"{found} is not {wanted}"
        time.sleep(0.05)


errors = []
client = EurekaClient(
    eureka_server=EUREKA, app_name="orders", instance_id="py-1", instance_host="127.0.0.1", instance_ip="127.0.0.1",
    instance_port=9090, renewal_interval_in_secs=1, duration_in_secs=30, metadata={"colour": "blue"},
    on_error=lambda kind, error: errors.append((kind, error)))


async def begin():
    await client.start()
    print("started")
    ours = rest("GET", "/services/py-1")
    assert (ours["service_name"], ours["host"], ours["port"]) == ("orders", "127.0.0.1", 9090), ours
    assert ours["status"] == "healthy" and ours["metadata"]["colour"] == "blue", ours
    print("registered")
    app = client.applications.get_application("ORDERS")
    assert [one.instanceId for one in app.instances] == ["py-1"], app.instances
    assert app.instances[0].status == "UP" and app.instances[0].port.port == 9090
    assert app.instances[0].metadata["colour"] == "blue", app.instances[0].metadata
    print("discovered")


asyncio.run(begin())
rest("POST", "/services/register", {"service_id": "rest-1", "service_name": "stock", "host": "127.0.0.1", "port": 8081})


def stock():
    return [one.instanceId for one in client.applications.get_application("STOCK").instances]


# The next delta brings it.
until(lambda: client.applications.get_application("STOCK") is not None and stock(), ["rest-1"])
rest("POST", "/services/register", {"service_id": "rest-2", "service_name": "stock", "host": "127.0.0.1", "port": 8082})
rest("DELETE", "/services/rest-1")
until(stock, ["rest-2"])
print("delta")
before = rest("GET", "/services/py-1")["last_heartbeat"]
deadline = time.monotonic() + 20
while rest("GET", "/services/py-1")["last_heartbeat"] == before:
    assert time.monotonic() < deadline, "no heartbeat came"
    time.sleep(0.1)
print("renewed")
asyncio.run(client.status_update("OUT_OF_SERVICE"))
assert status() == "stopping", status()
print("out of service")
asyncio.run(client.status_update("UP"))
assert status() == "healthy", status()
print("back")
# A client whose instance is unknown registers it again.
assert errors == [], errors
rest("DELETE", "/services/py-1")


def known():
    try:
        return status()
    except urllib.error.HTTPError as error:
        return error.code


until(known, "healthy")
print("registered again")
asyncio.run(client.stop())
until(known, 404)
print("stopped")
print("ok")
