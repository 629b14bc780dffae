/** What goes wrong: every failure is one class, told apart by its code. */

import type { components } from "./schema.js";

/** A code that the API answers, as `/problems/CODE` explains it. */
export type ProblemCode = components["schemas"]["ProblemCode"];

/**
 * What the client finds by itself: no answer came, none came in time, or what came is not the API's; the token could
 * not be had.
 */
export type ClientCode = "network_error" | "timeout" | "invalid_answer" | "token_unavailable";

/** A wrong value; `pointer` is a JSON pointer into the body, or `?name` for a query parameter. */
export type ProblemDetail = components["schemas"]["Detail"];

type ProblemDocument = components["schemas"]["ProblemDocument"];

/** What an `UsherError` is made of. */
export interface ErrorFacts {
  /** Decide by it. A newer API may know codes that this version does not. */
  code: ProblemCode | ClientCode | (string & {});
  /** HTTP status; 0 where no answer came. */
  status: number;
  /** A sentence for people. */
  detail: string;
  /** What to do about it, where the API says so. */
  hint?: string | undefined;
  /** For support: it is in every log line of the request. */
  requestId?: string | undefined;
  /** Seconds after which it may be tried again, where the API says so. */
  retryAfter?: number | undefined;
  errors?: readonly ProblemDetail[];
}

/** An error answer (RFC 9457), or none at all. `message` is `detail`. */
export class UsherError extends Error implements ErrorFacts {
  override readonly name = "UsherError";
  readonly code: ErrorFacts["code"];
  readonly status: number;
  readonly hint: string | undefined;
  readonly requestId: string | undefined;
  readonly retryAfter: number | undefined;
  readonly errors: readonly ProblemDetail[];

  constructor(facts: ErrorFacts, options?: ErrorOptions) {
    super(facts.detail, options);
    this.code = facts.code;
    this.status = facts.status;
    this.hint = facts.hint;
    this.requestId = facts.requestId;
    this.retryAfter = facts.retryAfter;
    this.errors = facts.errors ?? [];
  }

  get detail(): string {
    return this.message;
  }

  /** Whether the same request may get another answer later. It also tells that the first one may have been done. */
  get retryable(): boolean {
    const refused = this.status >= 400 && this.status < 500;
    return !refused || this.status === 408 || this.status === 429 || this.code === "idempotency_in_flight";
  }
}

/** Return the error that an answer tells of; never fails itself. */
export async function readProblem(answer: Response): Promise<UsherError> {
  const problem = await readDocument(answer);
  return new UsherError({
    code: problem?.code ?? "invalid_answer",
    status: answer.status,
    detail: problem?.detail ?? `The server answered ${answer.status} and did not say why.`,
    hint: problem?.hint ?? undefined,
    requestId: problem?.request_id ?? answer.headers.get("X-Request-ID") ?? undefined,
    retryAfter: readRetryAfter(answer.headers.get("Retry-After")),
    errors: problem?.errors ?? [],
  });
}

async function readDocument(answer: Response): Promise<Partial<ProblemDocument> | undefined> {
  if (!answer.headers.get("Content-Type")?.startsWith("application/problem+json")) return undefined;
  try {
    return (await answer.json()) as Partial<ProblemDocument>;
  } catch {
    return undefined;
  }
}

/** Return seconds; the header may hold them, or a date. */
function readRetryAfter(value: string | null): number | undefined {
  if (value === null) return undefined;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}
