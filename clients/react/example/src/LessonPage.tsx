import { useQuery } from "@tanstack/react-query";
import { useLessonSubmission, useUsher, usherKeys, type LessonResult } from "@usher/react";
import { useState, type ReactElement } from "react";

interface LessonProps {
  courseId: string;
  lessonId: string;
  title: string;
  xpReward: number;
}

/** The lessons of a course (seed A's LessonPage). */
export function LessonPage({ courseId }: { courseId: string }): ReactElement {
  const usher = useUsher();
  const course = useQuery({
    queryKey: [...usherKeys.courses, courseId],
    queryFn: ({ signal }) => usher.get("/api/courses/{courseId}", { path: { courseId }, signal }),
  });
  return (
    <section aria-label="Lessons">
      <h2>{course.data?.title}</h2>
      {course.error && <p role="alert">{course.error.message}</p>}
      {course.data?.lessons.map(({ id, title, xpReward }) => (
        <Lesson key={id} courseId={courseId} lessonId={id} title={title} xpReward={xpReward} />
      ))}
    </section>
  );
}

function Lesson({ courseId, lessonId, title, xpReward }: LessonProps): ReactElement {
  const { submitLesson, loading } = useLessonSubmission();
  const [result, setResult] = useState<LessonResult | null>(null);

  const handleSubmit = async (): Promise<void> => {
    setResult(await submitLesson(courseId, lessonId, xpReward));
  };

  return (
    <article aria-label={title}>
      <h3>{title}</h3>
      <button onClick={() => void handleSubmit()} aria-busy={loading}>
        Submit Challenge &amp; Earn XP
      </button>
      {result?.success && (
        <p role="status">
          +{result.xpAwarded} XP, {result.totalXp} in all, level {result.level}
        </p>
      )}
      {result?.success === false && <p role="alert">{result.message}</p>}
    </article>
  );
}
