// Registers an instance, renews it, discovers it, receives its events over AMQP, deregisters.
import amqp from "amqplib";

const address = process.env.MUSTERD_ADDRESS ?? "http://127.0.0.1:8000";
const broker = process.env.MUSTERD_AMQP ?? "amqp://guest:guest@127.0.0.1:5672/%2f";
const token = process.env.MUSTERD_TOKEN;

/** Sends one request; a refusal is an error with the daemon's words. */
async function ask(method, path, body) {
  const headers = { "content-type": "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(address + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  const value = text ? JSON.parse(text) : null;
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${value?.detail}`);
  return value;
}

// A queue of its own gets every event of the service from now on.
const connection = await amqp.connect(broker);
const channel = await connection.createChannel();
const { queue } = await channel.assertQueue("", { exclusive: true });
await channel.bindQueue(queue, "musterd", "service.events.*.example");
const event = new Promise((resolve) => {
  channel.consume(
    queue,
    (message) => {
      const event = JSON.parse(message.content.toString());
      if (event.service_id === "node-1") resolve(event);
    },
    { noAck: true },
  );
});

await ask("POST", "/services/register", {
  service_id: "node-1",
  service_name: "example",
  host: "127.0.0.1",
  port: 8081,
  ttl: "30s",
});
console.log("registered node-1");
await ask("POST", "/services/node-1/heartbeat");
console.log("renewed");

const found = await ask("GET", "/services/discover/example");
if (!found.services.some((one) => one.service_id === "node-1")) throw new Error("not found");
console.log("discovered node-1");

console.log("event", (await event).event);
await connection.close();

await ask("DELETE", "/services/node-1");
console.log("deregistered");
