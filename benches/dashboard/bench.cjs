// Measures the dashboard with a large registry, in a browser: 1,000 services with 20,000 instances.
//
//   cargo build --release
//   NODE_PATH=tests/.local/node_modules MUSTERD=target/release/musterd node benches/dashboard/bench.cjs
//
// Prints the size of the first snapshot, the time until the list is drawn, the CPU time of the page's main thread for what
// it does (this does not depend on what else the machine does), and frames over 50 ms.
const { daemon, ask, main } = require("../../tests/it/dashboard/browser.cjs");

const SERVICES = Number(process.env.SERVICES || 1000);
const EACH = Number(process.env.EACH || 20);
const SENDERS = 16;

/** Calls `send(n)` for each number below `count`, some at a time. */
async function each(count, send) {
  let next = 0;
  await Promise.all(Array.from({ length: SENDERS }, async () => { while (next < count) await send(next++); }));
}
const name = (n) => `svc-${String(n).padStart(4, "0")}`;
const instance = (n) => {
  const service = name(Math.floor(n / EACH));
  return { service_id: `${service}-${n % EACH}`, service_name: service, host: `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`, port: 8080, version: `1.${n % 7}.0`, zone: `eu-1${"abc"[n % 3]}`, tags: [`shard-${n % 16}`], ttl: "1h", metadata: { team: `team-${n % 40}` } };
};

main(async (open) => {
  const { url } = await daemon();
  let began = performance.now();
  await each(SERVICES * EACH, (n) => ask(url, "POST", "services/register", instance(n)));
  console.log(`${SERVICES * EACH} instances registered in ${((performance.now() - began) / 1000).toFixed(1)} s`);
  const page = await open(url);
  await page.addInitScript(() => {
    window.long = [];
    new PerformanceObserver((list) => window.long.push(...list.getEntries().map((one) => Math.round(one.duration)))).observe({ type: "longtask", buffered: true });
  });
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Performance.enable", { timeDomain: "threadTicks" });
  const cpu = async () => Object.fromEntries((await cdp.send("Performance.getMetrics")).metrics.map((one) => [one.name, one.value]));
  const measure = async (what, act) => {
    const before = await cpu();
    await page.evaluate(() => { window.long = []; });
    const started = performance.now();
    await act();
    const ms = performance.now() - started;
    const after = await cpu();
    const spent = (key) => Math.round((after[key] - before[key]) * 1000);
    const long = await page.evaluate(() => window.long.filter((one) => one > 50));
    console.log(`${what}: ${Math.round(ms)} ms, main thread ${spent("TaskDuration")} ms (script ${spent("ScriptDuration")}, layout and style ${spent("LayoutDuration") + spent("RecalcStyleDuration")}); tasks over 50 ms: ${long.length ? long.join(", ") : "none"}`);
  };

  await page.goto("about:blank");
  await measure("first list on the page", async () => {
    await page.goto(`${url}/#/services`);
    await page.waitForFunction((count) => document.querySelector(".title p")?.textContent.startsWith(count), SERVICES.toLocaleString("en-US"), { timeout: 60000 });
  });
  const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
  console.log(`first paint: ${Math.round(paint)} ms; snapshot ${(await page.evaluate(async () => {
    const reader = (await fetch("watch?view=summary")).body.getReader();
    let bytes = 0;
    for (let text = ""; !text.includes("\n\n"); ) {
      const { value } = await reader.read();
      bytes += value.length;
      text = text.slice(-2) + new TextDecoder().decode(value);
    }
    reader.cancel();
    return bytes / 1024;
  })).toFixed(0)} KiB; ${await page.evaluate(() => document.querySelectorAll("*").length)} elements`);
  await page.waitForTimeout(1000);

  await measure("1,000 changes", async () => {
    await each(1000, (n) => ask(url, "PATCH", `services/${name(n % SERVICES)}-3`, { weight: 2 + Math.floor(n / SERVICES) }));
    await page.waitForFunction(() => document.querySelector(".connection .tabular").textContent.length > 0);
    await page.waitForTimeout(400);
  });
  await measure("5 s at rest", () => page.waitForTimeout(5000));
  await measure("100 frames of scrolling", () => page.evaluate(() => new Promise((done) => {
    const box = document.querySelector(".vbody");
    let n = 0;
    const step = () => { box.scrollTop += 320; if (++n < 100) requestAnimationFrame(step); else done(); };
    requestAnimationFrame(step);
  })));
  await measure("a filter typed, 11 letters", async () => {
    await page.keyboard.press("/");
    await page.keyboard.type("tag:shard-7", { delay: 30 });
    await page.waitForTimeout(200);
  });
  await measure("a service opened", async () => {
    await page.goto(`${url}/#/services/${name(7)}`);
    await page.waitForSelector(".instances .row.opens");
  });
});
