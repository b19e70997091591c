// Every view in three widths and both colour schemes: its meaning and its places against the saved ones (UPDATE=1 writes
// them), nothing cut off, nothing that scrolls sideways, and no violation of WCAG 2.2 AA that axe-core finds.
const fs = require("node:fs");
const path = require("node:path");
const { daemon, ask, target, check, main, go } = require("./browser.cjs");

const SAVED = path.join(__dirname, "layout.json");
const WIDTHS = { wide: [1360, 860], medium: [1000, 760], phone: [390, 800] };
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
const VIEWS = {
  services: ["services", ".services .row.opens"],
  service: ["services/shop", ".instances .spark"],
  instance: ["services/shop/shop-1", ".panel .spark"],
  "drained instance": ["services/shop/shop-2", ".panel .notice"],
  "no such service": ["services/nobody", ".empty"],
  events: ["events", ".events .row.opens"],
  webhooks: ["watchers", "table"],
  streams: ["watchers/streams", "table"],
  "amqp queues": ["watchers/queues", "table"],
  migration: ["migration", ".timeline"],
  queues: ["broker", ".queues .row"],
  exchanges: ["broker/exchanges", ".exchanges .row"],
  bindings: ["broker/bindings", ".bindings .row"],
  connections: ["broker/connections", ".connections .row"],
  channels: ["broker/channels", ".channels .row"],
  consumers: ["broker/consumers", ".consumers .row"],
  queue: ["broker/queue/%2F/musterd.dead", ".tiles"],
  gateway: ["gateway", "table"],
  system: ["system", ".limits"],
  configuration: ["system/configuration", ".settings .row"],
};
// Their rows are the daemon's own objects, which are not the dashboard's to keep.
const OWN_ROWS = /^(queues|exchanges|bindings|connections|channels|consumers|configuration)$/;
// Where the parts of a view are; text may be wider or narrower with other fonts.
const BOXES = ".top,.side,main,.title,.filters,.table,.panel,.card,.tabs,.timeline,.rate,.tiles,.limits";

async function until(holds, what) {
  for (let tries = 0; tries < 100; tries++) {
    if (await holds()) return;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`not in time: ${what}`);
}

async function fill(url, probed) {
  const port = probed.address().port;
  const register = (id, service, more) => ask(url, "POST", "services/register", { service_id: id, service_name: service, host: "10.0.0.1", port: 8080, ttl: "1h", zone: "eu-1a", tags: ["edge"], ...more });
  const check = { type: "http", url: `http://127.0.0.1:${port}/`, interval: "500ms" };
  await register("shop-1", "shop", { checks: [check], metadata: { team: "core" }, version: "2.4.1" });
  // The last change of the service is then always the override.
  await until(async () => (await ask(url, "GET", "services/shop-1/health")).checks[0]?.results.length >= 3, "results of the check");
  await register("shop-2", "shop", {});
  for (let n = 1; n <= 12; n++) await register(`search-${n}`, "search", { zone: `eu-1${"abc"[n % 3]}` });
  await ask(url, "PUT", "services/shop-2/override", { status: "stopping", reason: "deploy of 2.5" });
  await ask(url, "PUT", "gateway/routes/shop", { path_prefix: "/shop", service_name: "shop" });
  await ask(url, "POST", "watchers", { callback_url: `http://127.0.0.1:${port}/hook` });
  await ask(url, "POST", "broker/publish", { routing_key: "musterd.dead", payload: '{"order":1}' });
}

/** The tree that assistive technology gets, without what differs from run to run. */
async function meaning(page, name) {
  const tree = await page.locator("body").ariaSnapshot();
  const masked = tree.replace(/amq\.[a-z]+-[\w-]+/g, "amq.gen").replace(/[0-9a-f]{8}-[0-9a-f-]{20,}|\b[0-9a-f]{12,}\b/g, "ID").replace(/\d+(?:[.,:]\d+)*/g, "N").replace(/N (?:d|h|min|s|ms)\b(?: N (?:h|min|s)\b)?/g, "SPAN").replace(/SPAN ago|\bnow\b/g, "AGO").replace(/N (?:B|KiB|MiB|GiB)/g, "SIZE");
  // Lists that grow, and order that depends on time.
  const lines = [...new Set(masked.split("\n"))].filter((line) => !OWN_ROWS.test(name) || !/- '?(?:gridcell|row |cell|text: |link "(?!Skip)|- \/url: "#\/broker\/queue)|^\s*- (?:text|status|paragraph)/.test(line));
  return lines.filter((line) => !/img "(?:Events|Messages) per second|measuring|row "N N|probes, /.test(line)).sort();
}

const places = (page) => page.evaluate((selector) => [...document.querySelectorAll(selector)].filter((one) => one.offsetParent || one.matches("main,.side,.top")).map((one) => {
  const { x, y, width, height } = one.getBoundingClientRect();
  return [one.classList[0] ?? one.localName, ...[x, y, width, height].map(Math.round)];
}), BOXES);

/** Buttons, links and headings whose text is cut off, and elements beyond the edge. */
const cut = (page) => page.evaluate(() => {
  const found = [];
  if (document.documentElement.scrollWidth > innerWidth) found.push(`the page is ${document.documentElement.scrollWidth} wide`);
  for (const one of document.querySelectorAll("button,h1,h2,.tabs a,.side a span,dt,.tiles dd,.status,.pill")) {
    if (!one.offsetParent || one.closest(".hidden,.vspace,.scroll")) continue;
    if (one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== "inline") found.push(`cut off: ${one.outerHTML.slice(0, 120)}`);
  }
  return found;
});

main(async (open) => {
  const probed = await target();
  const { url } = await daemon();
  await fill(url, probed);
  const update = process.env.UPDATE === "1";
  const saved = update ? {} : JSON.parse(fs.readFileSync(SAVED, "utf8"));
  const faults = [];
  const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
  await Promise.all(Object.entries(WIDTHS).map(async ([width, [w, h]]) => {
    for (const colorScheme of ["light", "dark"]) {
      const page = await open(url, { viewport: { width: w, height: h }, colorScheme, reducedMotion: "reduce" });
      await page.goto(`${url}/#/services`);
      await page.evaluate(axe);
      for (const [name, [place, selector]] of Object.entries(VIEWS)) {
        const of = `${name}, ${width}, ${colorScheme}`;
        await go(page, url, place, selector);
        await page.waitForTimeout(120);
        for (const one of await cut(page)) faults.push(`${of}: ${one}`);
        // Colours and sizes of targets differ by scheme and width; the medium width has those of the wide one.
        if (width !== "medium") {
          const result = await page.evaluate((rules) => axe.run(document, { runOnly: rules, resultTypes: ["violations"] }), RULES);
          for (const one of result.violations) faults.push(`${of}: ${one.id}: ${one.nodes[0].html.slice(0, 160)} ${one.nodes[0].failureSummary}`);
        }
        if (colorScheme === "dark") continue;
        const seen = { boxes: await places(page), ...(width === "medium" ? {} : { tree: await meaning(page, name) }) };
        const key = `${name}, ${width}`;
        if (update) {
          saved[key] = seen;
          continue;
        }
        const before = saved[key];
        check(before, `${key} is not saved: run with UPDATE=1`);
        const lost = (before.tree ?? []).filter((line) => !seen.tree.includes(line));
        const more = (seen.tree ?? []).filter((line) => !before.tree.includes(line));
        if (lost.length || more.length) faults.push(`${key}: the meaning changed:\n- ${lost.join("\n- ")}\n+ ${more.join("\n+ ")}`);
        const shape = (boxes) => boxes.map(([what]) => what).join(" ");
        if (shape(before.boxes) !== shape(seen.boxes)) faults.push(`${key}: parts were ${shape(before.boxes)}, are ${shape(seen.boxes)}`);
        else before.boxes.forEach(([what, ...box], at) => {
          const now = seen.boxes[at].slice(1);
          const near = [8, 48, 16, 64];
          if (box.some((value, side) => Math.abs(value - now[side]) > near[side])) faults.push(`${key}: ${what} was at ${box}, is at ${now}`);
        });
      }
      await page.context().close();
    }
  }));
  probed.close();
  const sorted = Object.fromEntries(Object.entries(saved).sort(([a], [b]) => (a < b ? -1 : 1)));
  if (update) fs.writeFileSync(SAVED, JSON.stringify(sorted, null, 1).replace(/\[\s+"([\w-]+)",\s+(-?\d+),\s+(-?\d+),\s+(-?\d+),\s+(-?\d+)\s+\]/g, '["$1", $2, $3, $4, $5]') + "\n");
  check(!faults.length, faults.join("\n"));
});
