// @vitest-environment jsdom
import { waitFor } from "@testing-library/react";
import { expect, test } from "vitest";
import { usePartnerEnrollments, useXp } from "../src/index.js";
import { render, usher } from "./render.js";
import type { Fault } from "./server.js";

const PARTNER = "GET /api/student/partner-enrollments";
const FAST = { again: 20, poll: 20, silence: 20_000 };
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

test("partner enrolments are looked at again while one is pending, and not afterwards", async () => {
  usher.partner = ["pending", "pending", "pending", "active"];
  const { result } = render(() => usePartnerEnrollments({ pollInterval: 20 }));
  expect(result.current).toMatchObject({ enrollments: [], loading: true, error: null });
  await waitFor(() => expect(result.current.enrollments[0]?.status).toBe("active"));
  expect(result.current.enrollments[0]?.launchUrl).toContain("/api/partner-launch/");
  const looks = usher.calls(PARTNER).length;
  expect(looks).toBe(4);
  await pause(200);
  expect(usher.calls(PARTNER)).toHaveLength(looks);
});

test("what has been pending for long is looked at less often", async () => {
  usher.partner = ["pending"];
  render(() => usePartnerEnrollments({ pollInterval: 20 }));
  // A look or two may have been given up when the page was drawn twice.
  await waitFor(() => expect(usher.calls(PARTNER).length).toBeGreaterThan(42));
  const [before, last] = usher.calls(PARTNER).slice(-2);
  expect((last?.at ?? 0) - (before?.at ?? 0)).toBeGreaterThan(190);
});

test("a failed look is an error with its code, and is tried again by itself where that may help", async () => {
  usher.fault("GET /api/xp", { problem: { code: "database_unavailable", status: 503 } });
  usher.fault(PARTNER, { problem: { code: "not_signed_in", status: 401 } });
  const { result } = render(() => ({ xp: useXp(), partner: usePartnerEnrollments() }));
  await waitFor(() => expect(result.current.xp.xp?.totalXp).toBe(200));
  expect(result.current.partner).toMatchObject({ loading: false, error: { code: "not_signed_in", status: 401 } });
  expect(usher.calls(PARTNER)).toHaveLength(1);
});

test("XP that come from elsewhere are shown by the stream, which all hooks share", async () => {
  const { result, unmount } = render(() => [useXp(), useXp(), usePartnerEnrollments()] as const, { live: FAST });
  await waitFor(() => expect(result.current[0].live).toBe(true));
  usher.award(150);
  await waitFor(() => expect(result.current.slice(0, 2)).toMatchObject([{ xp: { totalXp: 350 } }, { xp: { totalXp: 350 } }]));
  expect(usher.calls("GET /api/me/events")).toHaveLength(1);
  unmount();
  await waitFor(() => expect(usher.streams.size).toBe(0));
});

test("a change during the first load is not missed", async () => {
  usher.fault("GET /api/xp", { late: 300 });
  const { result } = render(useXp, { live: FAST });
  await waitFor(() => expect(result.current.live).toBe(true));
  await waitFor(() => expect(usher.calls("GET /api/xp").length).toBeGreaterThan(0));
  usher.award(50); // The answer that is on its way does not know of it.
  await waitFor(() => expect(result.current.xp?.totalXp).toBe(250));
});

test("a status that changes is read anew", async () => {
  const { result } = render(() => ({ xp: useXp(), partner: usePartnerEnrollments() }), { live: FAST });
  await waitFor(() => expect(result.current.xp.live).toBe(true));
  await waitFor(() => expect(result.current.partner.enrollments[0]?.status).toBe("active"));
  usher.partner = ["completed"];
  usher.tell("enrollment");
  await waitFor(() => expect(result.current.partner.enrollments[0]?.status).toBe("completed"));
});

test("a stream that ends is opened again from where it ended", async () => {
  const { result } = render(useXp, { live: FAST });
  await waitFor(() => expect(result.current.live).toBe(true));
  usher.award(10);
  await waitFor(() => expect(result.current.xp?.totalXp).toBe(210));
  usher.endStreams();
  await waitFor(() => expect(usher.calls("GET /api/me/events")).toHaveLength(2));
  expect(usher.calls("GET /api/me/events")[1]?.headers["last-event-id"]).toBe("1795270622.1.812:812:");
  await waitFor(() => expect(result.current.live).toBe(true));
});

const REFUSALS: [string, Fault][] = [
  ["204", { empty: true }],
  ["503", { problem: { code: "too_many_streams", status: 503 } }],
];

test.each(REFUSALS)("where a stream is refused with %s it polls, and tries a stream again after some polls", async (_, fault) => {
  usher.fault("GET /api/me/events", fault);
  usher.totalXp = 300;
  const { result } = render(useXp, { live: FAST });
  await waitFor(() => expect(usher.calls("GET /api/me/events").length).toBeGreaterThan(2));
  expect(result.current.live).toBe(false);
  usher.award(5);
  await waitFor(() => expect(result.current.xp?.totalXp).toBe(305));
  await waitFor(() => expect(result.current.live).toBe(true));
  const calls = usher.calls("GET /api/me/events");
  expect(calls.map(({ query }) => query.get("poll"))).toEqual([null, "true", "true", "true", "true", null]);
  expect(calls[2]?.headers["last-event-id"]).toMatch(/^1795270622\./);
});

test("silence on a stream counts as its end", async () => {
  const { result } = render(useXp, { live: { ...FAST, silence: 100 } });
  await waitFor(() => expect(result.current.live).toBe(true));
  await waitFor(() => expect(usher.calls("GET /api/me/events").length).toBeGreaterThan(1));
});

test("with a token getter each request and the stream name the token of now", async () => {
  const { result } = render(useXp, { getToken: () => Promise.resolve(`t${usher.totalXp}`), live: FAST });
  await waitFor(() => expect(result.current.live).toBe(true));
  usher.award(50);
  await waitFor(() => expect(result.current.xp?.totalXp).toBe(250));
  expect(usher.calls("GET /api/me/events")[0]?.headers.authorization).toBe("Bearer t200");
  expect(usher.calls("GET /api/xp").at(-1)?.headers.authorization).toBe("Bearer t250");
});
