// Made by `npm run types` from /openapi.json. Do not edit.
export interface paths {
    "/api/achievements": {
        parameters: {
        };
        /** List achievements with one's own progress */
        get: operations["listAchievements"];
    };
    "/api/assignment-files/{fileId}": {
        parameters: {
        };
        /**
         * Download a file that was handed in
         * @description For the student whose file it is, and for staff.
         */
        get: operations["downloadFile"];
    };
    "/api/assignments": {
        parameters: {
        };
        /** List the assignments of one's own courses */
        get: operations["listAssignments"];
    };
    "/api/assignments/{assignmentId}": {
        parameters: {
        };
        /** Read an assignment and one's own work */
        get: operations["getAssignment"];
    };
    "/api/assignments/{assignmentId}/draft": {
        parameters: {
        };
        /**
         * Keep one's work
         * @description The whole work: what is left out is gone. With If-Match only if nobody changed it since.
         */
        put: operations["saveDraft"];
    };
    "/api/assignments/{assignmentId}/files": {
        parameters: {
        };
        /**
         * Upload a file
         * @description The body is the file as it is. What it is decides its content, not its name or media type.
         */
        post: operations["uploadFile"];
    };
    "/api/assignments/{assignmentId}/submit": {
        parameters: {
        };
        /** Hand one's work in */
        post: operations["submitWork"];
    };
    "/api/categories": {
        parameters: {
        };
        /** List the categories */
        get: operations["listCategories"];
    };
    "/api/certificates/{certificateId}/badge": {
        parameters: {
        };
        /** Get a certificate as Open Badge 3.0 */
        get: operations["getBadge"];
    };
    "/api/certificates/{certificateId}/pdf": {
        parameters: {
        };
        /** Get a certificate as PDF */
        get: operations["getCertificatePdf"];
    };
    "/api/courses": {
        parameters: {
        };
        /** List the published courses */
        get: operations["listCourses"];
    };
    "/api/courses/{courseId}": {
        parameters: {
        };
        /** Read a course with its lessons and one's own progress */
        get: operations["getCourse"];
    };
    "/api/courses/{courseId}/lessons/{lessonId}": {
        parameters: {
        };
        /** Read a lesson of a course that one is enrolled in */
        get: operations["getLesson"];
    };
    "/api/courses/{courseId}/quizzes": {
        parameters: {
        };
        /** List the quizzes of a course, with what is left of one's attempts */
        get: operations["listQuizzes"];
    };
    "/api/enrollments": {
        parameters: {
        };
        /** Enrol in one of our own courses */
        post: operations["enroll"];
    };
    "/api/me": {
        parameters: {
        };
        /** Read who one is */
        get: operations["getMe"];
        /**
         * Change one's own name or time zone
         * @description What is left out stays as it is.
         */
        patch: operations["updateMe"];
    };
    "/api/me/achievements": {
        parameters: {
        };
        /** List what one has unlocked */
        get: operations["listMyAchievements"];
    };
    "/api/me/certificates": {
        parameters: {
        };
        /** List one's own certificates */
        get: operations["listCertificates"];
    };
    "/api/me/events": {
        parameters: {
        };
        /**
         * Hear of changes as they happen
         * @description The types are `state`, `xp`, `level` and `enrollment`. A stream ends after some minutes; whoever returns with Last-Event-ID misses nothing. Beyond the number of streams that a process holds: 503, poll then.
         */
        get: operations["streamEvents"];
    };
    "/api/me/export": {
        parameters: {
        };
        /** Get everything that is stored about oneself */
        get: operations["exportOwn"];
    };
    "/api/me/stats": {
        parameters: {
        };
        /** Read one's own figures */
        get: operations["getStats"];
    };
    "/api/me/streak": {
        parameters: {
        };
        /**
         * Read one's own streak
         * @description Days are dates of one's own time zone. Computed from the facts each time.
         */
        get: operations["getStreak"];
    };
    "/api/partner-launch/{enrollmentId}": {
        parameters: {
        };
        /**
         * Open a partner's course
         * @description Meant to be followed by the student's browser, at the click. Never store where it leads.
         */
        get: operations["launchPartnerCourse"];
    };
    "/api/quiz-attempts/{attemptId}": {
        parameters: {
        };
        /**
         * Read one's own attempt
         * @description Correct answers are null until the quiz is passed or staff release them.
         */
        get: operations["getQuizAttempt"];
    };
    "/api/quiz-attempts/{attemptId}/answers": {
        parameters: {
        };
        /**
         * Save answers
         * @description Answers that are not named stay. Up to ten seconds after the deadline.
         */
        put: operations["saveQuizAnswers"];
    };
    "/api/quiz-attempts/{attemptId}/submit": {
        parameters: {
        };
        /**
         * Submit an attempt
         * @description With the last answers, where some were not saved. The first pass gives the quiz's XP.
         */
        post: operations["submitQuizAttempt"];
    };
    "/api/quizzes/{quizId}/attempts": {
        parameters: {
        };
        /** List one's own attempts at a quiz */
        get: operations["listQuizAttempts"];
        /**
         * Begin an attempt
         * @description Every attempt that is begun counts. The body is an empty object.
         */
        post: operations["startQuizAttempt"];
    };
    "/api/student/partner-enrollments": {
        parameters: {
        };
        /** List one's own partner enrolments */
        get: operations["listPartnerEnrollments"];
    };
    "/api/xp": {
        parameters: {
        };
        /** Read one's own total and level */
        get: operations["getXp"];
    };
    "/api/xp/analytics": {
        parameters: {
        };
        /** See what one's own XP come from */
        get: operations["analyseXp"];
    };
    "/api/xp/award": {
        parameters: {
        };
        /**
         * Complete a lesson and get its XP
         * @description What is given is what the lesson says; `userId` and `xpAmount` are only checked.
         */
        post: operations["awardXp"];
    };
    "/api/xp/transactions": {
        parameters: {
        };
        /** List one's own XP entries */
        get: operations["listXpTransactions"];
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description The award will be made; `GET /api/xp` shows it. */
        Accepted: {
            message: string;
            status: string;
        };
        /** @description An achievement and the caller's progress in it. A `revocable` one goes when its condition does not hold any more. */
        AchievementAnswer: {
            category: string;
            code: string;
            description: string;
            icon: string;
            /** Format: uuid */
            id: string;
            name: string;
            revocable: boolean;
            tiers: components["schemas"]["TierAnswer"][];
            version: number;
        };
        /** @description A page, in the order of the codes. */
        AchievementsAnswer: {
            data: components["schemas"]["AchievementAnswer"][];
            has_more: boolean;
            next_cursor: string | null;
        };
        /** @description An assignment as its student has it: `dueDate` is with their own extension, `submission` null before a draft. */
        AssignmentAnswer: {
            allowLateSubmission: boolean;
            /** Format: uuid */
            courseId: string;
            description: string;
            dueDate: string | null;
            graceSeconds: number;
            /** Format: uuid */
            id: string;
            lessonId: string | null;
            maxPoints: number;
            passingScore: number;
            required: boolean;
            submission: components["schemas"]["SubmissionAnswer"] | null;
            title: string;
            xpReward: number;
        };
        /** @description A page, in the order in which they were made. */
        Assignments: {
            data: components["schemas"]["AssignmentAnswer"][];
            has_more: boolean;
            next_cursor: string | null;
        };
        /** @description A file of the course. `url` is null until one is enrolled. */
        AttachmentAnswer: {
            /** Format: uuid */
            id: string;
            name: string;
            url: string | null;
        };
        /** @description What the lesson gave, and where that leads. Completing the course with it gives `courseXpAwarded` on top. */
        AwardAnswer: {
            courseCompleted: boolean;
            courseXpAwarded: number;
            currentLevelXp: number;
            level: number;
            levelCurve: string;
            leveledUp: boolean;
            message: string;
            nextLevelXp: number | null;
            totalXp: number;
            xpAwarded: number;
        };
        /** @description Which lesson was completed. `xpAmount` has to be what the lesson gives: the server decides. */
        AwardInput: {
            /** Format: uuid */
            courseId: string;
            /** Format: uuid */
            lessonId: string;
            /** @description One's own user id or e-mail address */
            userId: string;
            xpAmount: number;
        };
        /** @description All of them at once, by name. */
        Categories: {
            data: components["schemas"]["CategoryAnswer"][];
            /** @default false */
            has_more: boolean;
            /** @default null */
            next_cursor: string | null;
        };
        /** @description A shelf of the catalogue; `courseCount` counts its published courses. */
        CategoryAnswer: {
            courseCount: number;
            /** Format: uuid */
            id: string;
            name: string;
            slug: string;
        };
        /** @description The shelf that a course stands on. */
        CategoryName: {
            name: string;
            slug: string;
        };
        /** @description The partner's certificate. */
        Certificate: {
            expiresAt: string | null;
            issuedAt: string | null;
            number: string;
            url: string | null;
            verificationUrl: string | null;
        };
        /** @description One's own certificate. `certificateUrl` is where anybody can check it; `badgeUrl` null where none are signed. */
        CertificateAnswer: {
            badgeUrl: string | null;
            certificateUrl: string;
            courseId: string | null;
            courseTitle: string;
            expiresAt: string | null;
            hours: number | null;
            /** Format: uuid */
            id: string;
            /** Format: date-time */
            issuedAt: string;
            name: string;
            pdfUrl: string | null;
            /** @enum {string} */
            status: "valid" | "expired" | "revoked" | "superseded";
            verificationCode: string;
        };
        /** @description A page, newest first. */
        Certificates: {
            data: components["schemas"]["CertificateAnswer"][];
            has_more: boolean;
            next_cursor: string | null;
        };
        /** @description The partner's course. */
        Course: {
            code: string;
            credentialType: string | null;
            description: string | null;
            hours: number | null;
            /** Format: uuid */
            id: string;
            level: string | null;
            name: string;
        };
        /** @description A course with its published lessons in their order. */
        CourseAnswer: {
            attachments: components["schemas"]["AttachmentAnswer"][];
            category: components["schemas"]["CategoryName"] | null;
            /** Format: date-time */
            createdAt: string;
            description: string;
            /** @enum {string} */
            difficulty: "beginner" | "intermediate" | "advanced";
            enrollment: components["schemas"]["MyEnrollment"] | null;
            estimatedHours: number | null;
            /** Format: uuid */
            id: string;
            imageUrl: string | null;
            lessonCount: number;
            lessons: components["schemas"]["LessonSummary"][];
            prerequisites: components["schemas"]["Prerequisite"][];
            published: boolean;
            slug: string;
            title: string;
            /** Format: date-time */
            updatedAt: string;
            xpReward: number;
        };
        /** @description A page, newest first. */
        Courses: {
            data: components["schemas"]["CourseSummary"][];
            has_more: boolean;
            next_cursor: string | null;
        };
        /** @description A course in a list. `lessonCount` counts published lessons; `enrollment` is one's own, null without one. */
        CourseSummary: {
            category: components["schemas"]["CategoryName"] | null;
            /** Format: date-time */
            createdAt: string;
            description: string;
            /** @enum {string} */
            difficulty: "beginner" | "intermediate" | "advanced";
            enrollment: components["schemas"]["MyEnrollment"] | null;
            estimatedHours: number | null;
            /** Format: uuid */
            id: string;
            imageUrl: string | null;
            lessonCount: number;
            published: boolean;
            slug: string;
            title: string;
            /** Format: date-time */
            updatedAt: string;
            xpReward: number;
        };
        /** @description One wrong value. `pointer` is a JSON pointer into the body, or `?name` for a query parameter. */
        Detail: {
            detail: string;
            pointer: string;
        };
        /** @description How many enrolments there are. */
        EnrollmentCounts: {
            own: components["schemas"]["OwnEnrollments"];
            partner: components["schemas"]["PartnerSeats"];
        };
        /** @description An enrolment is new (`previousStatus` is null), has another status, or went away (`removed`, own courses only). */
        EnrollmentEvent: {
            /** Format: date-time */
            at: string;
            /** Format: uuid */
            courseId: string;
            /** Format: uuid */
            enrollmentId: string;
            /** @enum {string} */
            kind: "partner" | "own";
            previousStatus: string | null;
            status: string;
        };
        /** @description Who wants to learn what. */
        EnrollmentInput: {
            /** Format: uuid */
            courseId: string;
            /** @description One's own user id or e-mail address */
            userId: string;
        };
        /** @description A page, newest first. */
        Entries: {
            data: components["schemas"]["Entry"][];
            has_more: boolean;
            next_cursor: string | null;
        };
        /** @description A ledger entry. `factor` is in basis points. */
        Entry: {
            amount: number;
            balanceAfter: number;
            base: number;
            breakdown: unknown[];
            category: string;
            causedById: string | null;
            /** Format: date-time */
            createdAt: string;
            description: string;
            factor: number;
            generation: number;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            kind: "award" | "reversal" | "adjustment";
            /** Format: date-time */
            occurredAt: string;
            reason: string;
            reversedById: string | null;
            reversesId: string | null;
            sourceId: string | null;
            sourceType: string;
        };
        /** @description What a poll answers. Send `lastEventId` with the next one. */
        EventBatch: {
            data: components["schemas"]["LiveEvent"][];
            lastEventId: string;
        };
        /** @description An uploaded file. It is deleted after some days unless a draft names it. */
        FileAnswer: {
            /** Format: uuid */
            id: string;
            mediaType: string;
            name: string;
            size: number;
            url: string;
        };
        JsonValue: unknown;
        /** @description A lesson with its text, Markdown as it was written. */
        LessonAnswer: {
            body: string;
            completedAt: string | null;
            /** Format: uuid */
            courseId: string;
            description: string;
            /** Format: uuid */
            id: string;
            position: number;
            slug: string;
            title: string;
            videoUrl: string | null;
            xpReward: number;
        };
        /** @description A lesson of a course. `completedAt` is one's own, null until then. */
        LessonSummary: {
            completedAt: string | null;
            description: string;
            /** Format: uuid */
            id: string;
            position: number;
            slug: string;
            title: string;
            xpReward: number;
        };
        /** @description A level was reached; an entry that passes several makes one event for each. */
        LevelEvent: {
            /** Format: date-time */
            at: string;
            level: number;
        };
        /** @description One event: `event` is its type, `data` what the stream would say. */
        LiveEvent: {
            data: components["schemas"]["StatsAnswer"] | components["schemas"]["XpEvent"] | components["schemas"]["LevelEvent"] | components["schemas"]["EnrollmentEvent"];
            /** @enum {string} */
            event: "state" | "xp" | "level" | "enrollment";
            id: string;
        };
        /** @description A person is making the place ready at the partner: since when, and how many hours that usually takes. */
        ManualSetup: {
            /** Format: date-time */
            since: string;
            usualHours: number;
        };
        /** @description The caller. `timeZone` is an IANA name; streaks and days are counted in it. */
        Me: {
            /** Format: date-time */
            createdAt: string;
            currentLevelXp: number;
            email: string;
            highestLevel: number;
            /** Format: uuid */
            id: string;
            level: number;
            levelCurve: string;
            name: string;
            nextLevelXp: number | null;
            /** @enum {string} */
            role: "student" | "service" | "ops";
            timeZone: string;
            totalXp: number;
            /** Format: date-time */
            updatedAt: string;
        };
        /** @description What somebody may change about themselves. What is left out stays as it is. */
        MeInput: {
            /**
             * @default null
             * @example Ada Lovelace
             */
            name: string | null;
            /**
             * @default null
             * @example Europe/Vienna
             */
            timeZone: components["schemas"]["TimeZone"] | null;
        };
        /** @description One's own enrolment in the course. */
        MyEnrollment: {
            completedAt: string | null;
            completionPercentage: number;
            /** Format: date-time */
            enrolledAt: string;
            /** Format: uuid */
            id: string;
            startedAt: string | null;
            xpEarned: number;
        };
        /** @description The enrolment, snake_case as seed A publishes it. */
        OwnEnrollment: {
            completion_percentage: number;
            /** Format: uuid */
            course_id: string;
            /** Format: date-time */
            enrolled_at: string;
            /** Format: uuid */
            id: string;
            /** Format: uuid */
            user_id: string;
            xp_earned: number;
        };
        /** @description Enrolments in our own courses by status. */
        OwnEnrollments: {
            active: number;
            completed: number;
        };
        /** @description One enrolment. `launchUrl` is null unless the course can be opened now; `failureReference` is for support. */
        PartnerEnrollment: {
            certificate: components["schemas"]["Certificate"] | null;
            completedAt: string | null;
            course: components["schemas"]["Course"];
            /** Format: date-time */
            createdAt: string;
            enrolledAt: string | null;
            failureReference: string | null;
            /** Format: uuid */
            id: string;
            lastSyncedAt: string | null;
            /** @default null */
            launchUrl: string | null;
            manualSetup: components["schemas"]["ManualSetup"] | null;
            programId: string | null;
            progressPercentage: number;
            provider: components["schemas"]["Provider"];
            /** @enum {string} */
            status: "pending" | "active" | "completed" | "failed" | "suspended" | "revoked";
        };
        /** @description A page, newest first. */
        PartnerEnrollments: {
            data: components["schemas"]["PartnerEnrollment"][];
            has_more: boolean;
            next_cursor: string | null;
        };
        /** @description Enrolments in partners' courses by status. */
        PartnerSeats: {
            active: number;
            completed: number;
            failed: number;
            pending: number;
            revoked: number;
            suspended: number;
        };
        /** @description A course that has to be completed first, and whether it is. */
        Prerequisite: {
            completed: boolean;
            /** Format: uuid */
            id: string;
            slug: string;
            title: string;
        };
        /**
         * @description What can go wrong here.
         * @enum {string}
         */
        ProblemCode: "already_enrolled" | "assignment_not_found" | "badges_off" | "certificate_not_found" | "certificate_not_valid" | "code_unreadable" | "course_not_found" | "cross_site" | "database_unavailable" | "enrollment_failed" | "enrollment_not_found" | "enrollment_pending" | "enrollment_revoked" | "enrollment_suspended" | "feature_off" | "file_not_found" | "file_store_unavailable" | "file_type_not_taken" | "idempotency_in_flight" | "idempotency_key_invalid" | "idempotency_key_reused" | "identity_provider_unavailable" | "internal_error" | "invalid_cursor" | "late_not_allowed" | "lesson_already_completed" | "lesson_not_found" | "malformed_json" | "no_student" | "not_enrolled" | "not_signed_in" | "not_your_enrollment" | "not_yourself" | "partner_unavailable" | "prerequisites_missing" | "quiz_attempt_closed" | "quiz_attempt_not_found" | "quiz_attempts_used_up" | "quiz_not_found" | "quiz_time_over" | "rate_limited" | "stale_version" | "submission_empty" | "submission_not_open" | "too_large" | "too_many_files" | "too_many_streams" | "unsupported_media_type" | "user_not_found" | "validation_failed" | "wrong_role" | "xp_amount_differs";
        /** @description An error, as RFC 9457 has it. `type` opens a page that explains the code. */
        ProblemDocument: {
            code: string;
            detail: string;
            /** @default null */
            errors: components["schemas"]["Detail"][] | null;
            /** @default null */
            hint: string | null;
            request_id: string;
            status: number;
            title: string;
            /** @example /problems/not_found */
            type: string;
        };
        /** @description How far one counter of a condition is: `value` of `target`. */
        Progress: {
            counter: string;
            scope: components["schemas"]["Scope"] | null;
            target: number;
            value: number;
            window: components["schemas"]["Window"] | null;
        };
        /** @description The partner that gives the course. */
        Provider: {
            /** Format: uuid */
            id: string;
            name: string;
            supportEmail: string | null;
            type: string;
        };
        /** @description An answer to one question, in the shape of its type; null takes it back. */
        QuizAnswerInput: {
            answer: components["schemas"]["JsonValue"];
            /** Format: uuid */
            questionId: string;
        };
        /** @description The answers that changed; the others stay as they were saved. */
        QuizAnswersInput: {
            /** @default [] */
            answers: components["schemas"]["QuizAnswerInput"][];
        };
        /** @description An attempt with its questions. `serverTime` is the clock that `deadlineAt` goes by. */
        QuizAttemptAnswer: {
            deadlineAt: string | null;
            earned: number | null;
            gradedAt: string | null;
            /** Format: uuid */
            id: string;
            number: number;
            passed: boolean | null;
            passingScore: number;
            possible: number;
            questions: components["schemas"]["QuizQuestion"][];
            /** Format: uuid */
            quizId: string;
            revealed: boolean;
            savedAt: string | null;
            /** Format: date-time */
            serverTime: string;
            /** Format: date-time */
            startedAt: string;
            /** @enum {string} */
            state: "open" | "submitted" | "graded" | "void";
            submittedAt: string | null;
        };
        /** @description A page, newest first. */
        QuizAttemptSummaries: {
            data: components["schemas"]["QuizAttemptSummary"][];
            has_more: boolean;
            next_cursor: string | null;
        };
        /** @description An attempt. `submitted` waits for a person; until `graded`, `earned` counts what is graded already. */
        QuizAttemptSummary: {
            deadlineAt: string | null;
            earned: number | null;
            gradedAt: string | null;
            /** Format: uuid */
            id: string;
            number: number;
            passed: boolean | null;
            passingScore: number;
            possible: number;
            /** Format: uuid */
            quizId: string;
            savedAt: string | null;
            /** Format: date-time */
            startedAt: string;
            /** @enum {string} */
            state: "open" | "submitted" | "graded" | "void";
            submittedAt: string | null;
        };
        /** @description A question of an attempt. What it earned and the correct answer stay null until the answers are revealed. */
        QuizQuestion: {
            answer: unknown;
            correctAnswer: unknown;
            earned: number | null;
            explanation: string | null;
            feedback: string | null;
            /** Format: uuid */
            id: string;
            options: unknown;
            points: number;
            question: string;
            /** @enum {string} */
            type: "single" | "multiple" | "true_false" | "short_text" | "numeric" | "matching" | "ordering" | "essay";
        };
        /** @description Nothing: the address says it all. */
        QuizStartInput: Record<string, never>;
        /** @description A page, oldest first. */
        QuizSummaries: {
            data: components["schemas"]["QuizSummary"][];
            has_more: boolean;
            next_cursor: string | null;
        };
        /** @description A quiz. `timeLimit` is in minutes, `passingScore` in percent; `maxAttempts` are the caller's own. */
        QuizSummary: {
            attemptsUsed: number;
            /** Format: uuid */
            courseId: string;
            description: string;
            /** Format: uuid */
            id: string;
            lessonId: string | null;
            maxAttempts: number;
            openAttemptId: string | null;
            passed: boolean;
            passingScore: number;
            points: number;
            questions: number;
            required: boolean;
            timeLimit: number | null;
            title: string;
            xpReward: number;
        };
        /** @description Only what belongs to this course of our own or of a partner. */
        Scope: {
            /** Format: uuid */
            course: string;
        };
        /** @description XP and number of effective entries of one category, source type or day (in the user's time zone). */
        Share: {
            entries: number;
            key: string;
            xp: number;
        };
        /** @description Everything at once: at most a thousand keys. */
        Shares: {
            data: components["schemas"]["Share"][];
            /** @default false */
            has_more: boolean;
            /** @default null */
            next_cursor: string | null;
        };
        /** @description Where a student stands. `nextLevelXp` is what the whole level takes, null on the last level of a table. */
        StandingAnswer: {
            currentLevelXp: number;
            level: number;
            levelCurve: string;
            nextLevelXp: number | null;
            totalXp: number;
        };
        /** @description Where a student stands. `coursesCompleted` counts partners' courses and our own. */
        StatsAnswer: {
            coursesCompleted: number;
            currentLevelXp: number;
            enrollments: components["schemas"]["EnrollmentCounts"];
            highestLevel: number;
            lessonsCompleted: number;
            level: number;
            levelCurve: string;
            nextLevelXp: number | null;
            totalXp: number;
        };
        /**
         * @description Where a streak stands on `today`, a date of the student's own calendar.
         *
         *     `currentStreak` counts active days; `frozenDates` are the missed ones that a freeze bridged. `atRisk`: today is
         *     not over, and without activity it costs a freeze or ends the run.
         */
        StreakAnswer: {
            activeToday: boolean;
            atRisk: boolean;
            currentStreak: number;
            freezesAvailable: number;
            freezesUsed: number;
            frozenDates: string[];
            lastActivityDate: string | null;
            longestStreak: number;
            timeZone: string;
            /** Format: date */
            today: string;
        };
        /** @description One's own submission. `version` is what `If-Match` may name; `score` is in points. */
        SubmissionAnswer: {
            content: string;
            feedback: string | null;
            fileUrls: string[];
            gradedAt: string | null;
            /** Format: uuid */
            id: string;
            late: boolean;
            number: number;
            passed: boolean | null;
            score: number | null;
            /** @enum {string} */
            state: "draft" | "submitted" | "graded" | "returned" | "resubmitted";
            submittedAt: string | null;
            /** Format: date-time */
            updatedAt: string;
            version: number;
        };
        /** @description A tier of an achievement. `percentage` is rounded down: 100 only when all of it is done. */
        TierAnswer: {
            condition: {
                [key: string]: unknown;
            };
            counters: components["schemas"]["Progress"][];
            percentage: number;
            tier: number;
            unlockedAt: string | null;
            xpReward: number;
        };
        /** @enum {string} */
        TimeZone: "Africa/Abidjan" | "Africa/Accra" | "Africa/Addis_Ababa" | "Africa/Algiers" | "Africa/Asmara" | "Africa/Asmera" | "Africa/Bamako" | "Africa/Bangui" | "Africa/Banjul" | "Africa/Bissau" | "Africa/Blantyre" | "Africa/Brazzaville" | "Africa/Bujumbura" | "Africa/Cairo" | "Africa/Casablanca" | "Africa/Ceuta" | "Africa/Conakry" | "Africa/Dakar" | "Africa/Dar_es_Salaam" | "Africa/Djibouti" | "Africa/Douala" | "Africa/El_Aaiun" | "Africa/Freetown" | "Africa/Gaborone" | "Africa/Harare" | "Africa/Johannesburg" | "Africa/Juba" | "Africa/Kampala" | "Africa/Khartoum" | "Africa/Kigali" | "Africa/Kinshasa" | "Africa/Lagos" | "Africa/Libreville" | "Africa/Lome" | "Africa/Luanda" | "Africa/Lubumbashi" | "Africa/Lusaka" | "Africa/Malabo" | "Africa/Maputo" | "Africa/Maseru" | "Africa/Mbabane" | "Africa/Mogadishu" | "Africa/Monrovia" | "Africa/Nairobi" | "Africa/Ndjamena" | "Africa/Niamey" | "Africa/Nouakchott" | "Africa/Ouagadougou" | "Africa/Porto-Novo" | "Africa/Sao_Tome" | "Africa/Timbuktu" | "Africa/Tripoli" | "Africa/Tunis" | "Africa/Windhoek" | "America/Adak" | "America/Anchorage" | "America/Anguilla" | "America/Antigua" | "America/Araguaina" | "America/Argentina/Buenos_Aires" | "America/Argentina/Catamarca" | "America/Argentina/ComodRivadavia" | "America/Argentina/Cordoba" | "America/Argentina/Jujuy" | "America/Argentina/La_Rioja" | "America/Argentina/Mendoza" | "America/Argentina/Rio_Gallegos" | "America/Argentina/Salta" | "America/Argentina/San_Juan" | "America/Argentina/San_Luis" | "America/Argentina/Tucuman" | "America/Argentina/Ushuaia" | "America/Aruba" | "America/Asuncion" | "America/Atikokan" | "America/Atka" | "America/Bahia" | "America/Bahia_Banderas" | "America/Barbados" | "America/Belem" | "America/Belize" | "America/Blanc-Sablon" | "America/Boa_Vista" | "America/Bogota" | "America/Boise" | "America/Buenos_Aires" | "America/Cambridge_Bay" | "America/Campo_Grande" | "America/Cancun" | "America/Caracas" | "America/Catamarca" | "America/Cayenne" | "America/Cayman" | "America/Chicago" | "America/Chihuahua" | "America/Ciudad_Juarez" | "America/Coral_Harbour" | "America/Cordoba" | "America/Costa_Rica" | "America/Coyhaique" | "America/Creston" | "America/Cuiaba" | "America/Curacao" | "America/Danmarkshavn" | "America/Dawson" | "America/Dawson_Creek" | "America/Denver" | "America/Detroit" | "America/Dominica" | "America/Edmonton" | "America/Eirunepe" | "America/El_Salvador" | "America/Ensenada" | "America/Fort_Nelson" | "America/Fort_Wayne" | "America/Fortaleza" | "America/Glace_Bay" | "America/Godthab" | "America/Goose_Bay" | "America/Grand_Turk" | "America/Grenada" | "America/Guadeloupe" | "America/Guatemala" | "America/Guayaquil" | "America/Guyana" | "America/Halifax" | "America/Havana" | "America/Hermosillo" | "America/Indiana/Indianapolis" | "America/Indiana/Knox" | "America/Indiana/Marengo" | "America/Indiana/Petersburg" | "America/Indiana/Tell_City" | "America/Indiana/Vevay" | "America/Indiana/Vincennes" | "America/Indiana/Winamac" | "America/Indianapolis" | "America/Inuvik" | "America/Iqaluit" | "America/Jamaica" | "America/Jujuy" | "America/Juneau" | "America/Kentucky/Louisville" | "America/Kentucky/Monticello" | "America/Knox_IN" | "America/Kralendijk" | "America/La_Paz" | "America/Lima" | "America/Los_Angeles" | "America/Louisville" | "America/Lower_Princes" | "America/Maceio" | "America/Managua" | "America/Manaus" | "America/Marigot" | "America/Martinique" | "America/Matamoros" | "America/Mazatlan" | "America/Mendoza" | "America/Menominee" | "America/Merida" | "America/Metlakatla" | "America/Mexico_City" | "America/Miquelon" | "America/Moncton" | "America/Monterrey" | "America/Montevideo" | "America/Montreal" | "America/Montserrat" | "America/Nassau" | "America/New_York" | "America/Nipigon" | "America/Nome" | "America/Noronha" | "America/North_Dakota/Beulah" | "America/North_Dakota/Center" | "America/North_Dakota/New_Salem" | "America/Nuuk" | "America/Ojinaga" | "America/Panama" | "America/Pangnirtung" | "America/Paramaribo" | "America/Phoenix" | "America/Port-au-Prince" | "America/Port_of_Spain" | "America/Porto_Acre" | "America/Porto_Velho" | "America/Puerto_Rico" | "America/Punta_Arenas" | "America/Rainy_River" | "America/Rankin_Inlet" | "America/Recife" | "America/Regina" | "America/Resolute" | "America/Rio_Branco" | "America/Rosario" | "America/Santa_Isabel" | "America/Santarem" | "America/Santiago" | "America/Santo_Domingo" | "America/Sao_Paulo" | "America/Scoresbysund" | "America/Shiprock" | "America/Sitka" | "America/St_Barthelemy" | "America/St_Johns" | "America/St_Kitts" | "America/St_Lucia" | "America/St_Thomas" | "America/St_Vincent" | "America/Swift_Current" | "America/Tegucigalpa" | "America/Thule" | "America/Thunder_Bay" | "America/Tijuana" | "America/Toronto" | "America/Tortola" | "America/Vancouver" | "America/Virgin" | "America/Whitehorse" | "America/Winnipeg" | "America/Yakutat" | "America/Yellowknife" | "Antarctica/Casey" | "Antarctica/Davis" | "Antarctica/DumontDUrville" | "Antarctica/Macquarie" | "Antarctica/Mawson" | "Antarctica/McMurdo" | "Antarctica/Palmer" | "Antarctica/Rothera" | "Antarctica/South_Pole" | "Antarctica/Syowa" | "Antarctica/Troll" | "Antarctica/Vostok" | "Arctic/Longyearbyen" | "Asia/Aden" | "Asia/Almaty" | "Asia/Amman" | "Asia/Anadyr" | "Asia/Aqtau" | "Asia/Aqtobe" | "Asia/Ashgabat" | "Asia/Ashkhabad" | "Asia/Atyrau" | "Asia/Baghdad" | "Asia/Bahrain" | "Asia/Baku" | "Asia/Bangkok" | "Asia/Barnaul" | "Asia/Beirut" | "Asia/Bishkek" | "Asia/Brunei" | "Asia/Calcutta" | "Asia/Chita" | "Asia/Choibalsan" | "Asia/Chongqing" | "Asia/Chungking" | "Asia/Colombo" | "Asia/Dacca" | "Asia/Damascus" | "Asia/Dhaka" | "Asia/Dili" | "Asia/Dubai" | "Asia/Dushanbe" | "Asia/Famagusta" | "Asia/Gaza" | "Asia/Harbin" | "Asia/Hebron" | "Asia/Ho_Chi_Minh" | "Asia/Hong_Kong" | "Asia/Hovd" | "Asia/Irkutsk" | "Asia/Istanbul" | "Asia/Jakarta" | "Asia/Jayapura" | "Asia/Jerusalem" | "Asia/Kabul" | "Asia/Kamchatka" | "Asia/Karachi" | "Asia/Kashgar" | "Asia/Kathmandu" | "Asia/Katmandu" | "Asia/Khandyga" | "Asia/Kolkata" | "Asia/Krasnoyarsk" | "Asia/Kuala_Lumpur" | "Asia/Kuching" | "Asia/Kuwait" | "Asia/Macao" | "Asia/Macau" | "Asia/Magadan" | "Asia/Makassar" | "Asia/Manila" | "Asia/Muscat" | "Asia/Nicosia" | "Asia/Novokuznetsk" | "Asia/Novosibirsk" | "Asia/Omsk" | "Asia/Oral" | "Asia/Phnom_Penh" | "Asia/Pontianak" | "Asia/Pyongyang" | "Asia/Qatar" | "Asia/Qostanay" | "Asia/Qyzylorda" | "Asia/Rangoon" | "Asia/Riyadh" | "Asia/Saigon" | "Asia/Sakhalin" | "Asia/Samarkand" | "Asia/Seoul" | "Asia/Shanghai" | "Asia/Singapore" | "Asia/Srednekolymsk" | "Asia/Taipei" | "Asia/Tashkent" | "Asia/Tbilisi" | "Asia/Tehran" | "Asia/Tel_Aviv" | "Asia/Thimbu" | "Asia/Thimphu" | "Asia/Tokyo" | "Asia/Tomsk" | "Asia/Ujung_Pandang" | "Asia/Ulaanbaatar" | "Asia/Ulan_Bator" | "Asia/Urumqi" | "Asia/Ust-Nera" | "Asia/Vientiane" | "Asia/Vladivostok" | "Asia/Yakutsk" | "Asia/Yangon" | "Asia/Yekaterinburg" | "Asia/Yerevan" | "Atlantic/Azores" | "Atlantic/Bermuda" | "Atlantic/Canary" | "Atlantic/Cape_Verde" | "Atlantic/Faeroe" | "Atlantic/Faroe" | "Atlantic/Jan_Mayen" | "Atlantic/Madeira" | "Atlantic/Reykjavik" | "Atlantic/South_Georgia" | "Atlantic/St_Helena" | "Atlantic/Stanley" | "Australia/ACT" | "Australia/Adelaide" | "Australia/Brisbane" | "Australia/Broken_Hill" | "Australia/Canberra" | "Australia/Currie" | "Australia/Darwin" | "Australia/Eucla" | "Australia/Hobart" | "Australia/LHI" | "Australia/Lindeman" | "Australia/Lord_Howe" | "Australia/Melbourne" | "Australia/NSW" | "Australia/North" | "Australia/Perth" | "Australia/Queensland" | "Australia/South" | "Australia/Sydney" | "Australia/Tasmania" | "Australia/Victoria" | "Australia/West" | "Australia/Yancowinna" | "Brazil/Acre" | "Brazil/DeNoronha" | "Brazil/East" | "Brazil/West" | "CET" | "CST6CDT" | "Canada/Atlantic" | "Canada/Central" | "Canada/Eastern" | "Canada/Mountain" | "Canada/Newfoundland" | "Canada/Pacific" | "Canada/Saskatchewan" | "Canada/Yukon" | "Chile/Continental" | "Chile/EasterIsland" | "Cuba" | "EET" | "EST" | "EST5EDT" | "Egypt" | "Eire" | "Etc/GMT" | "Etc/GMT+0" | "Etc/GMT+1" | "Etc/GMT+10" | "Etc/GMT+11" | "Etc/GMT+12" | "Etc/GMT+2" | "Etc/GMT+3" | "Etc/GMT+4" | "Etc/GMT+5" | "Etc/GMT+6" | "Etc/GMT+7" | "Etc/GMT+8" | "Etc/GMT+9" | "Etc/GMT-0" | "Etc/GMT-1" | "Etc/GMT-10" | "Etc/GMT-11" | "Etc/GMT-12" | "Etc/GMT-13" | "Etc/GMT-14" | "Etc/GMT-2" | "Etc/GMT-3" | "Etc/GMT-4" | "Etc/GMT-5" | "Etc/GMT-6" | "Etc/GMT-7" | "Etc/GMT-8" | "Etc/GMT-9" | "Etc/GMT0" | "Etc/Greenwich" | "Etc/UCT" | "Etc/UTC" | "Etc/Universal" | "Etc/Zulu" | "Europe/Amsterdam" | "Europe/Andorra" | "Europe/Astrakhan" | "Europe/Athens" | "Europe/Belfast" | "Europe/Belgrade" | "Europe/Berlin" | "Europe/Bratislava" | "Europe/Brussels" | "Europe/Bucharest" | "Europe/Budapest" | "Europe/Busingen" | "Europe/Chisinau" | "Europe/Copenhagen" | "Europe/Dublin" | "Europe/Gibraltar" | "Europe/Guernsey" | "Europe/Helsinki" | "Europe/Isle_of_Man" | "Europe/Istanbul" | "Europe/Jersey" | "Europe/Kaliningrad" | "Europe/Kiev" | "Europe/Kirov" | "Europe/Kyiv" | "Europe/Lisbon" | "Europe/Ljubljana" | "Europe/London" | "Europe/Luxembourg" | "Europe/Madrid" | "Europe/Malta" | "Europe/Mariehamn" | "Europe/Minsk" | "Europe/Monaco" | "Europe/Moscow" | "Europe/Nicosia" | "Europe/Oslo" | "Europe/Paris" | "Europe/Podgorica" | "Europe/Prague" | "Europe/Riga" | "Europe/Rome" | "Europe/Samara" | "Europe/San_Marino" | "Europe/Sarajevo" | "Europe/Saratov" | "Europe/Simferopol" | "Europe/Skopje" | "Europe/Sofia" | "Europe/Stockholm" | "Europe/Tallinn" | "Europe/Tirane" | "Europe/Tiraspol" | "Europe/Ulyanovsk" | "Europe/Uzhgorod" | "Europe/Vaduz" | "Europe/Vatican" | "Europe/Vienna" | "Europe/Vilnius" | "Europe/Volgograd" | "Europe/Warsaw" | "Europe/Zagreb" | "Europe/Zaporozhye" | "Europe/Zurich" | "Factory" | "GB" | "GB-Eire" | "GMT" | "GMT+0" | "GMT-0" | "GMT0" | "Greenwich" | "HST" | "Hongkong" | "Iceland" | "Indian/Antananarivo" | "Indian/Chagos" | "Indian/Christmas" | "Indian/Cocos" | "Indian/Comoro" | "Indian/Kerguelen" | "Indian/Mahe" | "Indian/Maldives" | "Indian/Mauritius" | "Indian/Mayotte" | "Indian/Reunion" | "Iran" | "Israel" | "Jamaica" | "Japan" | "Kwajalein" | "Libya" | "MET" | "MST" | "MST7MDT" | "Mexico/BajaNorte" | "Mexico/BajaSur" | "Mexico/General" | "NZ" | "NZ-CHAT" | "Navajo" | "PRC" | "PST8PDT" | "Pacific/Apia" | "Pacific/Auckland" | "Pacific/Bougainville" | "Pacific/Chatham" | "Pacific/Chuuk" | "Pacific/Easter" | "Pacific/Efate" | "Pacific/Enderbury" | "Pacific/Fakaofo" | "Pacific/Fiji" | "Pacific/Funafuti" | "Pacific/Galapagos" | "Pacific/Gambier" | "Pacific/Guadalcanal" | "Pacific/Guam" | "Pacific/Honolulu" | "Pacific/Johnston" | "Pacific/Kanton" | "Pacific/Kiritimati" | "Pacific/Kosrae" | "Pacific/Kwajalein" | "Pacific/Majuro" | "Pacific/Marquesas" | "Pacific/Midway" | "Pacific/Nauru" | "Pacific/Niue" | "Pacific/Norfolk" | "Pacific/Noumea" | "Pacific/Pago_Pago" | "Pacific/Palau" | "Pacific/Pitcairn" | "Pacific/Pohnpei" | "Pacific/Ponape" | "Pacific/Port_Moresby" | "Pacific/Rarotonga" | "Pacific/Saipan" | "Pacific/Samoa" | "Pacific/Tahiti" | "Pacific/Tarawa" | "Pacific/Tongatapu" | "Pacific/Truk" | "Pacific/Wake" | "Pacific/Wallis" | "Pacific/Yap" | "Poland" | "Portugal" | "ROC" | "ROK" | "Singapore" | "Turkey" | "UCT" | "US/Alaska" | "US/Aleutian" | "US/Arizona" | "US/Central" | "US/East-Indiana" | "US/Eastern" | "US/Hawaii" | "US/Indiana-Starke" | "US/Michigan" | "US/Mountain" | "US/Pacific" | "US/Samoa" | "UTC" | "Universal" | "W-SU" | "WET" | "Zulu";
        /** @description A tier that the caller has unlocked, and what it gave. */
        UnlockedAnswer: {
            /** Format: uuid */
            achievementId: string;
            category: string;
            code: string;
            description: string;
            icon: string;
            /** Format: uuid */
            id: string;
            name: string;
            tier: number;
            /** Format: date-time */
            unlockedAt: string;
            version: number;
            xpReward: number;
        };
        /** @description A page, newest first. */
        UnlockedPage: {
            data: components["schemas"]["UnlockedAnswer"][];
            has_more: boolean;
            next_cursor: string | null;
        };
        /** @description The most within any `days` days, or what happened from `from` until before `until`. */
        Window: {
            /** @default null */
            days: number | null;
            /** @default null */
            from: string | null;
            /** @default null */
            until: string | null;
        };
        /** @description All of one's work: what is left out is gone. `fileIds` are those that uploads answered. */
        WorkInput: {
            /** @default  */
            content: string;
            /** @default [] */
            fileIds: string[];
        };
        /** @description An entry of the ledger, and where it led. `amount` may be negative. */
        XpEvent: {
            amount: number;
            /** Format: date-time */
            at: string;
            category: string;
            currentLevelXp: number;
            /** Format: uuid */
            entryId: string;
            /** @enum {string} */
            kind: "award" | "reversal" | "adjustment";
            level: number;
            levelCurve: string;
            nextLevelXp: number | null;
            previousLevel: number;
            totalXp: number;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    listAchievements: {
        parameters: {
            query?: {
                cursor?: string | null;
                limit?: number;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AchievementsAnswer"];
                };
            };
        };
    };
    downloadFile: {
        parameters: {
            path: {
                fileId: string;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": string;
                };
            };
        };
    };
    listAssignments: {
        parameters: {
            query?: {
                course?: string | null;
                cursor?: string | null;
                limit?: number;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Assignments"];
                };
            };
        };
    };
    getAssignment: {
        parameters: {
            path: {
                assignmentId: string;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AssignmentAnswer"];
                };
            };
        };
    };
    saveDraft: {
        parameters: {
            header?: {
                "If-Match"?: string;
            };
            path: {
                assignmentId: string;
            };
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WorkInput"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SubmissionAnswer"];
                };
            };
        };
    };
    uploadFile: {
        parameters: {
            query?: {
                name?: string;
            };
            header?: {
                "Idempotency-Key"?: string;
            };
            path: {
                assignmentId: string;
            };
        };
        requestBody: {
            content: {
                "application/octet-stream": string;
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FileAnswer"];
                };
            };
        };
    };
    submitWork: {
        parameters: {
            header?: {
                "Idempotency-Key"?: string;
                "If-Match"?: string;
            };
            path: {
                assignmentId: string;
            };
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WorkInput"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SubmissionAnswer"];
                };
            };
        };
    };
    listCategories: {
        parameters: {
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Categories"];
                };
            };
        };
    };
    getBadge: {
        parameters: {
            path: {
                certificateId: string;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/jwt": string;
                };
            };
        };
    };
    getCertificatePdf: {
        parameters: {
            path: {
                certificateId: string;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/pdf": string;
                };
            };
        };
    };
    listCourses: {
        parameters: {
            query?: {
                category?: string | null;
                cursor?: string | null;
                difficulty?: ("beginner" | "intermediate" | "advanced") | null;
                limit?: number;
                q?: string | null;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Courses"];
                };
            };
        };
    };
    getCourse: {
        parameters: {
            path: {
                courseId: string;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CourseAnswer"];
                };
            };
        };
    };
    getLesson: {
        parameters: {
            path: {
                courseId: string;
                lessonId: string;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LessonAnswer"];
                };
            };
        };
    };
    listQuizzes: {
        parameters: {
            query?: {
                cursor?: string | null;
                limit?: number;
            };
            path: {
                courseId: string;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["QuizSummaries"];
                };
            };
        };
    };
    enroll: {
        parameters: {
            header?: {
                "Idempotency-Key"?: string;
            };
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EnrollmentInput"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OwnEnrollment"];
                };
            };
        };
    };
    getMe: {
        parameters: {
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Me"];
                };
            };
        };
    };
    updateMe: {
        parameters: {
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["MeInput"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Me"];
                };
            };
        };
    };
    listMyAchievements: {
        parameters: {
            query?: {
                cursor?: string | null;
                limit?: number;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UnlockedPage"];
                };
            };
        };
    };
    listCertificates: {
        parameters: {
            query?: {
                cursor?: string | null;
                limit?: number;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Certificates"];
                };
            };
        };
    };
    streamEvents: {
        parameters: {
            query?: {
                lastEventId?: string;
                poll?: boolean;
            };
            header?: {
                "If-None-Match"?: string;
                "Last-Event-ID"?: string;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EventBatch"];
                    "text/event-stream": unknown;
                };
            };
            204: {
                headers: {
                    [name: string]: unknown;
                };
            };
            304: {
                headers: {
                    [name: string]: unknown;
                };
            };
        };
    };
    exportOwn: {
        parameters: {
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/zip": string;
                };
            };
        };
    };
    getStats: {
        parameters: {
            header?: {
                "If-None-Match"?: string;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StatsAnswer"];
                };
            };
            304: {
                headers: {
                    [name: string]: unknown;
                };
            };
        };
    };
    getStreak: {
        parameters: {
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StreakAnswer"];
                };
            };
        };
    };
    launchPartnerCourse: {
        parameters: {
            path: {
                enrollmentId: string;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html": string;
                };
            };
            302: {
                headers: {
                    [name: string]: unknown;
                };
            };
        };
    };
    getQuizAttempt: {
        parameters: {
            path: {
                attemptId: string;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["QuizAttemptAnswer"];
                };
            };
        };
    };
    saveQuizAnswers: {
        parameters: {
            path: {
                attemptId: string;
            };
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["QuizAnswersInput"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["QuizAttemptSummary"];
                };
            };
        };
    };
    submitQuizAttempt: {
        parameters: {
            header?: {
                "Idempotency-Key"?: string;
            };
            path: {
                attemptId: string;
            };
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["QuizAnswersInput"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["QuizAttemptAnswer"];
                };
            };
        };
    };
    listQuizAttempts: {
        parameters: {
            query?: {
                cursor?: string | null;
                limit?: number;
            };
            path: {
                quizId: string;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["QuizAttemptSummaries"];
                };
            };
        };
    };
    startQuizAttempt: {
        parameters: {
            header?: {
                "Idempotency-Key"?: string;
            };
            path: {
                quizId: string;
            };
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["QuizStartInput"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["QuizAttemptAnswer"];
                };
            };
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["QuizAttemptAnswer"];
                };
            };
        };
    };
    listPartnerEnrollments: {
        parameters: {
            query?: {
                cursor?: string | null;
                limit?: number;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PartnerEnrollments"];
                };
            };
        };
    };
    getXp: {
        parameters: {
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StandingAnswer"];
                };
            };
        };
    };
    analyseXp: {
        parameters: {
            query?: {
                by?: "category" | "source" | "day";
                days?: number;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Shares"];
                };
            };
        };
    };
    awardXp: {
        parameters: {
            header?: {
                "Idempotency-Key"?: string;
                Prefer?: string;
            };
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AwardInput"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AwardAnswer"];
                };
            };
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
        };
    };
    listXpTransactions: {
        parameters: {
            query?: {
                cursor?: string | null;
                limit?: number;
                view?: "effective" | "audit";
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Entries"];
                };
            };
        };
    };
}
