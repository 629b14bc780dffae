"use client";

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";
import { explain } from "./client.js";
import type { UsherError } from "./errors.js";
import { usherKeys } from "./policy.js";
import { renew, useShared } from "./provider.js";
import type { components } from "./schema.js";
import type { Standing } from "./useXp.js";
import { forgetUser, readUserId } from "./whoami.js";

/**
 * What became of it; `message` can be shown. Without success `xpAwarded` is 0, and `totalXp` and `level` are what is
 * known of them, 0 where nothing is.
 */
export interface LessonResult {
  success: boolean;
  xpAwarded: number;
  totalXp: number;
  level: number;
  message: string;
}

export interface UseLessonSubmission {
  /** Completes the lesson for whoever is signed in. `xpReward` has to be the lesson's. Never rejects. */
  submitLesson: (courseId: string, lessonId: string, xpReward: number) => Promise<LessonResult>;
  loading: boolean;
}

interface Lesson {
  courseId: string;
  lessonId: string;
  xpAmount: number;
}

type AwardAnswer = components["schemas"]["AwardAnswer"];

/** Complete a lesson and get its XP: once, however often it is clicked or has to be sent. */
export function useLessonSubmission(): UseLessonSubmission {
  const { client, attempts } = useShared();
  const queries = useQueryClient();
  const { mutateAsync, isPending } = useMutation<AwardAnswer, UsherError, Lesson>({
    mutationFn: (lesson) =>
      attempts.run(`submit ${lesson.courseId} ${lesson.lessonId} ${lesson.xpAmount}`, async (idempotencyKey) => {
        const userId = await readUserId(queries, client);
        return client.post("/api/xp/award", { body: { userId, ...lesson }, idempotencyKey });
      }),
    retry: false, // `attempts` has done that.
    onError: (problem) => forgetUser(queries, problem),
    // After a failure too: what came back may not be what was done.
    onSettled: () => renew(queries, [usherKeys.xp, usherKeys.courses]),
  });
  const submitLesson = useCallback(
    async (courseId: string, lessonId: string, xpReward: number): Promise<LessonResult> => {
      try {
        const { xpAwarded, totalXp, level, message } = await mutateAsync({ courseId, lessonId, xpAmount: xpReward });
        return { success: true, xpAwarded, totalXp, level, message };
      } catch (problem) {
        const { totalXp = 0, level = 0 } = queries.getQueryData<Standing>(usherKeys.xp) ?? {};
        return { success: false, xpAwarded: 0, totalXp, level, message: explain(problem).message };
      }
    },
    [mutateAsync, queries],
  );
  return { submitLesson, loading: isPending };
}
