// Opens a page in the installed Chromium and prints, as JSON, what a person and a checker would see.
// Usage: node look.js MODULES PAGE CHROMIUM [FOLDER-FOR-SCREENSHOTS]
const path = require("path");
const [modules, page, executablePath, shots] = process.argv.slice(2);
const { chromium } = require(path.join(modules, "playwright-core"));
const axe = require.resolve(path.join(modules, "axe-core", "axe.min.js"));

const VIEWS = [
  { name: "desktop", width: 1280, height: 800 },
  { name: "phone", width: 390, height: 844 },
];
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

async function look(browser, view, colorScheme) {
  const context = await browser.newContext({
    viewport: { width: view.width, height: view.height }, colorScheme, bypassCSP: true,
  });
  const tab = await context.newPage();
  const seen = { view: view.name, scheme: colorScheme, console: [], requests: [] };
  tab.on("console", (message) => seen.console.push(message.text()));
  tab.on("pageerror", (error) => seen.console.push(String(error)));
  tab.on("request", (request) => seen.requests.push(request.url()));
  await tab.goto("file://" + path.resolve(page));
  const name = (part) => path.join(shots, `${view.name}-${colorScheme}-${part}.png`);
  if (shots) {
    await tab.screenshot({ path: name("first") });
    await tab.screenshot({ path: name("all"), fullPage: true });
  }
  seen.first = await tab.evaluate(() => {
    const words = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const range = document.createRange();
      range.selectNodeContents(walker.currentNode);
      const box = range.getBoundingClientRect();
      if (box.width && box.top >= 0 && box.bottom <= innerHeight) words.push(walker.currentNode.data.trim());
    }
    return words.join(" ");
  });
  seen.overflow = await tab.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  await tab.evaluate(() => document.querySelectorAll("details").forEach((each) => (each.open = true)));
  seen.charts = await tab.evaluate(() =>
    [...document.querySelectorAll("svg")].map((svg) => ({
      label: svg.getAttribute("aria-label"),
      marks: svg.querySelectorAll("path, use, line, polyline").length,
      width: svg.getBoundingClientRect().width,
      height: svg.getBoundingClientRect().height,
    })));
  // Texts of one drawing that lie on one another, or outside of it.
  seen.collisions = await tab.evaluate(() => {
    const found = [];
    for (const svg of document.querySelectorAll("svg")) {
      const frame = svg.getBoundingClientRect();
      const boxes = [...svg.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
      boxes.forEach(([one, a], index) => {
        if (a.left < frame.left - 1 || a.right > frame.right + 1) found.push(`${svg.getAttribute("aria-label")}: ${one} leaves the drawing`);
        for (const [other, b] of boxes.slice(index + 1)) {
          const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
          const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
          if (across > 1 && down > 4) found.push(`${svg.getAttribute("aria-label")}: ${one} on ${other}`);
        }
      });
    }
    return found;
  });
  await tab.addScriptTag({ path: axe });
  const result = await tab.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  seen.violations = result.violations.map((each) =>
    `${each.id}: ${each.help} (${each.nodes.length}): ${each.nodes[0].html.slice(0, 160)}`);
  await context.close();
  return seen;
}

(async () => {
  const browser = await chromium.launch({ executablePath, headless: true, args: FLAGS });
  const seen = [];
  for (const view of VIEWS) for (const scheme of ["light", "dark"]) seen.push(await look(browser, view, scheme));
  await browser.close();
  process.stdout.write(JSON.stringify(seen));
})().catch((error) => { process.stderr.write(String(error)); process.exit(1); });
