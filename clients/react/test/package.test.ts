import { build, type Rolldown } from "vite";
import { expect, test } from "vitest";

/** Return what a bundler keeps of the package for one import; `react` stays outside. */
async function bundle(name: string): Promise<string> {
  const entry = "virtual:entry";
  const made = await build({
    configFile: false,
    logLevel: "silent",
    plugins: [
      {
        name: "entry",
        resolveId: (id) => (id === entry ? `\0${entry}` : null),
        load: (id) => (id === `\0${entry}` ? `export { ${name} } from "/src/index.ts"` : null),
      },
    ],
    build: {
      write: false,
      minify: false,
      rolldownOptions: { input: entry, external: [/^react/, /^@tanstack/], preserveEntrySignatures: "strict" },
    },
  });
  return (made as Rolldown.RolldownOutput).output[0].code;
}

test("what is not used is not bundled", async () => {
  expect(await bundle("useXp")).toContain("function useXp(");
  const error = await bundle("UsherError");
  expect(error).toContain("UsherError = class");
  expect(error).not.toMatch(/\bimport\b|useXp|createParser/);
});
