import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const modules = (path: string): string => fileURLToPath(new URL(`${path}node_modules/`, import.meta.url));
const base = { environment: "node", testTimeout: 20_000 } as const;

// Everything with React 19, and what renders hooks with React 18 as well.
export default defineConfig({
  test: {
    pool: "threads",
    // They wait more than they work.
    maxWorkers: 4,
    projects: [
      {
        test: {
          ...base,
          name: "react-19",
          include: ["test/**/*.test.{ts,tsx}"],
          // `USHER_TYPES=checked`: the caller's own run of tsc covers them.
          typecheck: { enabled: process.env["USHER_TYPES"] !== "checked", include: ["test/**/*.test-d.ts"], tsconfig: "./tsconfig.json" },
        },
      },
      {
        resolve: {
          alias: [
            { find: /^(react|react-dom)(?=$|\/)/, replacement: `${modules("./test/react-18/")}$1` },
            { find: /^@testing-library\/react$/, replacement: `${modules("./")}@testing-library/react/dist/@testing-library/react.esm.js` },
          ],
        },
        test: {
          ...base,
          name: "react-18",
          include: ["test/**/*.test.tsx"],
          // Through the alias, these get the same React as the hooks do.
          server: { deps: { inline: [/@tanstack/, /@testing-library/] } },
        },
      },
    ],
  },
});
