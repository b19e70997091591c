"""A service's way through Consul's API with an unmodified client: py-consul or python-consul2, whichever is on the
path. Arguments: the address of the Consul door, the URL of REST."""

import json
import sys
import threading
import time
import urllib.request

import consul

host, port = sys.argv[1].rsplit(":", 1)
rest = sys.argv[2]
client = consul.Consul(host=host, port=int(port))


def step(name):
    print(name, flush=True)


def ids(entries):
    return sorted(entry["Service"]["ID"] for entry in entries)


def own(entries):
    return [check for check in entries if check["CheckID"] != "serfHealth"]


def until(what, condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def from_rest(path):
    with urllib.request.urlopen(rest + path) as answer:
        return json.load(answer)


step("status")
assert client.status.leader() == "127.0.0.1:8300", client.status.leader()
assert client.status.peers() == ["127.0.0.1:8300"]
assert client.catalog.datacenters() == ["dc1"]
node = client.agent.self()["Config"]["NodeName"]
index, nodes = client.catalog.nodes()
assert [one["Node"] for one in nodes] == [node] and int(index) > 0
assert [member["Name"] for member in client.agent.members()] == [node]

step("register with a TTL check")
assert client.agent.service.register(
    "web", service_id="web1", address="10.0.0.1", port=8080, tags=["v1", "blue"], meta={"env": "prod"},
    check=consul.Check.ttl("20s"),
)
service = client.agent.services()["web1"]
assert service["Service"] == "web" and service["Port"] == 8080, service
assert service["Tags"] == ["v1", "blue"] and service["Meta"] == {"env": "prod"}, service
index, services = client.catalog.services()
assert sorted(services["web"]) == ["blue", "v1"] and services["consul"] == [], services
index, found = client.catalog.service("web")
assert [(one["ServiceAddress"], one["ServicePort"]) for one in found] == [("10.0.0.1", 8080)], found

step("TTL: critical, passing, warning, critical")
index, entries = client.health.service("web")
assert [check["Status"] for check in own(entries[0]["Checks"])] == ["critical"], entries
assert client.health.service("web", passing=True)[1] == []
assert client.agent.check.ttl_pass("service:web1", "fine")
index, entries = client.health.service("web", passing=True)
assert ids(entries) == ["web1"]
assert own(entries[0]["Checks"])[0]["Output"] == "fine", entries
assert client.agent.check.ttl_warn("service:web1", "slow")
assert client.health.service("web", passing=True)[1] == []
assert [one["CheckID"] for one in client.health.state("warning")[1]] == ["service:web1"]
until("REST shows the warning", lambda: from_rest("/services/web1").get("warning") is True)
assert from_rest("/services/web1")["status"] == "healthy"
assert client.agent.check.ttl_fail("service:web1", "down")
until("REST shows it", lambda: from_rest("/services/web1")["status"] == "unhealthy")
assert client.agent.check.ttl_pass("service:web1")

step("REST sees it and is seen")
assert from_rest("/services/discover/web")["services"][0]["host"] == "10.0.0.1"
body = {"service_id": "db1", "service_name": "db", "host": "10.0.0.2", "port": 5432, "tags": ["main"]}
request = urllib.request.Request(
    rest + "/services/register", json.dumps(body).encode(), {"content-type": "application/json"}
)
urllib.request.urlopen(request).read()
index, entries = client.health.service("db", passing=True, tag="main")
assert [(one["Service"]["Address"], one["Service"]["Port"]) for one in entries] == [("10.0.0.2", 5432)]

step("a blocked query is woken by its service only")
index, entries = client.health.service("web", passing=True)
answers = []


def wait():
    own_client = consul.Consul(host=host, port=int(port))
    answers.append(own_client.health.service("web", index=index, wait="30s", passing=True))


waiting = threading.Thread(target=wait)
waiting.start()
time.sleep(0.3)
assert client.agent.service.register("other", port=1)
assert client.agent.service.deregister("other")
time.sleep(0.2)
assert not answers, answers
assert client.agent.service.register("web", service_id="web2", port=8081)
waiting.join(20)
assert answers and ids(answers[0][1]) == ["web1", "web2"], answers
assert int(answers[0][0]) > int(index)

step("a wait ends without a change")
index, _ = client.health.service("web")
began = time.monotonic()
again, _ = client.health.service("web", index=index, wait="1s")
assert again == index and time.monotonic() - began >= 1

step("checks of the agent")
assert client.agent.check.register("disk", check_id="disk", ttl=20, notes="space")
assert client.agent.checks()["disk"]["Notes"] == "space"
assert client.health.service("web", passing=True)[1] == []
assert client.agent.check.ttl_pass("disk")
assert ids(client.health.service("web", passing=True)[1]) == ["web1", "web2"]
assert {one["CheckID"] for one in client.health.node(node)[1]} >= {"serfHealth", "disk", "service:web1"}
assert client.agent.check.deregister("disk")
assert "disk" not in client.agent.checks()

step("maintenance")
assert client.agent.service.maintenance("web2", "true", "deploy")
assert ids(client.health.service("web", passing=True)[1]) == ["web1"]
assert client.agent.checks()["_service_maintenance:web2"]["Notes"] == "deploy"
assert client.agent.service.maintenance("web2", "false")
assert client.agent.maintenance("true", "all")
assert client.health.service("web", passing=True)[1] == []
assert client.agent.maintenance("false")
assert ids(client.health.service("web", passing=True)[1]) == ["web1", "web2"]

step("the catalog")
assert client.catalog.register("ext", "10.1.1.1", service={"ID": "x1", "Service": "ext-web", "Port": 99})
index, entries = client.health.service("ext-web")
assert [one["Node"]["Node"] for one in entries] == ["ext"], entries
assert client.catalog.node("ext")[1]["Services"]["x1"]["Port"] == 99
assert client.catalog.deregister("ext", service_id="x1")
assert client.catalog.service("ext-web")[1] == []

step("an HTTP check of the daemon itself")
assert client.agent.service.register(
    "self", port=80, check=consul.Check.http(rest + "/health", "1s", timeout="5s")
)
until("it passes", lambda: ids(client.health.service("self", passing=True)[1]) == ["self"])

step("errors are those of the client")
try:
    client.catalog.service("web", dc="elsewhere")
    raise AssertionError("another datacenter is an error")
except consul.ConsulException as error:
    assert "datacenter" in str(error), error

step("deregister")
for service in ["web1", "web2", "self"]:
    assert client.agent.service.deregister(service)
assert client.health.service("web")[1] == []
assert sorted(client.agent.services()) == ["db1"]
print("ok")
