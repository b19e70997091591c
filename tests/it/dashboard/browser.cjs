// What the scripts of the dashboard share: a daemon on free ports, a browser, and a page that notes every fault.
const { spawn } = require("node:child_process");
const http = require("node:http");
const { chromium } = require("playwright-core");

const PATIENCE_MS = 20_000;
const started = [];

/** Starts a daemon; `port` 0 is a free one. Gives its URL and its end. */
function daemon(settings = {}, port = 0) {
  const sets = { "http.listen": `127.0.0.1:${port}`, "broker.listen": "127.0.0.1:0", "consul.listen": "127.0.0.1:0", "dns.listen": "127.0.0.1:0", "store.path": "", "log.format": "json", ...settings };
  const child = spawn(process.env.MUSTERD, Object.entries(sets).flatMap(([key, value]) => ["--set", `${key}=${value}`]), { stdio: ["ignore", "ignore", "pipe"] });
  started.push(child);
  return new Promise((resolve, reject) => {
    let text = "";
    const late = setTimeout(() => reject(new Error(`the daemon did not start: ${text}`)), PATIENCE_MS);
    child.on("exit", (code) => reject(new Error(`the daemon ended with ${code}: ${text}`)));
    child.stderr.on("data", (chunk) => {
      if (text === null) return;
      text += chunk;
      const address = text.match(/"http\.address":"([^"]+)"/)?.[1];
      if (!address) return;
      text = null;
      clearTimeout(late);
      const ended = new Promise((done) => child.on("exit", done));
      resolve({ url: `http://${address}`, port: Number(address.split(":").at(-1)), kill: () => { child.kill("SIGKILL"); return ended; } });
    });
  });
}

/** One call to the API; a refusal is an error unless `code` is expected. */
async function ask(url, method, path, body, code, token) {
  const headers = { ...(body === undefined ? {} : { "content-type": "application/json" }), ...(token ? { authorization: `Bearer ${token}` } : {}) };
  const answer = await fetch(`${url}/${path}`, { method, body: body === undefined ? undefined : JSON.stringify(body), headers });
  const text = await answer.text();
  if (code ? answer.status !== code : !answer.ok) throw new Error(`${method} /${path}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

/** A target of health checks that always passes. */
async function target() {
  const server = http.createServer((_, answer) => answer.end("ok"));
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return server;
}

function check(ok, what) {
  if (!ok) throw new Error(what);
}

/** Runs `test(open)`; `open(url, options)` opens a page of its own. Any fault of a page fails the test. */
async function run(test) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--font-render-hinting=none"],
  });
  const faults = [];
  const open = async (url, options = {}) => {
    const context = await browser.newContext({ viewport: { width: 1360, height: 860 }, locale: "en-GB", ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.allowed = []; // console errors that the test causes
    page.on("console", (message) => {
      const text = message.text();
      if (message.type() === "error" && !page.allowed.some((one) => one.test(text))) faults.push(`console: ${text}`);
    });
    page.on("pageerror", (error) => faults.push(`error: ${error.stack}`));
    page.on("request", (request) => { if (!request.url().startsWith(url) && !request.url().startsWith("data:")) faults.push(`request to ${request.url()}`); });
    await page.exposeFunction("musterdFault", (text) => faults.push(text));
    await page.addInitScript(() => addEventListener("securitypolicyviolation", (event) => window.musterdFault(`policy: ${event.violatedDirective} ${event.sourceFile}:${event.lineNumber}`)));
    return page;
  };
  try {
    await test(open);
    check(!faults.length, `faults of the page:\n${[...new Set(faults)].join("\n")}`);
  } finally {
    await browser.close();
    for (const child of started) child.kill("SIGKILL");
  }
  console.log(JSON.stringify({ ok: true }));
  process.exit(0);
}

/** Goes to a view, and waits until it shows its answers. */
async function go(page, url, place, selector) {
  const at = `${url}/#/${place}`;
  if (page.url().startsWith(url)) await page.evaluate((hash) => { location.hash = hash; }, `#/${place}`);
  else await page.goto(at);
  await page.waitForSelector(".connection.live");
  await page.waitForFunction(() => !/Asking the daemon|Waiting for the first/.test(document.querySelector("main").textContent));
  if (selector) await page.waitForSelector(selector, { state: "attached" });
}

const main = (test) => run(test).catch((error) => {
  console.error(error.stack);
  for (const child of started) child.kill("SIGKILL");
  process.exit(1);
});

module.exports = { daemon, ask, target, check, main, go };
