"use client";

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";
import { explain } from "./client.js";
import type { UsherError } from "./errors.js";
import { usherKeys } from "./policy.js";
import { renew, useShared } from "./provider.js";
import type { components } from "./schema.js";
import { forgetUser, readUserId } from "./whoami.js";

/** What became of it; `message` can be shown. */
export interface EnrollmentResult {
  success: boolean;
  message: string;
  enrollmentId?: string;
}

export interface UseEnrollment {
  /** Enrols whoever is signed in. Never rejects. */
  enrollCourse: (courseId: string) => Promise<EnrollmentResult>;
  loading: boolean;
  /** Why the last try failed; null otherwise. */
  error: UsherError | null;
}

type OwnEnrollment = components["schemas"]["OwnEnrollment"];

/** Enrol in one of the provider's own courses: once, however often it is clicked or has to be sent. */
export function useEnrollment(): UseEnrollment {
  const { client, attempts } = useShared();
  const queries = useQueryClient();
  const { mutateAsync, isPending, error } = useMutation<OwnEnrollment, UsherError, string>({
    mutationFn: (courseId) =>
      attempts.run(`enroll ${courseId}`, async (idempotencyKey) => {
        const userId = await readUserId(queries, client);
        return client.post("/api/enrollments", { body: { userId, courseId }, idempotencyKey });
      }),
    retry: false, // `attempts` has done that.
    onError: (problem) => forgetUser(queries, problem),
    // After a failure too: what came back may not be what was done.
    onSettled: () => renew(queries, [usherKeys.courses]),
  });
  const enrollCourse = useCallback(
    async (courseId: string): Promise<EnrollmentResult> => {
      try {
        const { id } = await mutateAsync(courseId);
        return { success: true, message: "Enrolled successfully", enrollmentId: id };
      } catch (problem) {
        return { success: false, message: explain(problem).message };
      }
    },
    [mutateAsync],
  );
  return { enrollCourse, loading: isPending, error };
}
