// Opens the page to try the API in a browser, sends one request with it and prints what came back.
const { chromium } = require("playwright-core");

(async () => {
  const [, , url, screenshot] = process.argv;
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
  const page = await browser.newPage();
  const elsewhere = [];
  const errors = [];
  page.on("request", (request) => { if (!request.url().startsWith(url)) elsewhere.push(request.url()); });
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(`${url}/docs`);
  const operations = page.locator("#operations details");
  await operations.first().waitFor();
  const register = operations.filter({ has: page.locator("summary code", { hasText: /^\/services\/register$/ }) });
  await register.locator("summary").click();
  const body = { service_id: "page-1", service_name: "page", host: "127.0.0.1", port: 80 };
  await register.locator("textarea").fill(JSON.stringify(body));
  await register.locator("button").click();
  const answer = register.locator("pre");
  await answer.filter({ hasText: "Service registered successfully" }).waitFor();
  if (screenshot) await page.screenshot({ path: screenshot, fullPage: false });
  console.log(JSON.stringify({ count: await operations.count(), answer: await answer.textContent(), elsewhere, errors }));
  await browser.close();
})().catch((error) => { console.error(error); process.exit(1); });
