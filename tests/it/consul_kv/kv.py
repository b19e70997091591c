"""Keys, locks, sessions, transactions and events with py-consul. Called with host:port; ends with "ok"."""
import base64
import sys
import threading
import time

import consul
from consul.exceptions import BadRequest, ClientError, NotFound

host, port = sys.argv[1].rsplit(":", 1)
c = consul.Consul(host=host, port=int(port))


def step(name):
    print(name, flush=True)


def refused(kind, call):
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError(f"not refused with {kind}")


step("keys")
index, data = c.kv.get("py/none")
assert data is None and int(index) >= 1, (index, data)
assert c.kv.put("py/a", "bar", flags=50) is True
index, data = c.kv.get("py/a")
assert data["Value"] == b"bar" and data["Flags"] == 50, data
assert "Session" not in data and int(index) == data["ModifyIndex"] == data["CreateIndex"], data
assert c.kv.put("py/bytes", b"\x00\xff \xc3") is True
assert c.kv.get("py/bytes")[1]["Value"] == b"\x00\xff \xc3"
assert c.kv.put("py/empty", None) is True
assert c.kv.get("py/empty")[1]["Value"] is None
assert c.kv.put("py/sp ace/ä?", "x") is True
assert c.kv.get("py/sp ace/ä?")[1]["Key"] == "py/sp ace/ä?"
_, keys = c.kv.get("py/", keys=True)
assert keys == ["py/a", "py/bytes", "py/empty", "py/sp ace/ä?"], keys
_, keys = c.kv.get("py/", keys=True, separator="/")
assert keys == ["py/a", "py/bytes", "py/empty", "py/sp ace/"], keys
_, entries = c.kv.get("py/", recurse=True)
assert [entry["Key"] for entry in entries][:2] == ["py/a", "py/bytes"], entries

step("cas")
assert c.kv.put("py/cas", "1", cas=10) is False
assert c.kv.put("py/cas", "1", cas=0) is True
assert c.kv.put("py/cas", "2", cas=0) is False
modified = c.kv.get("py/cas")[1]["ModifyIndex"]
assert c.kv.put("py/cas", "2", cas=modified) is True
assert c.kv.delete("py/cas", cas=modified) is False
assert c.kv.delete("py/cas", cas=c.kv.get("py/cas")[1]["ModifyIndex"]) is True
assert c.kv.get("py/cas")[1] is None

step("blocking")
index, _ = c.kv.get("py/blocked")


def later():
    time.sleep(0.2)
    c2 = consul.Consul(host=host, port=int(port))
    c2.kv.put("other", "x")
    time.sleep(0.2)
    c2.kv.put("py/blocked", "now")


writer = threading.Thread(target=later)
writer.start()
newer, data = c.kv.get("py/blocked", index=index, wait="20s")
writer.join()
assert data["Value"] == b"now" and int(newer) > int(index), (newer, data)
began = time.monotonic()
same, _ = c.kv.get("py/blocked", index=newer, wait="300ms")
assert same == newer and time.monotonic() - began >= 0.3

step("sessions and locks")
session = c.session.create(name="one", lock_delay=0, ttl=10, behavior="delete")
_, info = c.session.info(session)
assert info["Name"] == "one" and info["TTL"] == "10s" and info["LockDelay"] == 0, info
assert info["Behavior"] == "delete" and info["NodeChecks"] == ["serfHealth"], info
assert session in [one["ID"] for one in c.session.list()[1]]
assert session in [one["ID"] for one in c.session.node(info["Node"])[1]]
assert c.session.node("no-such-node")[1] == []
assert c.session.renew(session)["ID"] == session
other = c.session.create(lock_delay=0)
assert c.kv.put("py/lock", "mine", acquire=session) is True
assert c.kv.put("py/lock", "theirs", acquire=other) is False
data = c.kv.get("py/lock")[1]
assert data["Session"] == session and data["LockIndex"] == 1 and data["Value"] == b"mine", data
assert c.kv.put("py/lock", "x", release=other) is False
assert c.kv.put("py/lock", "free", release=session) is True
assert c.kv.put("py/lock", "theirs", acquire=other) is True
assert c.kv.get("py/lock")[1]["LockIndex"] == 2
assert c.session.destroy(other) is True
data = c.kv.get("py/lock")[1]
assert "Session" not in data and data["Value"] == b"theirs", data
assert c.kv.put("py/lock", "again", acquire=session) is True
assert c.session.destroy(session) is True
assert c.kv.get("py/lock")[1] is None
assert c.session.info(session)[1] is None
refused(NotFound, lambda: c.session.renew(session))
refused(BadRequest, lambda: c.kv.put("py/lock", "x", acquire=session))
refused(BadRequest, lambda: c.session.create(node="no-such-node"))

step("lock delay")
session = c.session.create(lock_delay=1)
assert c.kv.put("py/delay", "x", acquire=session) is True
assert c.session.destroy(session) is True
other = c.session.create()
assert c.kv.put("py/delay", "x", acquire=other) is False
deadline = time.monotonic() + 20
while not c.kv.put("py/delay", "x", acquire=other):
    assert time.monotonic() < deadline
    time.sleep(0.1)

step("transactions")
value = base64.b64encode(b"v").decode()
answer = c.txn.put([
    {"KV": {"Verb": "set", "Key": "py/t1", "Value": value, "Flags": 3}},
    {"KV": {"Verb": "check-not-exists", "Key": "py/t2"}},
    {"KV": {"Verb": "get", "Key": "py/t1"}},
])
assert answer["Errors"] is None, answer
shown = [one["KV"] for one in answer["Results"]]
assert [one["Value"] for one in shown] == [None, value] and shown[0]["Flags"] == 3, shown
text = refused(ClientError, lambda: c.txn.put([
    {"KV": {"Verb": "delete-tree", "Key": "py/"}},
    {"KV": {"Verb": "check-index", "Key": "py/t1", "Index": 1}},
]))
assert text.startswith("409") and "OpIndex" in text and "py/t1" in text, text

step("events")
fired = c.event.fire("py-event", "payload", service="web", tag="blue")
assert fired["Name"] == "py-event" and fired["ServiceFilter"] == "web", fired
index, events = c.event.list(name="py-event")
assert [event["ID"] for event in events] == [fired["ID"]], events
assert events[0]["Payload"] == b"payload" and events[0]["TagFilter"] == "blue", events
firing = threading.Timer(0.3, lambda: consul.Consul(host=host, port=int(port)).event.fire("py-event", "two"))
firing.start()
newer, events = c.event.list(name="py-event", index=index, wait="20s")
assert newer != index and events[-1]["Payload"] == b"two", events
firing.join()

step("deletion")
assert c.kv.delete("py/", recurse=True) is True
assert c.kv.get("py/", recurse=True)[1] is None
print("ok")
