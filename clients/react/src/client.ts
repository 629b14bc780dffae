/** The one door to the API: addresses, who is calling, time-outs, errors. Knows no React. */

import { readProblem, UsherError } from "./errors.js";
import type { paths } from "./schema.js";

type Method = "get" | "post" | "put" | "patch";
type Operation = { parameters: object; responses: object };
type PathsOf<M extends Method> = {
  [P in keyof paths]: paths[P] extends Record<M, Operation> ? P : never;
}[keyof paths];
type OperationOf<P, M extends Method> = P extends keyof paths ? (paths[P] extends Record<M, infer O> ? O : never) : never;
type JsonOf<R> = R extends { content: { "application/json": infer Body } } ? Body : never;
/** What an operation answers when it has done what was asked. */
type Answer<O> = O extends { responses: infer R } ? JsonOf<R[Extract<keyof R, 200 | 201>]> : never;
type PathValues<O> = O extends { parameters: { path: infer V } } ? { path: V } : { path?: never };
type QueryOf<O> = O extends { parameters: { query?: infer V } } ? V : never;
type QueryValues<O> = QueryOf<O> extends object | undefined ? { query?: QueryOf<O> } : { query?: never };
type BodyValue<O> = O extends { requestBody: { content: { "application/json": infer B } } } ? { body: B } : { body?: never };
type Call<O> = PathValues<O> & QueryValues<O> & BodyValue<O> & CallOptions;
type Arguments<O> = Record<never, never> extends Call<O> ? [call?: Call<O>] : [call: Call<O>];

/** What may be said with any call. */
export interface CallOptions {
  /** Ends the call early; it then fails with the signal's own reason. */
  signal?: AbortSignal;
  headers?: Record<string, string>;
  /** `Idempotency-Key`: the same again gets the same answer, and nothing is done twice. */
  idempotencyKey?: string;
}

/** Who asks whom. */
export interface ClientOptions {
  /** Where Usher is, such as `https://usher.example.com`; left out, it is where the page comes from. */
  baseUrl?: string;
  /** Returns a bearer token, or null for nobody. Left out, the session cookie says who is calling. */
  getToken?: (() => string | null | Promise<string | null>) | undefined;
  /** Milliseconds after which a call without an answer has failed. */
  timeout?: number;
}

interface Loose extends CallOptions {
  path?: object | undefined;
  query?: unknown;
  body?: unknown;
}

const TIMEOUT = 15_000;

/** A typed client; every failure is an `UsherError`. */
export class UsherClient {
  readonly #baseUrl: string;
  readonly #getToken: ClientOptions["getToken"];
  readonly #timeout: number;

  constructor({ baseUrl = "", getToken, timeout = TIMEOUT }: ClientOptions = {}) {
    this.#baseUrl = baseUrl.replace(/\/+$/, "");
    this.#getToken = getToken;
    this.#timeout = timeout;
  }

  /** Read something: `client.get("/api/courses/{courseId}", { path: { courseId } })`. */
  get<P extends PathsOf<"get">>(path: P, ...[call]: Arguments<OperationOf<P, "get">>): Promise<Answer<OperationOf<P, "get">>> {
    return this.#ask("get", path, call);
  }

  /** Have something done. */
  post<P extends PathsOf<"post">>(path: P, ...[call]: Arguments<OperationOf<P, "post">>): Promise<Answer<OperationOf<P, "post">>> {
    return this.#ask("post", path, call);
  }

  /** Replace something. */
  put<P extends PathsOf<"put">>(path: P, ...[call]: Arguments<OperationOf<P, "put">>): Promise<Answer<OperationOf<P, "put">>> {
    return this.#ask("put", path, call);
  }

  /** Change something. */
  patch<P extends PathsOf<"patch">>(path: P, ...[call]: Arguments<OperationOf<P, "patch">>): Promise<Answer<OperationOf<P, "patch">>> {
    return this.#ask("patch", path, call);
  }

  /**
   * Open the stream of the caller's events, from after `lastEventId`. It lasts until the signal or the server ends it.
   * Throws where there is none: 204 says that the server holds as many as it can.
   */
  async openEvents(lastEventId: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (lastEventId) headers["Last-Event-ID"] = lastEventId;
    const answer = await this.#send("get", "/api/me/events", { headers }, signal);
    if (answer.body === null || !answer.headers.get("Content-Type")?.startsWith("text/event-stream")) {
      throw new UsherError({ code: "invalid_answer", status: answer.status, detail: "This is no event stream." });
    }
    return answer.body;
  }

  async #ask<T>(method: Method, path: string, call: Loose = {}): Promise<T> {
    const late = AbortSignal.timeout(this.#timeout);
    const signal = call.signal === undefined ? late : AbortSignal.any([late, call.signal]);
    try {
      const answer = await this.#send(method, path, call, signal);
      return (await answer.json()) as T;
    } catch (error) {
      if (call.signal?.aborted) throw call.signal.reason;
      throw explain(error);
    }
  }

  /** Return an answer that is none of an error; what is in it has not been read yet. */
  async #send(method: Method, path: string, call: Loose, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { Accept: "application/json", ...call.headers };
    if (call.idempotencyKey !== undefined) headers["Idempotency-Key"] = call.idempotencyKey;
    if (call.body !== undefined) headers["Content-Type"] = "application/json";
    const token = await this.#readToken();
    if (token !== null) headers["Authorization"] = `Bearer ${token}`;
    const answer = await fetch(this.#baseUrl + fill(path, call.path) + queryString(call.query), {
      method: method.toUpperCase(),
      headers,
      credentials: this.#getToken === undefined ? "include" : "omit",
      cache: "no-store",
      signal,
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
    });
    if (!answer.ok) throw await readProblem(answer);
    return answer;
  }

  async #readToken(): Promise<string | null> {
    try {
      return (await this.#getToken?.()) ?? null;
    } catch (cause) {
      const detail = "The sign-in could not be read.";
      throw new UsherError({ code: "token_unavailable", status: 0, detail }, { cause });
    }
  }
}

/** Return the failure that an exception of fetch means. */
export function explain(error: unknown): UsherError {
  if (error instanceof UsherError) return error;
  const name = error instanceof Error ? error.name : "";
  if (name === "TimeoutError") {
    return new UsherError({ code: "timeout", status: 0, detail: "The server did not answer in time." }, { cause: error });
  }
  if (name === "SyntaxError") {
    return new UsherError({ code: "invalid_answer", status: 0, detail: "The answer is not JSON." }, { cause: error });
  }
  return new UsherError({ code: "network_error", status: 0, detail: "The server cannot be reached." }, { cause: error });
}

function fill(path: string, values: object = {}): string {
  const known = new Map(Object.entries(values));
  return path.replace(/{(\w+)}/g, (_, name: string) => encodeURIComponent(String(known.get(name))));
}

function queryString(values: unknown): string {
  const given = Object.entries(values ?? {}).filter(([, value]) => value !== undefined && value !== null);
  const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  return given.length > 0 ? `?${query}` : "";
}
