import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Attempts } from "../src/attempts.js";
import { UsherClient, UsherError, type ErrorFacts } from "../src/index.js";
import { FakeUsher } from "./server.js";

let usher: FakeUsher;
beforeEach(async () => {
  usher = await new FakeUsher().start();
});
afterEach(async () => {
  await usher.stop();
});

const failure = async (client: UsherClient): Promise<UsherError> => {
  const error: unknown = await client.get("/api/xp").catch((problem: unknown) => problem);
  if (!(error instanceof UsherError)) throw new Error(`${String(error)} is no UsherError`);
  return error;
};

test("a problem keeps its code, status, detail, hint, request id and values", async () => {
  const errors = [{ pointer: "?limit", detail: "must be 1 to 100" }];
  usher.fault("GET /api/xp", { problem: { code: "validation_failed", status: 422, hint: "Correct it.", errors } });
  const error = await failure(new UsherClient({ baseUrl: usher.url }));
  expect(error).toMatchObject({ code: "validation_failed", status: 422, hint: "Correct it.", errors, retryable: false });
  expect(error.message).toBe(error.detail);
  expect(error.requestId).toBe("2f5d382b-b376-42f9-8547-ad8159fc85b2");
});

test("what a proxy answers is no problem document, and keeps its status and request id", async () => {
  usher.fault("GET /api/xp", { html: 502, headers: { "X-Request-ID": "proxy-0001" } });
  const error = await failure(new UsherClient({ baseUrl: usher.url }));
  expect(error).toMatchObject({ code: "invalid_answer", status: 502, requestId: "proxy-0001", retryable: true });
});

test("a page instead of the API is an error too", async () => {
  usher.fault("GET /api/xp", { html: 200 });
  expect(await failure(new UsherClient({ baseUrl: usher.url }))).toMatchObject({ code: "invalid_answer" });
});

test("no answer, a late one and a dropped one are told apart from refusals", async () => {
  usher.fault("GET /api/xp", { hang: true }, { loseAnswer: true });
  expect(await failure(new UsherClient({ baseUrl: usher.url, timeout: 100 }))).toMatchObject({ code: "timeout", status: 0 });
  expect(await failure(new UsherClient({ baseUrl: usher.url }))).toMatchObject({ code: "network_error", retryable: true });
  const nobody = new UsherClient({ baseUrl: "http://127.0.0.1:1" });
  expect(await failure(nobody)).toMatchObject({ code: "network_error", status: 0 });
});

test("whoever ends a call early gets their own reason", async () => {
  usher.fault("GET /api/xp", { hang: true });
  const ending = new AbortController();
  const call = new UsherClient({ baseUrl: usher.url }).get("/api/xp", { signal: ending.signal });
  ending.abort(new Error("the page is left"));
  await expect(call).rejects.toThrow("the page is left");
});

test("a token is asked for at each call and sent instead of cookies", async () => {
  const asked = vi.spyOn(globalThis, "fetch");
  const tokens = ["one", "two"];
  const client = new UsherClient({ baseUrl: `${usher.url}/`, getToken: () => Promise.resolve(tokens.shift() ?? null) });
  for (const _ of [1, 2, 3]) await client.get("/api/xp");
  expect(usher.seen.map(({ headers }) => headers.authorization)).toEqual(["Bearer one", "Bearer two", undefined]);
  expect(asked.mock.lastCall?.[1]?.credentials).toBe("omit");
  await new UsherClient({ baseUrl: usher.url }).get("/api/xp");
  expect(asked.mock.lastCall?.[1]?.credentials).toBe("include");
});

test("a token that cannot be had is an error with its cause", async () => {
  const cause = new Error("no session");
  const error = await failure(new UsherClient({ baseUrl: usher.url, getToken: () => Promise.reject(cause) }));
  expect(error).toMatchObject({ code: "token_unavailable", status: 0, cause });
  expect(usher.seen).toEqual([]);
});

test("values in addresses and queries are escaped", async () => {
  const client = new UsherClient({ baseUrl: usher.url });
  await client.get("/api/courses/{courseId}", { path: { courseId: "a/b?" } }).catch(() => undefined);
  await client.get("/api/courses", { query: { q: "a&b", limit: 5 } }).catch(() => undefined);
  expect(usher.seen[0]?.path).toBe("/api/courses/a%2Fb%3F");
  expect(Object.fromEntries(usher.seen[1]?.query ?? [])).toEqual({ q: "a&b", limit: "5" });
});

test("a key is kept until the outcome is known, however long it takes", async () => {
  const pauses: number[] = [];
  const attempts = new Attempts((milliseconds) => Promise.resolve(void pauses.push(milliseconds)));
  const keys: string[] = [];
  const answer = (facts?: Partial<ErrorFacts>) => (key: string) => {
    keys.push(key);
    const error = { code: "x", detail: "", status: 0, ...facts };
    return facts === undefined ? Promise.resolve("done") : Promise.reject(new UsherError(error));
  };
  for (const facts of [{ status: 0 }, { status: 503, retryAfter: 5 }, { code: "idempotency_in_flight", status: 409 }]) {
    await expect(attempts.run("enrol", answer(facts))).rejects.toMatchObject(facts);
  }
  expect(pauses).toEqual([300, 600, 1200, 2400, 5000, 5000, 5000, 5000, 300, 600, 1200, 2400]);
  await expect(attempts.run("enrol", answer({ status: 429, retryAfter: 3600 }))).rejects.toMatchObject({ status: 429 });
  expect(await attempts.run("enrol", answer())).toBe("done");
  expect(keys).toHaveLength(3 * 5 + 1 + 1);
  expect(new Set(keys).size).toBe(1);
  // An outcome, a success as well as a refusal, is the end of a key.
  await expect(attempts.run("enrol", answer({ status: 404 }))).rejects.toMatchObject({ status: 404 });
  expect(await attempts.run("enrol", answer())).toBe("done");
  expect(new Set(keys).size).toBe(3);
});
