// Drives Chromium for the tests of the page: answers lines of JSON on standard input.
//
//     node browser.mjs CHROMIUM PLAYWRIGHT_CORE
import {createInterface} from 'node:readline';

const [chromiumPath, playwright] = process.argv.slice(2);
const {chromium} = await import(playwright);
const GPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan'];
const browser = await chromium.launch({
  executablePath: chromiumPath,
  args: ['--no-sandbox', '--ignore-gpu-blocklist', ...GPU],
});
let page = null;
let problems = [];

async function openWindow() {
  await page?.context().close();
  page = await (await browser.newContext()).newPage();
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(message.text());
  });
}

const calls = {
  /** Opens an address; of it all errors and violations of its policy are noted. */
  async open({url, isFirstTime}) {
    if (page === null || isFirstTime) await openWindow();
    problems = [];
    await calls.look({});
    await page.goto(url);
  },
  /** Sets the size of the window, and what the user prefers. */
  async look({width = 1180, height = 900, scheme = 'light', motion = 'no-preference'}) {
    await page.setViewportSize({width, height});
    await page.emulateMedia({colorScheme: scheme, reducedMotion: motion});
  },
  reload: () => page.reload(),
  evaluate: ({code}) => page.evaluate(code),
  fill: ({selector, text}) => page.fill(selector, text),
  type: ({selector, text}) => page.locator(selector).pressSequentially(text, {delay: 5}),
  press: ({key}) => page.keyboard.press(key),
  click: ({selector}) => page.click(selector),
  select: ({selector, index}) => page.selectOption(selector, {index}),
  choose: ({selector, path}) => page.setInputFiles(selector, path),
  screenshot: ({path}) => page.screenshot({path, fullPage: true}).then(() => true),
  async accessibility() {
    const session = await page.context().newCDPSession(page);
    const {nodes} = await session.send('Accessibility.getFullAXTree');
    return nodes
      .filter(({ignored}) => !ignored)
      .map(({role, name}) => [role?.value, name?.value ?? '']);
  },
  problems: () => problems,
};

for await (const line of createInterface({input: process.stdin})) {
  const {call, arguments: given} = JSON.parse(line);
  let answer;
  try {
    answer = {result: (await calls[call](given)) ?? null};
  } catch (error) {
    answer = {exception: String(error)};
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
