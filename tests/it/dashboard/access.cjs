// Who gets what: the log in, the modes of the dashboard, the banner while the daemon is away, and the contract of view.js.
const crypto = require("node:crypto");
const fs = require("node:fs");
const { daemon, ask, check, main, go } = require("./browser.cjs");

const SECRETS = { admin: crypto.randomBytes(16).toString("hex"), looker: crypto.randomBytes(16).toString("hex") };
const digest = (secret) => crypto.createHash("sha256").update(secret).digest("hex");
const REFUSED = /Failed to load resource: the server responded with a status of (401|403|404)/;

async function accessible(page) {
  await page.evaluate(fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8"));
  const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"], resultTypes: ["violations"] }));
  check(!violations.length, violations.map((one) => `${one.id}: ${one.nodes[0].html}`).join("\n"));
}

async function logIn(open) {
  const { url } = await daemon({ "security.auth": "on", "security.tokens.admin.sha256": digest(SECRETS.admin), "security.tokens.admin.policies": "admin", "security.tokens.looker.sha256": digest(SECRETS.looker), "security.tokens.looker.policies": "reader" });
  await ask(url, "POST", "services/register", { service_id: "a-1", service_name: "a", host: "10.0.0.1", port: 1, ttl: "1h" }, 200, SECRETS.admin);
  const page = await open(url);
  page.allowed = [REFUSED];
  await page.goto(`${url}/#/services`);
  await page.waitForSelector("#token");
  check(await page.evaluate(() => document.activeElement.id === "token"), "the field has the focus");
  await accessible(page);
  await page.fill("#token", "wrong-wrong-wrong-wrong");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#token-error:not(:empty)");
  await page.fill("#token", SECRETS.looker);
  await page.keyboard.press("Enter");
  await page.waitForSelector('[data-key="a"]');
  check((await page.textContent(".top")).includes("looker"), "the page says who is logged in");
  await page.evaluate(() => { location.hash = "#/broker"; });
  await page.waitForSelector("main >> text=no read access to broker");
  await page.evaluate(() => { location.hash = "#/services/a/a-1"; });
  await page.waitForSelector(".panel");
  await page.getByRole("button", { name: "Deregister", exact: true }).click();
  await page.click("dialog .danger");
  await page.waitForSelector("dialog .error:not(:empty)");
  check((await page.textContent("dialog .error")).includes("access"), "a refusal is shown in the dialog");
  await page.keyboard.press("Escape");
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  check(!kept.includes(SECRETS.looker), "the token is in memory only");
  await page.getByRole("button", { name: "Log out" }).click();
  await page.waitForSelector("#token");
  await page.fill("#token", SECRETS.admin);
  await page.keyboard.press("Enter");
  await page.waitForSelector(".connection.live");
  // A token that ends logs out.
  await ask(url, "POST", "auth/tokens", { name: "brief", policies: ["reader"], expires_in: "2s" }, undefined, SECRETS.admin).then(async ({ secret }) => {
    await page.getByRole("button", { name: "Log out" }).click();
    await page.fill("#token", secret);
    await page.keyboard.press("Enter");
    await page.waitForSelector(".connection.live");
    await page.waitForSelector("#token");
  });
}

async function modes(open) {
  const read = await daemon({ "http.dashboard": "read" });
  await ask(read.url, "POST", "services/register", { service_id: "a-1", service_name: "a", host: "10.0.0.1", port: 1, ttl: "1h" });
  const page = await open(read.url);
  for (const [place, selector] of [["services", ".row.opens"], ["services/a/a-1", ".panel"], ["migration", ".timeline"], ["broker/queue/%2F/musterd.dead", ".tiles"], ["gateway", ".empty"], ["watchers", ".card"]]) {
    await go(page, read.url, place, selector);
    const names = await page.evaluate(() => [...document.querySelectorAll("main button")].map((one) => one.textContent));
    const acts = names.filter((name) => /Register|Drain|Disable|Deregister|Check now|Start|Roll|Set mode|Publish|Purge|Delete|Add|Remove/.test(name));
    check(!acts.length, `${place} offers ${acts}`);
  }
  const off = await daemon({ "http.dashboard": "off" });
  check((await fetch(off.url, { headers: { accept: "text/html" } })).status === 404, "off means that it is not there");
}

/** A daemon that goes and comes back: a banner that says how old the picture is, then the new state. */
async function reconnects(open) {
  const first = await daemon();
  const register = (url, name) => ask(url, "POST", "services/register", { service_id: `${name}-1`, service_name: name, host: "10.0.0.1", port: 1, ttl: "1h" });
  await register(first.url, "before");
  const page = await open(first.url);
  page.allowed = [/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/];
  await go(page, first.url, "services", '[data-key="before"]');
  await first.kill();
  await page.waitForSelector(".banner");
  const text = await page.textContent(".banner");
  check(/You see the state of \d\d:\d\d:\d\d/.test(text) && /Next attempt|Connecting/.test(text), text);
  check(await page.evaluate(() => document.querySelector("main").classList.contains("stale") && document.querySelector(".connection").textContent.includes("Not live")), "what is old is marked");
  await accessible(page);
  const second = await daemon({}, first.port);
  await register(second.url, "after");
  await page.getByRole("button", { name: "Try now" }).click({ timeout: 2000 }).catch(() => {}); // it may be live already
  await page.waitForSelector(".connection.live");
  await page.waitForSelector('[data-key="after"]');
  check(!(await page.$('[data-key="before"]')), "the new daemon's state replaces the old one");
  check(!(await page.$(".banner")), "the banner is gone");
  const { streams } = await ask(second.url, "GET", "watchers/streams");
  check(streams.length === 1, `one stream for the page, not ${streams.length}`);
}

/** The contract at the top of view.js. */
async function contract(open) {
  const { url } = await daemon();
  const page = await open(url);
  await page.goto(`${url}/#/system`);
  const failed = await page.evaluate(async () => {
    const { h, patch } = await import("/ui/view.js");
    const failed = [];
    const is = (what, seen, expected) => { if (seen !== expected) failed.push(`${what}: ${seen}, not ${expected}`); };
    const root = document.body.appendChild(document.createElement("div"));
    const row = (key, text = key) => h("li", { key }, h("input", { "aria-label": key }), text);
    patch(root, h("ul", null, ["a", "b", "c"].map((key) => row(key))));
    const [a, b, c] = root.querySelectorAll("li");
    b.firstChild.value = "typed";
    b.firstChild.focus();
    patch(root, h("ul", null, row("c"), row("b", "B"), row("d"), row("a")));
    is("order", root.textContent, "cBda");
    is("keyed elements are kept", root.querySelectorAll("li")[1], b);
    is("focus is kept", document.activeElement, b.firstChild);
    is("typed text is kept", b.firstChild.value, "typed");
    is("others too", root.querySelectorAll("li")[3] === a && root.querySelectorAll("li")[0] === c, true);
    const log = [];
    const noted = (n) => h("p", { mounted: () => log.push("mounted"), updated: () => log.push("updated"), removed: () => log.push("removed"), title: n ? `n${n}` : null, hidden: n > 1, style: n > 2 ? {} : { width: `${n}px` } }, n, null, false, true, "");
    for (const n of [1, 2, 3]) patch(root, noted(n));
    const p = root.firstChild;
    is("text and nothing", p.textContent, "3");
    is("attributes", `${p.title} ${p.hidden} ${p.style.width}`, "n3 true ");
    patch(root, null);
    is("calls", log.join(" "), "mounted updated updated updated removed");
    is("empty", root.childNodes.length, 0);
    const same = h("b", null, "same");
    patch(root, same);
    root.firstChild.firstChild.nodeValue = "changed by hand";
    patch(root, same);
    is("the same description is skipped", root.textContent, "changed by hand");
    let pressed = "";
    for (const n of [1, 2]) patch(root, h("button", { onclick: () => { pressed += n; } }, "x"));
    root.firstChild.click();
    is("the last listener alone", pressed, "2");
    patch(root, [h("i", null, 1), h("svg", { viewBox: "0 0 1 1" }, h("path", { d: "M0 0" })), "<b>text</b>"]);
    is("svg", root.querySelector("path").namespaceURI, "http://www.w3.org/2000/svg");
    is("markup is text", root.querySelectorAll("b").length, 0);
    patch(root, h("select", { value: "2" }, h("option", null, 1), h("option", null, 2)));
    is("a list's value", root.firstChild.value, "2");
    root.remove();
    return failed;
  });
  check(!failed.length, failed.join("\n"));
}

main(async (open) => {
  for (const step of [contract, modes, reconnects, logIn]) {
    await step(open).catch((error) => { throw new Error(`${step.name}: ${error.stack}`); });
  }
});
