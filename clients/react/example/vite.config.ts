import react from "@vitejs/plugin-react";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

// The example uses the sources of the package next to it.
export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  plugins: [react()],
  resolve: { alias: { "@usher/react": fileURLToPath(new URL("../src/index.ts", import.meta.url)) } },
});
