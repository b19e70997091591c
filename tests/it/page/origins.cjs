// Opens pages of several origins in a browser, has each try what a page can send without asking, and prints what
// each of them got.
const { chromium } = require("playwright-core");
const http = require("node:http");

/** Runs in the page: every way to reach the daemon, by what came of it. */
async function attempts({ url, id }) {
  const body = JSON.stringify({ service_id: id, service_name: "page", host: "127.0.0.1", port: 80 });
  const outcome = async (request) => {
    try {
      const answer = await request;
      return answer.type === "opaque" ? "opaque" : answer.status;
    } catch (error) {
      return error.name;
    }
  };
  const socket = new Promise((resolve) => {
    const opened = new WebSocket(url.replace("http", "ws") + "/watch/ws");
    opened.onopen = () => { resolve("open"); opened.close(); };
    opened.onerror = () => resolve("error");
  });
  const form = () => new Promise((resolve) => {
    const frame = document.createElement("iframe");
    frame.name = "target";
    document.body.append(frame);
    const sent = document.createElement("form");
    sent.method = "post";
    sent.action = url + "/services/" + id + "/check";
    sent.enctype = "text/plain";
    sent.target = "target";
    sent.append(Object.assign(document.createElement("input"), { name: "a", value: "b" }));
    document.body.append(sent);
    frame.onload = () => resolve("sent");
    sent.submit();
    setTimeout(() => resolve("sent"), 2000);
  });
  const json = { "content-type": "application/json" };
  return {
    origin: location.origin,
    read: await outcome(fetch(url + "/services")),
    simple: await outcome(fetch(url + "/services/register", { method: "POST", mode: "no-cors", body })),
    json: await outcome(fetch(url + "/services/register", { method: "POST", headers: json, body })),
    remove: await outcome(fetch(url + "/services/victim", { method: "DELETE" })),
    beacon: navigator.sendBeacon(url + "/watchers", "{}") ? "sent" : "refused",
    form: await form(),
    socket: await socket,
  };
}

(async () => {
  const [, , url] = process.argv;
  const daemon = new URL(url).port;
  const server = http.createServer((_, answer) => {
    answer.setHeader("content-type", "text/html");
    answer.end("<!doctype html><title>a page</title><body></body>");
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const port = server.address().port;
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP *.example 127.0.0.1"],
  });
  const seen = {};
  for (const [name, address, target] of [
    ["foreign", `http://evil.example:${port}/`, url],
    ["rebound", `http://rebound.example:${daemon}/health`, `http://rebound.example:${daemon}`],
    ["local", `http://localhost:${port}/`, url],
    ["own", `${url}/docs`, url],
  ]) {
    const page = await browser.newPage();
    const opened = await page.goto(address);
    seen[name] = { ...await page.evaluate(attempts, { url: target, id: name }), opened: opened.status() };
    await page.close();
  }
  // A sandboxed frame has the origin "null".
  const page = await browser.newPage();
  await page.goto(`http://evil.example:${port}/`);
  await page.setContent('<iframe sandbox="allow-scripts allow-forms" srcdoc="<body></body>"></iframe>');
  const frame = page.frames()[1];
  await frame.waitForLoadState();
  seen.sandboxed = await frame.evaluate(attempts, { url, id: "sandboxed" });
  console.log(JSON.stringify(seen));
  await browser.close();
  server.close();
})().catch((error) => { console.error(error); process.exit(1); });
