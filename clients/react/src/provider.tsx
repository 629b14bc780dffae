"use client";

import { useQueryClient, type QueryClient } from "@tanstack/react-query";
import { createContext, useContext, useInsertionEffect, useMemo, useRef, useSyncExternalStore } from "react";
import type { ReactElement, ReactNode } from "react";
import { Attempts } from "./attempts.js";
import { UsherClient, type ClientOptions } from "./client.js";
import { Live, LIVE_TIMES, type LiveEventType, type LiveTimes } from "./live.js";
import { usherKeys } from "./policy.js";

/** What the hooks below it share. */
interface Shared {
  client: UsherClient;
  attempts: Attempts;
  live: Live | null;
}

/** Where Usher is and who is calling. */
export interface UsherProviderProps extends ClientOptions {
  /** False: no live updates. An object: other times than the usual ones. */
  live?: boolean | Partial<LiveTimes>;
  children?: ReactNode;
}

const UsherContext = createContext<Shared | null>(null);
// What has to be read anew after a change.
const CHANGED: Record<LiveEventType, readonly (readonly string[])[]> = {
  state: [usherKeys.xp, usherKeys.partnerEnrollments, usherKeys.courses],
  xp: [usherKeys.xp],
  level: [],
  enrollment: [usherKeys.partnerEnrollments, usherKeys.courses],
};

/** Makes the hooks work below it. Put it inside TanStack Query's `QueryClientProvider`. */
export function UsherProvider({ baseUrl, getToken, timeout, live = true, children }: UsherProviderProps): ReactElement {
  const queries = useQueryClient();
  const readToken = useRef(getToken);
  useInsertionEffect(() => {
    readToken.current = getToken;
  });
  const withToken = getToken !== undefined;
  const [on, times] = [live !== false, JSON.stringify(live)];
  const shared = useMemo<Shared>(() => {
    const client = new UsherClient({
      ...(baseUrl === undefined ? {} : { baseUrl }),
      ...(timeout === undefined ? {} : { timeout }),
      getToken: withToken ? () => readToken.current?.() ?? null : undefined,
    });
    const given = JSON.parse(times) as boolean | Partial<LiveTimes>;
    const chosen = { ...LIVE_TIMES, ...(typeof given === "object" ? given : {}) };
    const tell = (type: LiveEventType): void => renew(queries, CHANGED[type]);
    return { client, attempts: new Attempts(), live: on ? new Live(client, tell, chosen) : null };
  }, [baseUrl, timeout, withToken, on, times, queries]);
  return <UsherContext.Provider value={shared}>{children}</UsherContext.Provider>;
}

/** Return the client, for what the hooks do not cover. */
export function useUsher(): UsherClient {
  return useShared().client;
}

/** Return what the provider made; throws without one. */
export function useShared(): Shared {
  const shared = useContext(UsherContext);
  if (shared === null) throw new Error("There is no <UsherProvider> above this component.");
  return shared;
}

/** Keep live updates on while the component is there; returns whether they are streamed just now. */
export function useLive(): boolean {
  const { live } = useShared();
  return useSyncExternalStore(live?.subscribe ?? subscribeToNothing, live?.isStreaming ?? no, no);
}

/** Have what is shown read anew, and what is not shown when it is shown next. */
export function renew(queries: QueryClient, keys: readonly (readonly string[])[]): void {
  for (const queryKey of keys) void renewOne(queries, queryKey);
}

/** A first load that is under way may have been answered before the change, and would be let be: it is followed by another. */
async function renewOne(queries: QueryClient, queryKey: readonly string[]): Promise<void> {
  const loading = queries.isFetching({ queryKey, predicate: ({ state }) => state.data === undefined });
  await queries.invalidateQueries({ queryKey });
  if (loading > 0) await queries.invalidateQueries({ queryKey });
}

const no = (): boolean => false;
const subscribeToNothing = (): (() => void) => () => undefined;
