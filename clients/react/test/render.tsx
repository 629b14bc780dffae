import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, configure, renderHook, type RenderHookResult } from "@testing-library/react";
import { StrictMode, type ReactElement, type ReactNode } from "react";
import { afterEach, beforeEach } from "vitest";
import { UsherProvider, type UsherProviderProps } from "../src/index.js";
import { FakeUsher } from "./server.js";

// A slow machine is no failure.
configure({ asyncUtilTimeout: 15_000 });

/** A server for each test. */
export let usher: FakeUsher;

beforeEach(async () => {
  usher = await new FakeUsher().start();
});
afterEach(async () => {
  cleanup();
  await usher.stop();
});

/** Render hooks as an application does. Without a word, without live updates. */
export function render<T>(hooks: () => T, props: UsherProviderProps = {}): RenderHookResult<T, unknown> {
  const queries = new QueryClient();
  const wrapper = ({ children }: { children: ReactNode }): ReactElement => (
    <StrictMode>
      <QueryClientProvider client={queries}>
        <UsherProvider baseUrl={usher.url} live={false} {...props}>
          {children}
        </UsherProvider>
      </QueryClientProvider>
    </StrictMode>
  );
  return renderHook(hooks, { wrapper });
}
