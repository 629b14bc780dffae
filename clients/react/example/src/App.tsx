import { useQuery } from "@tanstack/react-query";
import { useUsher, usherKeys } from "@usher/react";
import { useState, type ReactElement } from "react";
import { CourseCard } from "./CourseCard.js";
import { Dashboard } from "./Dashboard.js";
import { LessonPage } from "./LessonPage.js";

/** The student's dashboard, the provider's own courses, and the one that was opened. */
export function App(): ReactElement {
  const usher = useUsher();
  const [opened, setOpened] = useState<string | null>(null);
  const courses = useQuery({
    queryKey: usherKeys.courses,
    queryFn: ({ signal }) => usher.get("/api/courses", { signal }),
  });
  return (
    <main>
      <h1>Learning</h1>
      <Dashboard />
      <section aria-label="Courses">
        <h2>Courses</h2>
        {courses.error && <p role="alert">{courses.error.message}</p>}
        {courses.data?.data.map((course) => (
          <CourseCard key={course.id} course={course} onOpen={() => setOpened(course.id)} />
        ))}
      </section>
      {opened !== null && <LessonPage courseId={opened} />}
    </main>
  );
}
