import { useEnrollment, type components } from "@usher/react";
import { useState, type ReactElement } from "react";

interface CourseCardProps {
  course: components["schemas"]["CourseSummary"];
  onOpen: () => void;
}

/** A course with its enrolment button (seed A's CourseCard). */
export function CourseCard({ course, onOpen }: CourseCardProps): ReactElement {
  const { enrollCourse, loading, error } = useEnrollment();
  const [enrolled, setEnrolled] = useState(course.enrollment !== null);

  const handleEnroll = async (): Promise<void> => {
    const result = await enrollCourse(course.id);
    if (result.success) {
      setEnrolled(true);
    }
  };

  return (
    <article aria-label={course.title}>
      <h3>{course.title}</h3>
      <p>{course.lessonCount} lessons</p>
      {enrolled ? (
        <p>
          Enrolled <button onClick={onOpen}>Open</button>
        </p>
      ) : (
        <button onClick={() => void handleEnroll()} aria-busy={loading}>
          Enroll
        </button>
      )}
      {error && (
        <p role="alert" data-code={error.code}>
          {error.message}
        </p>
      )}
    </article>
  );
}
