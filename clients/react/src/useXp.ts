"use client";

import { useQuery } from "@tanstack/react-query";
import type { UsherError } from "./errors.js";
import { retrying, usherKeys } from "./policy.js";
import { useLive, useShared } from "./provider.js";
import type { components } from "./schema.js";

/** Where a student stands. `nextLevelXp` is what the whole level takes, null on the last one. */
export type Standing = components["schemas"]["StandingAnswer"];

export interface UseXp {
  /** Undefined until it is known. */
  xp: Standing | undefined;
  loading: boolean;
  /** Why the last look failed; what was known before stays. */
  error: UsherError | null;
  /** Changes are streamed just now; otherwise they are polled for. */
  live: boolean;
}

/** The caller's total and level, kept up to date whatever changes them. */
export function useXp(): UseXp {
  const { client } = useShared();
  const live = useLive();
  const { data, isPending, error } = useQuery<Standing, UsherError>({
    queryKey: usherKeys.xp,
    queryFn: ({ signal }) => client.get("/api/xp", { signal }),
    ...retrying,
  });
  return { xp: data, loading: isPending, error, live };
}
