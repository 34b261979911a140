/*
 * The process behind `browser.py`: opens a page in Chromium without a window, and calls the functions
 * of `browser_page.js` in it.  Requests and answers are lines of JSON, as those of `bench.mjs`.
 *
 * node browser.mjs CHROMIUM PLAYWRIGHT URL
 */

import readline from 'node:readline';

const [executablePath, playwright, url] = process.argv.slice(2);
const {chromium} = await import(playwright);
// WebGPU computed by the CPU; without JSPI, in which a file runs wholly on WebGPU or not at all.
const args = [
  '--no-sandbox',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--enable-features=Vulkan',
  '--ignore-gpu-blocklist',
];
const browser = await chromium.launch({executablePath, headless: true, args});
const page = await browser.newPage();
page.on('console', (message) => console.error(message.text()));
page.on('pageerror', (error) => console.error(error));
await page.goto(url);
// Not `waitForFunction`, which the page's content security policy forbids.
const isReady = () => page.evaluate(() => globalThis.answer !== undefined);
while (!(await isReady())) await new Promise((resolve) => setTimeout(resolve, 50));

for await (const line of readline.createInterface({input: process.stdin})) {
  const answer = await page
    .evaluate((request) => globalThis.answer(request), JSON.parse(line))
    .catch((error) => ({exception: error.stack}));
  const escape = (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
  process.stdout.write(`${JSON.stringify(answer).replace(/[\u007f-\uffff]/g, escape)}\n`);
}
await browser.close();
