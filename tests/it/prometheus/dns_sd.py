"""Prometheus asks the machine's resolver, at port 53. So this runs in a network of its own, with the daemon as the
resolver: `unshare --map-root-user --mount --net python3 dns_sd.py MUSTERD FOLDER`. Prints the targets that it found,
before and after a change."""

import fcntl
import json
import pathlib
import socket
import struct
import subprocess
import sys
import time
import urllib.request

musterd, folder = sys.argv[1], pathlib.Path(sys.argv[2])
HTTP, PROMETHEUS = "127.0.0.1:8000", "127.0.0.1:9090"
PATIENCE = 40


def loopback():
    """Switches the interface on: SIOCSIFFLAGS with IFF_UP."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))


def ask(address, path, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}{path}", data, method=method)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


def register(service_id, port):
    instance = {"service_id": service_id, "service_name": "web", "host": "127.0.0.1", "port": port, "lease": "none"}
    ask(HTTP, "/services/register", instance)


def until(wanted):
    """Waits until Prometheus has these targets."""
    end, found = time.monotonic() + PATIENCE, None
    while time.monotonic() < end:
        try:
            active = ask(PROMETHEUS, "/api/v1/targets?state=active")["data"]["activeTargets"]
            found = sorted(one["labels"]["instance"] for one in active)
        except OSError:
            pass
        if found == wanted:
            print(" ".join(found), flush=True)
            return
        time.sleep(0.1)
    sys.exit(f"{found} instead of {wanted}")


loopback()
resolver = folder / "resolv.conf"
resolver.write_text("nameserver 127.0.0.1\n")
subprocess.run(["mount", "--bind", resolver, "/etc/resolv.conf"], check=True)
config = folder / "prometheus.yml"
config.write_text(
    "scrape_configs:\n- job_name: web\n  dns_sd_configs:\n"
    "  - {names: [web.service.musterd], type: SRV, refresh_interval: 1s}\n"
)
keys = [f"http.listen={HTTP}", "dns.listen=127.0.0.1:53", "broker.listen=", "consul.listen=", "store.path="]
with open(folder / "log", "w") as log:
    output = {"stdout": log, "stderr": log}
    programs = [
        subprocess.Popen([musterd] + [word for key in keys for word in ("--set", key)], **output),
        subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--web.listen-address={PROMETHEUS}",
             f"--storage.tsdb.path={folder / 'data'}"], **output),
    ]
    try:
        for _ in range(200):
            try:
                ask(HTTP, "/health")
                break
            except OSError:
                time.sleep(0.05)
        register("a", 9101)
        register("b", 9102)
        until(["7f000001.addr.musterd:9101", "7f000001.addr.musterd:9102"])
        ask(HTTP, "/services/a", method="DELETE")
        register("c", 9103)
        until(["7f000001.addr.musterd:9102", "7f000001.addr.musterd:9103"])
    finally:
        for program in programs:
            program.kill()
            program.wait()
