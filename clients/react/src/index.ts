/** Typed React hooks for Usher. */

export { UsherClient, type CallOptions, type ClientOptions } from "./client.js";
export { UsherError, type ClientCode, type ErrorFacts, type ProblemCode, type ProblemDetail } from "./errors.js";
export type { LiveTimes } from "./live.js";
export { usherKeys } from "./policy.js";
export { UsherProvider, useUsher, type UsherProviderProps } from "./provider.js";
export type { components, paths } from "./schema.js";
export { useEnrollment, type EnrollmentResult, type UseEnrollment } from "./useEnrollment.js";
export { useLessonSubmission, type LessonResult, type UseLessonSubmission } from "./useLessonSubmission.js";
export {
  usePartnerEnrollments,
  type PartnerEnrollment,
  type PartnerEnrollmentsOptions,
  type UsePartnerEnrollments,
} from "./usePartnerEnrollments.js";
export { useXp, type Standing, type UseXp } from "./useXp.js";
