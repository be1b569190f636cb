// A real browser for the tests: the system's Chromium, driven by `playwright-core`.
//
//   node driver.mjs PACKAGES CHROMIUM
//
// It says `ready`, then takes orders, a line of JSON each, on standard input, and answers each with a
// line: `{"is": …}`, or `{"error": "why"}`. Each order names a profile: cookies, cache and a tab of its own.
//
//   {"do": "profile", "name": "alice", "options": {}}        opens one; options of Playwright's `newContext`
//   {"do": "go", "name": "alice", "url": "http://…"}         {"status", "url"}, when it is loaded
//   {"do": "reload"}, {"do": "back"}                         the same
//   {"do": "click", "at": "button"}                          as a person would; waits until it can be clicked
//   {"do": "fill", "at": "[name=login]", "with": "alice"}
//   {"do": "wait", "for": "h1 >> text=Jobs"}                 until it is seen
//   {"do": "shown"}                                          {"url", "title", "text"}
//   {"do": "cookies"}                                        with their flags
//   {"do": "run", "script": "document.title"}                its value; no policy of the page holds for it
//   {"do": "screenshot", "path": "/…/jobs.png"}              the whole page
//   {"do": "reported"}                                       what went wrong since the last time, see `watch`
//
// It reaches this machine's loopback alone. It ends with its standard input, and the browser with it.

import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// How long the browser may take for anything, in milliseconds. The tests wait longer for an answer.
const DEADLINE_MS = 30_000;

const [, , packages, chromium] = process.argv;
const installed = createRequire(`${packages}/`);
const { default: playwright } = await import(pathToFileURL(installed.resolve('playwright-core')));

const browser = await playwright.chromium.launch({
  executablePath: chromium,
  timeout: DEADLINE_MS,
  // Root's processes can't be put into Chromium's sandbox.
  chromiumSandbox: process.getuid() !== 0,
  args: [
    // Whatever a page names, no other machine is asked, nor a resolver.
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
    '--no-proxy-server',
  ],
  // "Back" shows what people see: a page that was kept is shown again.
  ignoreDefaultArgs: ['--disable-back-forward-cache'],
});

const profiles = new Map();

async function open({ name, options }) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(DEADLINE_MS);
  const page = await context.newPage();
  const profile = { context, page, reports: [] };
  await watch(profile);
  profiles.set(name, profile);
}

// What may have gone wrong: `csp`, what the page's policy refused; `error`, what a script threw;
// `console`, what the browser or a script complained of; `outside`, what another machine was asked for.
async function watch(profile) {
  const { context, page, reports } = profile;
  const report = (kind, text) => reports.push({ kind, text, page: page.url() });
  profile.devtools = await context.newCDPSession(page);
  profile.devtools.on('Audits.issueAdded', ({ issue }) => {
    const refused = issue.details.contentSecurityPolicyIssueDetails;
    if (refused) report('csp', `${refused.violatedDirective} ${refused.blockedURL ?? ''}`.trim());
  });
  await profile.devtools.send('Audits.enable');
  page.on('pageerror', (error) => report('error', String(error)));
  page.on('console', (it) => it.type() === 'error' && report('console', it.text()));
  context.on('request', (it) => {
    const { protocol, hostname } = new URL(it.url());
    const isHere = ['127.0.0.1', 'localhost', '[::1]'].includes(hostname);
    if (['http:', 'https:', 'ws:', 'wss:'].includes(protocol) && !isHere) report('outside', it.url());
  });
}

const came = (response, page) => ({ status: response?.status() ?? null, url: page.url() });

const orders = {
  go: async ({ page }, { url }) => came(await page.goto(url), page),
  reload: async ({ page }) => came(await page.reload(), page),
  back: async ({ page }) => came(await page.goBack(), page),
  click: ({ page }, { at }) => page.locator(at).click(),
  fill: ({ page }, order) => page.locator(order.at).fill(order.with),
  wait: ({ page }, order) => page.locator(order.for).first().waitFor(),
  shown: async ({ page }) => ({
    url: page.url(),
    title: await page.title(),
    text: await page.locator('body').innerText(),
  }),
  cookies: ({ context }) => context.cookies(),
  run: ({ page }, { script }) => page.evaluate(script),
  screenshot: ({ page }, { path }) => page.screenshot({ path, fullPage: true }),
  reported: async ({ devtools, reports }) => {
    // What the page did before is told before this is answered.
    await devtools.send('Runtime.evaluate', { expression: '0' });
    return reports.splice(0);
  },
};

async function obey(order) {
  if (order.do === 'profile') return open(order);
  const answer = await orders[order.do](profiles.get(order.name), order);
  return order.do === 'screenshot' ? null : answer;
}

console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { is: (await obey(JSON.parse(line))) ?? null };
  } catch (error) {
    answer = { error: String(error) };
  }
  console.log(JSON.stringify(answer));
}
await browser.close();
process.exit(0);
