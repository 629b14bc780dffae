/** The hooks' shapes are the seeds', letter by letter. */

import { expectTypeOf, test } from "vitest";
import {
  useEnrollment,
  useLessonSubmission,
  usePartnerEnrollments,
  useXp,
  type components,
  type UsherError,
} from "../src/index.js";

type EnrollmentResult = { success: boolean; message: string; enrollmentId?: string };
type LessonResult = { success: boolean; xpAwarded: number; totalXp: number; level: number; message: string };

test("useEnrollment is seed A's", () => {
  expectTypeOf(useEnrollment).parameters.toEqualTypeOf<[]>();
  expectTypeOf(useEnrollment).returns.toEqualTypeOf<{
    enrollCourse: (courseId: string) => Promise<EnrollmentResult>;
    loading: boolean;
    error: UsherError | null;
  }>();
});

test("useLessonSubmission is seed A's", () => {
  expectTypeOf(useLessonSubmission).parameters.toEqualTypeOf<[]>();
  expectTypeOf(useLessonSubmission).returns.toEqualTypeOf<{
    submitLesson: (courseId: string, lessonId: string, xpReward: number) => Promise<LessonResult>;
    loading: boolean;
  }>();
});

test("usePartnerEnrollments has what seed C's dashboard shows, as the API types it", () => {
  type Shown = ReturnType<typeof usePartnerEnrollments>["enrollments"][number];
  expectTypeOf<Shown>().toEqualTypeOf<components["schemas"]["PartnerEnrollment"]>();
  expectTypeOf<Shown["status"]>().toEqualTypeOf<"pending" | "active" | "completed" | "failed" | "suspended" | "revoked">();
  expectTypeOf<Shown["launchUrl"]>().toEqualTypeOf<string | null>();
});

test("an error's code is typed, and open to newer ones", () => {
  expectTypeOf<"already_enrolled">().toExtend<UsherError["code"]>();
  expectTypeOf<ReturnType<typeof useXp>["error"]>().toEqualTypeOf<UsherError | null>();
});
