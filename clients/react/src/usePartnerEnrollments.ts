"use client";

import { useInfiniteQuery } from "@tanstack/react-query";
import { useCallback, useMemo } from "react";
import type { UsherError } from "./errors.js";
import { retrying, usherKeys } from "./policy.js";
import { useLive, useShared } from "./provider.js";
import type { components } from "./schema.js";

/** One enrolment at a partner. Link to `launchUrl`; it is null unless the course can be opened now. */
export type PartnerEnrollment = components["schemas"]["PartnerEnrollment"];

export interface PartnerEnrollmentsOptions {
  /** Milliseconds between two looks while an enrolment is pending; after forty looks ten times as long. */
  pollInterval?: number;
}

export interface UsePartnerEnrollments {
  /** Newest first. */
  enrollments: readonly PartnerEnrollment[];
  /** Nothing is known yet. */
  loading: boolean;
  /** Why the last look failed; what was known before stays. */
  error: UsherError | null;
  /** There are older ones. */
  hasMore: boolean;
  loadMore: () => void;
}

type Page = components["schemas"]["PartnerEnrollments"];

const POLL = 3_000;
const LIMIT = 100;
// Looks after which a pending enrolment is not one that takes seconds: people make places ready too.
const OFTEN = 40;

/** The caller's courses at partners. Looks again and again while one is pending, and on every live update. */
export function usePartnerEnrollments({ pollInterval = POLL }: PartnerEnrollmentsOptions = {}): UsePartnerEnrollments {
  const { client } = useShared();
  useLive();
  const query = useInfiniteQuery<Page, UsherError, readonly PartnerEnrollment[], typeof usherKeys.partnerEnrollments, string | null>({
    queryKey: usherKeys.partnerEnrollments,
    queryFn: ({ pageParam, signal }) =>
      client.get("/api/student/partner-enrollments", { query: { limit: LIMIT, cursor: pageParam }, signal }),
    initialPageParam: null,
    getNextPageParam: (page) => page.next_cursor,
    select: flatten,
    refetchInterval: ({ state }) => {
      if (!state.data?.pages.some(hasPending)) return false;
      return state.dataUpdateCount < OFTEN ? pollInterval : 10 * pollInterval;
    },
    ...retrying,
  });
  const { fetchNextPage } = query;
  const loadMore = useCallback((): void => void fetchNextPage(), [fetchNextPage]);
  const enrollments = useMemo(() => query.data ?? [], [query.data]);
  return { enrollments, loading: query.isPending, error: query.error, hasMore: query.hasNextPage, loadMore };
}

const flatten = ({ pages }: { pages: Page[] }): readonly PartnerEnrollment[] => pages.flatMap((page) => page.data);
const hasPending = (page: Page): boolean => page.data.some(({ status }) => status === "pending");
