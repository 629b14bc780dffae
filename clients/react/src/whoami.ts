/** Who is signed in: seed A's requests name the user, and the API checks the name against the session. */

import type { QueryClient } from "@tanstack/react-query";
import type { UsherClient } from "./client.js";
import { UsherError } from "./errors.js";
import { usherKeys } from "./policy.js";

const GONE = new Set<string>(["not_signed_in", "not_yourself"]);

/** Return the caller's user id. It is asked for once. */
export async function readUserId(queries: QueryClient, client: UsherClient): Promise<string> {
  const me = await queries.fetchQuery({
    queryKey: usherKeys.me,
    queryFn: () => client.get("/api/me"),
    staleTime: Infinity,
  });
  return me.id;
}

/** Forget who was signed in, where an error says that it is somebody else now, or nobody. */
export function forgetUser(queries: QueryClient, error: UsherError): void {
  if (GONE.has(error.code)) queries.removeQueries({ queryKey: usherKeys.me });
}
