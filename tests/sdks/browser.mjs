// Bundles a page's script, opens the page in Chromium, and prints what the page asked for.
//
// Reads a JSON object from the first line of standard input; the browser stays open until standard input is closed.
//   chromium  the browser's program
//   script    the page's module; it sets `window.done` when it has nothing more to do, and may leave word in `window.told`
//   leave     how the page ends once it is done: "navigate", "close", or not at all
// The page's origin is not that of the API, as where a shop sends to a server of its own.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const asked = JSON.parse((await lines.next()).value);
const bundle = await build({
  bundle: true,
  format: "esm",
  logLevel: "error",
  stdin: { contents: asked.script, resolveDir: process.cwd() },
  write: false,
});
const pages = { "/": '<!doctype html><title>Shop</title><script type="module" src="/page.js"></script>', "/next": "next" };
const server = createServer((request, response) => {
  const isScript = request.url === "/page.js";
  response.writeHead(200, { "content-type": isScript ? "text/javascript" : "text/html" });
  response.end(isScript ? bundle.outputFiles[0].text : pages[request.url]);
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const origin = `http://localhost:${server.address().port}`;

const browser = await chromium.launch({
  args: ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
  chromiumSandbox: false, // which the root of a container cannot have
  executablePath: asked.chromium,
});
try {
  const profile = await browser.newContext();
  await profile.newPage(); // another tab: a profile without one ends, with all that it is sending
  const page = await profile.newPage();
  const requests = [];
  const errors = [];
  page.on("request", (request) => {
    if (!request.url().startsWith(origin)) {
      requests.push({ body: request.postData(), headers: request.headers(), method: request.method(), url: request.url() });
    }
  });
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(origin);
  await page.waitForFunction("window.done", null, { timeout: 20_000 });
  const told = await page.evaluate("window.told ?? null");
  if (asked.leave === "navigate") await page.goto(`${origin}/next`);
  if (asked.leave === "close") await page.close({ runBeforeUnload: true });
  console.log(JSON.stringify({ errors, requests, told }));
  await lines.next(); // the browser goes on with what the page left to it
} finally {
  await browser.close();
  server.close();
}
