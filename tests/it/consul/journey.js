// A service's way through Consul's API with npm's client "consul". Arguments: the address of the Consul door, the URL
// of REST.
"use strict";

const assert = require("node:assert");
const Consul = require("consul");

const [host, port] = process.argv[2].split(":");
const rest = process.argv[3];
const consul = new Consul({ host, port });

const step = (name) => console.log(name);
const ids = (entries) => entries.map((entry) => entry.Service.ID).sort();
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const fromRest = async (path) => (await fetch(rest + path)).json();

const until = async (what, condition) => {
  const deadline = Date.now() + 20000;
  while (!(await condition())) {
    assert(Date.now() < deadline, what);
    await pause(20);
  }
};

/** The next change of a watch. */
const next = (watch, wanted) =>
  new Promise((done, failed) => {
    const timer = setTimeout(() => failed(new Error("no change in time")), 20000);
    watch.on("error", failed);
    watch.on("change", (data) => {
      if (wanted(data)) {
        clearTimeout(timer);
        done(data);
      }
    });
  });

const main = async () => {
  step("status");
  assert.equal(await consul.status.leader(), "127.0.0.1:8300");
  assert.deepEqual(await consul.status.peers(), ["127.0.0.1:8300"]);
  assert.deepEqual(await consul.catalog.datacenters(), ["dc1"]);
  const self = await consul.agent.self();
  const node = self.Config.NodeName;
  assert.equal(self.Member.Name, node);
  assert.equal((await consul.agent.members()).length, 1);

  step("watch a service that is not there yet");
  const watch = consul.watch({
    method: consul.health.service,
    options: { service: "web", passing: true, wait: "20s" },
    backoffFactor: 100,
  });
  const seen = next(watch, (data) => data.length === 1);

  step("register, lower case");
  await consul.agent.service.register({
    id: "web1",
    name: "web",
    tags: ["v1"],
    address: "10.0.0.1",
    port: 8080,
    meta: { env: "prod" },
    check: { ttl: "20s", notes: "alive" },
  });
  const services = await consul.agent.services();
  assert.equal(services.web1.Service, "web");
  assert.deepEqual(services.web1.Meta, { env: "prod" });
  const checks = await consul.agent.checks();
  assert.equal(checks["service:web1"].Notes, "alive");
  assert.equal(checks["service:web1"].Status, "critical");

  step("pass wakes the watch");
  await consul.agent.check.pass({ id: "service:web1", note: "fine" });
  assert.deepEqual(ids(await seen), ["web1"]);

  step("warn and fail");
  const gone = next(watch, (data) => data.length === 0);
  await consul.agent.check.warn("service:web1");
  assert.deepEqual(await gone, []);
  watch.end();
  assert.equal((await consul.health.state("warning")).length, 1);
  await until("REST shows it", async () => (await fromRest("/services/web1")).warning === true);
  await consul.agent.check.fail("service:web1");
  await until("REST shows it", async () => (await fromRest("/services/web1")).status === "unhealthy");
  await consul.agent.check.pass("service:web1");

  step("an unrelated change does not move an index");
  const before = await new Promise((done, failed) => {
    const once = consul.watch({ method: consul.health.service, options: { service: "web" } });
    once.on("error", failed);
    once.on("change", (data, response) => {
      once.end();
      done(response.headers["x-consul-index"]);
    });
  });
  await consul.agent.service.register("other");
  const answer = await fetch(`http://${host}:${port}/v1/health/service/web`);
  assert.equal(answer.headers.get("x-consul-index"), before);

  step("discover");
  const found = await consul.catalog.service.nodes("web");
  assert.deepEqual(found.map((one) => [one.Node, one.ServiceAddress, one.ServicePort]), [[node, "10.0.0.1", 8080]]);
  assert.deepEqual(Object.keys(await consul.catalog.service.list()).sort(), ["consul", "other", "web"]);
  const filtered = await consul.health.service({ service: "web", filter: 'Service.Meta.env == "prod"' });
  assert.deepEqual(ids(filtered), ["web1"]);
  assert.deepEqual(await consul.health.service({ service: "web", filter: '"v2" in Service.Tags' }), []);
  assert.equal((await consul.catalog.node.services(node)).Services.web1.Port, 8080);
  assert.equal((await fromRest("/services/discover/web")).services[0].host, "10.0.0.1");

  step("maintenance");
  await consul.agent.service.maintenance({ id: "web1", enable: true, reason: "deploy" });
  assert.deepEqual(await consul.health.service({ service: "web", passing: true }), []);
  await consul.agent.service.maintenance({ id: "web1", enable: false });
  await consul.agent.maintenance(true);
  assert((await consul.agent.checks())._node_maintenance);
  await consul.agent.maintenance(false);
  assert.deepEqual(ids(await consul.health.service({ service: "web", passing: true })), ["web1"]);

  step("checks of the node");
  await consul.agent.check.register({ name: "disk", ttl: "20s" });
  await consul.agent.check.pass("disk");
  const state = (await consul.health.node(node)).find((check) => check.CheckID === "disk");
  assert.equal(state.Status, "passing");
  await consul.agent.check.deregister("disk");

  step("errors");
  await assert.rejects(consul.agent.check.pass("nothing"), /not found/);
  await assert.rejects(consul.agent.service.register({ name: "web", port: 99999 }), /Port/);
  await assert.rejects(consul.health.service({ service: "web", filter: "(" }), /bad request/);

  step("deregister");
  for (const id of ["web1", "other"]) await consul.agent.service.deregister(id);
  assert.deepEqual(await consul.agent.services(), {});
  console.log("ok");
};

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
