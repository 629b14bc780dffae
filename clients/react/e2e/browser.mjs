// The example in a real browser, against a real Usher. Told by the environment what to use; says on standard output
// where it is, one word a line, so that its caller can do the part that no page does.
import { build, preview } from "vite";
import { chromium } from "playwright-core";
import { createInterface } from "node:readline";

const { USHER_URL, EXAMPLE_PORT, EXAMPLE_OUT, CHROMIUM, SIGN_IN_LINK, COURSE, LESSONS, PARTNER_COURSE } = process.env;
const lessons = LESSONS.split(",");
const page_url = `http://127.0.0.1:${EXAMPLE_PORT}`;
const caller = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Tell the caller, and wait until it says that it has done its part. */
async function reach(word) {
  console.log(word);
  await caller.next();
}

process.env.VITE_USHER_URL = USHER_URL;
const configFile = new URL("../example/vite.config.ts", import.meta.url).pathname;
const output = { outDir: EXAMPLE_OUT, emptyOutDir: true };
await build({ configFile, logLevel: "warn", build: output });
const server = await preview({
  configFile,
  logLevel: "warn",
  build: output,
  preview: { host: "127.0.0.1", port: Number(EXAMPLE_PORT), strictPort: true },
});
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
try {
  const context = await browser.newContext();
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  const alien = []; // What the page complains about, but for the answers that this test makes it miss.
  page.on("pageerror", (error) => alien.push(String(error)));
  const region = (name) => page.getByRole("region", { name });
  const article = (where, name) => region(where).getByRole("article", { name, exact: true });
  const xp = (total) => page.getByLabel("Total XP").and(page.getByText(total, { exact: true })).waitFor();

  await page.goto(page_url);
  await page.locator('[data-code="not_signed_in"]').waitFor();
  await reach("signed-out");

  await page.goto(SIGN_IN_LINK);
  await page.goto(page_url);
  await xp("0");
  await region("Dashboard").getByText("live").waitFor();
  await reach("signed-in");

  await article("Courses", COURSE).getByRole("button", { name: "Enroll" }).dblclick();
  await article("Courses", COURSE).getByText("Enrolled").waitFor();
  await reach("enrolled");

  // The first lesson's answer is lost on its way back.
  let lost = 0;
  await page.route("**/api/xp/award", async (route) => {
    if (route.request().method() !== "POST" || lost++ > 0) return route.continue();
    await route.fetch();
    await route.abort("connectionreset");
  });
  await article("Courses", COURSE).getByRole("button", { name: "Open" }).click();
  const submit = (name) => article("Lessons", name).getByRole("button").click();
  await submit(lessons[0]);
  await article("Lessons", lessons[0]).getByText("+50 XP, 50 in all, level 0").waitFor();
  await xp("50");
  await submit(lessons[0]);
  await article("Lessons", lessons[0]).getByRole("alert").waitFor();
  await submit(lessons[1]);
  await xp("100");
  await page.getByLabel("Level").and(page.getByText("1", { exact: true })).waitFor();
  await reach("submitted");

  const seat = region("Dashboard").getByRole("listitem").filter({ hasText: PARTNER_COURSE });
  await seat.and(page.locator('[data-status="pending"]')).waitFor();
  await reach("pending");
  await seat.and(page.locator('[data-status="active"]')).waitFor();
  const launch = await seat.getByRole("link", { name: "Start Course" }).getAttribute("href");
  if (!launch.startsWith(`${USHER_URL}/api/partner-launch/`)) throw new Error(`the link leads to ${launch}`);
  await reach("active");

  await xp("350");
  if (lost < 2) throw new Error("no answer was lost");
  if (alien.length > 0) throw new Error(alien.join("\n"));
  console.log("done");
} finally {
  await browser.close();
  await server.close();
}
process.exit(0);
