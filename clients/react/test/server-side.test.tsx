import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { version, type ReactElement } from "react";
import { renderToString } from "react-dom/server";
import { expect, test, vi } from "vitest";
import { useEnrollment, useLessonSubmission, usePartnerEnrollments, UsherProvider, useXp } from "../src/index.js";

function Page(): ReactElement {
  const [xp, partner, enrollment, lesson] = [useXp(), usePartnerEnrollments(), useEnrollment(), useLessonSubmission()];
  return <p>{JSON.stringify([xp.loading, xp.live, partner.loading, enrollment.loading, lesson.loading])}</p>;
}

test("this is the React that it should be", ({ task }) => {
  expect(task.file.projectName).toBe(`react-${version.split(".")[0]}`);
});

test("on a server the hooks render as loading, and ask nobody", () => {
  expect(typeof window).toBe("undefined");
  const fetching = vi.spyOn(globalThis, "fetch");
  const page = renderToString(
    <QueryClientProvider client={new QueryClient()}>
      <UsherProvider>
        <Page />
      </UsherProvider>
    </QueryClientProvider>,
  );
  expect(page).toContain("[true,false,true,false,false]");
  expect(fetching).not.toHaveBeenCalled();
});

test("without a provider a hook says what is missing", () => {
  const page = (): string =>
    renderToString(
      <QueryClientProvider client={new QueryClient()}>
        <Page />
      </QueryClientProvider>,
    );
  expect(page).toThrow("There is no <UsherProvider>");
});
