// @vitest-environment jsdom
import { act, waitFor } from "@testing-library/react";
import { expect, test } from "vitest";
import { useEnrollment, useLessonSubmission, UsherError, useXp, type EnrollmentResult } from "../src/index.js";
import { render, usher } from "./render.js";
import { COURSE, LESSON, USER } from "./server.js";

const ENROLL = "POST /api/enrollments";
const AWARD = "POST /api/xp/award";
const keys = (route = ENROLL): unknown[] => usher.calls(route).map(({ headers }) => headers["idempotency-key"]);

test("enrolling sends seed A's request with a key and says what became of it", async () => {
  const { result } = render(useEnrollment);
  const made = await act(() => result.current.enrollCourse(COURSE));
  expect(made).toEqual({
    success: true,
    message: "Enrolled successfully",
    enrollmentId: "16c06a50-b05c-4fcf-8c93-10b69c8fe333",
  });
  expect(usher.calls(ENROLL)[0]?.body).toEqual({ userId: USER, courseId: COURSE });
  expect(keys()).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/)]);
  await waitFor(() => expect(result.current).toMatchObject({ loading: false, error: null }));
});

test("a double click enrols once, and both get the same answer", async () => {
  const { result } = render(() => [useEnrollment(), useEnrollment()] as const);
  const [one, two] = result.current;
  const click = (): Promise<EnrollmentResult[]> =>
    Promise.all([one.enrollCourse(COURSE), one.enrollCourse(COURSE), two.enrollCourse(COURSE)]);
  const answers = await act(click);
  expect(answers.map(({ success }) => success)).toEqual([true, true, true]);
  expect(keys()).toHaveLength(1);
});

test("after a lost answer the retry has the same key and gets the first one's answer", async () => {
  usher.fault(ENROLL, { loseAnswer: true });
  const { result } = render(useEnrollment);
  const made = await act(() => result.current.enrollCourse(COURSE));
  expect(made.success).toBe(true);
  expect(keys()).toHaveLength(2);
  expect(new Set(keys()).size).toBe(1);
  expect(usher.enrolled.size).toBe(1);
});

test("a request that is still being done is sent again with the same key", async () => {
  usher.fault(ENROLL, { problem: { code: "idempotency_in_flight", status: 409 } });
  const { result } = render(useEnrollment);
  expect((await act(() => result.current.enrollCourse(COURSE))).success).toBe(true);
  expect(new Set(keys()).size).toBe(1);
});

test("429 is tried again once Retry-After is over", async () => {
  usher.fault(ENROLL, { problem: { code: "rate_limited", status: 429 }, headers: { "Retry-After": "1" } });
  const { result } = render(useEnrollment);
  expect((await act(() => result.current.enrollCourse(COURSE))).success).toBe(true);
  const [first, second] = usher.calls(ENROLL).map(({ at }) => at);
  expect((second ?? 0) - (first ?? 0)).toBeGreaterThan(990);
});

test("whoever is told to wait for long is told so at once", async () => {
  usher.fault(ENROLL, { problem: { code: "rate_limited", status: 429 }, headers: { "Retry-After": "3600" } });
  const { result } = render(useEnrollment);
  expect((await act(() => result.current.enrollCourse(COURSE))).success).toBe(false);
  await waitFor(() => expect(result.current.error).toMatchObject({ code: "rate_limited", retryAfter: 3600 }));
  expect(keys()).toHaveLength(1);
});

test("a refusal is no exception but a result, and the error has the problem's code", async () => {
  usher.enrolled.add(COURSE);
  const { result } = render(useEnrollment);
  const refused = await act(() => result.current.enrollCourse(COURSE));
  expect(refused).toEqual({ success: false, message: "Enrolled already." });
  await waitFor(() => expect(result.current.error).toBeInstanceOf(UsherError));
  expect(result.current.error).toMatchObject({
    code: "already_enrolled",
    status: 409,
    detail: "Enrolled already.",
    requestId: "2f5d382b-b376-42f9-8547-ad8159fc85b2",
  });
  // What was refused is a thing of the past: the next click is a new request.
  await act(() => result.current.enrollCourse(COURSE));
  expect(new Set(keys()).size).toBe(2);
});

test("where somebody else is signed in now, who it is gets asked anew at the next click", async () => {
  usher.fault(ENROLL, { problem: { code: "not_yourself", status: 403 } });
  const { result } = render(useEnrollment);
  expect((await act(() => result.current.enrollCourse(COURSE))).success).toBe(false);
  expect((await act(() => result.current.enrollCourse(COURSE))).success).toBe(true);
  expect(usher.calls("GET /api/me")).toHaveLength(2);
});

const both = (): { lesson: ReturnType<typeof useLessonSubmission>; xp: ReturnType<typeof useXp> } => ({
  lesson: useLessonSubmission(),
  xp: useXp(),
});

test("submitting a lesson gives its XP, and what shows XP shows them", async () => {
  const { result } = render(both);
  await waitFor(() => expect(result.current.xp.xp?.totalXp).toBe(200));
  const done = await act(() => result.current.lesson.submitLesson(COURSE, LESSON, 50));
  expect(done).toEqual({ success: true, xpAwarded: 50, totalXp: 250, level: 1, message: "XP awarded successfully" });
  expect(usher.calls(AWARD)[0]?.body).toEqual({ userId: USER, courseId: COURSE, lessonId: LESSON, xpAmount: 50 });
  await waitFor(() => expect(result.current.xp.xp?.totalXp).toBe(250));
});

test("a double click and a lost answer award once", async () => {
  usher.fault(AWARD, { loseAnswer: true });
  const { result } = render(useLessonSubmission);
  const { submitLesson } = result.current;
  const click = (): Promise<unknown[]> =>
    Promise.all([submitLesson(COURSE, LESSON, 50), submitLesson(COURSE, LESSON, 50)]);
  const [one, two] = await act(click);
  expect(one).toMatchObject({ success: true, totalXp: 250 });
  expect(two).toEqual(one);
  expect(usher.totalXp).toBe(250);
  expect(new Set(keys(AWARD)).size).toBe(1);
});

test("without success nothing is awarded, and the total is the one that is known", async () => {
  usher.completed.add(LESSON);
  const { result } = render(both);
  await waitFor(() => expect(result.current.xp.loading).toBe(false));
  const refused = await act(() => result.current.lesson.submitLesson(COURSE, LESSON, 50));
  expect(refused).toEqual({ success: false, xpAwarded: 0, totalXp: 200, level: 1, message: "Done before." });
});
