import { usePartnerEnrollments, useXp, type PartnerEnrollment } from "@usher/react";
import type { ReactElement } from "react";

const BADGES: Record<PartnerEnrollment["status"], string> = {
  pending: "Pending",
  active: "Active",
  completed: "Completed",
  failed: "Being looked after",
  suspended: "Paused",
  revoked: "Ended",
};

/** Total XP and level, and the courses at partners (seed C's PartnerEnrollmentsSection). */
export function Dashboard(): ReactElement {
  const { xp, error, live } = useXp();
  const { enrollments, loading } = usePartnerEnrollments();
  return (
    <section aria-label="Dashboard">
      {error && (
        <p role="alert" data-code={error.code}>
          {error.message}
        </p>
      )}
      <p>
        <output aria-label="Total XP">{xp?.totalXp}</output> XP, level <output aria-label="Level">{xp?.level}</output>
        {live && <small> live</small>}
      </p>
      {loading && <p>Loading your courses</p>}
      <ul aria-label="Partner courses">
        {enrollments.map((enrollment) => (
          <li key={enrollment.id} data-status={enrollment.status}>
            {enrollment.course.name}: {BADGES[enrollment.status]}{" "}
            <progress value={enrollment.progressPercentage} max={100} />{" "}
            {enrollment.launchUrl !== null && <a href={enrollment.launchUrl}>Start Course</a>}
          </li>
        ))}
      </ul>
    </section>
  );
}
