/** When a failed request is tried again, and by which names TanStack Query knows what was read. */

import type { UsherError } from "./errors.js";

const MOST_RETRIES = 4;
// Seconds. Whoever is told to wait longer is told so at once.
const LONGEST_WAIT = 30;
// Milliseconds before the first retry; each further one waits twice as long.
const FIRST_PAUSE = 300;

/** Everything that the hooks read. `queryClient.removeQueries({ queryKey: usherKeys.all })` when somebody signs out. */
export const usherKeys = {
  all: ["usher"],
  me: ["usher", "me"],
  xp: ["usher", "xp"],
  partnerEnrollments: ["usher", "partner-enrollments"],
  /** Not read by a hook: name your own queries of courses and lessons so, and they are renewed with the rest. */
  courses: ["usher", "courses"],
} as const;

/** For what is read, by TanStack Query, and for what is done, by `Attempts`. */
export const retrying = {
  retry: (failures: number, error: UsherError): boolean =>
    error.retryable && failures < MOST_RETRIES && (error.retryAfter ?? 0) <= LONGEST_WAIT,
  retryDelay: (failures: number, error: UsherError): number =>
    error.retryAfter === undefined ? FIRST_PAUSE * 2 ** failures : error.retryAfter * 1000,
};
