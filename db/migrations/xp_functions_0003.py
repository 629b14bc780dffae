"""The database's side of the XP ledger, as revision 0003 makes it. Frozen: a change is a new revision.

Triggers keep the totals: an entry moves its user's row, nothing else may. Functions do in one round trip, under the
user's row lock, what would take six: complete a lesson, award under a business key, reverse with all that followed.
"""

from __future__ import annotations

# sqrt: floor(sqrt(xp / 100)) from 0. linear: xp / 100 + 1 from 1. Else "table:START:T0,T1,...". `domain.levels` agrees.
LEVEL = """
CREATE FUNCTION xp_level(xp bigint, curve text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE curve
        WHEN 'sqrt' THEN floor(sqrt((greatest(xp, 0) / 100)::double precision))::integer
        WHEN 'linear' THEN (greatest(xp, 0) / 100)::integer + 1
        ELSE split_part(curve, ':', 2)::integer - 1
            + width_bucket(greatest(xp, 0), string_to_array(split_part(curve, ':', 3), ',')::bigint[])
    END
$$
"""
# The curve of the transaction, which the functions below and `domain.xp` set.
CURVE = """
CREATE FUNCTION xp_curve() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(current_setting('usher.level_curve', true), ''), 'sqrt')
$$
"""
LEDGER_BEFORE = """
CREATE FUNCTION xp_ledger_before() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE balance bigint;
BEGIN
    SELECT total_xp INTO balance FROM users WHERE id = NEW.user_id FOR NO KEY UPDATE;
    NEW.seq := nextval('xp_transactions_seq');
    NEW.balance_after := coalesce(balance, 0) + NEW.amount;
    RETURN NEW;
END $$
"""
# The total moves after the insert, not before it: an insert that meets ON CONFLICT DO NOTHING moves nothing.
LEDGER_AFTER = """
CREATE FUNCTION xp_ledger_after() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE balance bigint;
BEGIN
    UPDATE users SET total_xp = total_xp + NEW.amount, level = xp_level(total_xp + NEW.amount, xp_curve()),
        highest_level = greatest(highest_level, xp_level(total_xp + NEW.amount, xp_curve()))
    WHERE id = NEW.user_id RETURNING total_xp INTO balance;
    IF balance IS DISTINCT FROM NEW.balance_after THEN
        RAISE EXCEPTION 'a statement may insert one entry of a user' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$
"""
# An empty ledger may be truncated (a benchmark that starts afresh): there is nothing to lose.
LEDGER_REFUSE = """
CREATE FUNCTION xp_ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'TRUNCATE' OR EXISTS (SELECT 1 FROM xp_transactions) THEN
        RAISE EXCEPTION 'xp_transactions is append-only: % is refused, post a reversal', TG_OP
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$
"""
# For changes that do not come from the ledger's trigger: only what the ledger says may be written.
TOTALS_GUARD = """
CREATE FUNCTION xp_totals_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE total bigint; highest bigint;
BEGIN
    SELECT coalesce(sum(amount), 0), greatest(max(balance_after), 0) INTO total, highest
    FROM xp_transactions WHERE user_id = NEW.id;
    IF NEW.total_xp <> total OR NEW.level <> xp_level(total, xp_curve())
        OR NEW.highest_level <> xp_level(highest, xp_curve()) THEN
        RAISE EXCEPTION 'total_xp, level and highest_level follow from xp_transactions: post an entry instead'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$
"""
TRIGGERS = (
    (
        "CREATE TRIGGER xp_ledger_before BEFORE INSERT ON xp_transactions"
        " FOR EACH ROW EXECUTE FUNCTION xp_ledger_before()"
    ),
    (
        "CREATE TRIGGER xp_ledger_after AFTER INSERT ON xp_transactions"
        " FOR EACH ROW EXECUTE FUNCTION xp_ledger_after()"
    ),
    (
        "CREATE TRIGGER xp_ledger_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON xp_transactions"
        " FOR EACH STATEMENT EXECUTE FUNCTION xp_ledger_refuse()"
    ),
    (
        "CREATE TRIGGER xp_totals_guard_insert BEFORE INSERT ON users FOR EACH ROW"
        " WHEN ((NEW.total_xp, NEW.level, NEW.highest_level) <> (0, 0, 0)) EXECUTE FUNCTION xp_totals_guard()"
    ),
    (
        "CREATE TRIGGER xp_totals_guard_update BEFORE UPDATE ON users FOR EACH ROW"
        " WHEN (pg_trigger_depth() = 0 AND (OLD.total_xp, OLD.level, OLD.highest_level)"
        " <> (NEW.total_xp, NEW.level, NEW.highest_level)) EXECUTE FUNCTION xp_totals_guard()"
    ),
)
# An award under a business key: the standing one where there is one, else the next generation of it.
AWARD = """
CREATE FUNCTION xp_award(
    p_user uuid, p_key text, p_base integer, p_factor integer, p_breakdown jsonb, p_source_type text,
    p_source_id text, p_category text, p_reason text, p_description text, p_caused_by uuid, p_revocable boolean,
    p_transport text, p_occurred timestamptz, p_curve text,
    OUT created boolean, OUT entry uuid, OUT awarded integer, OUT total_after bigint,
    OUT level_before integer, OUT level_after integer
) LANGUAGE plpgsql AS $$
DECLARE latest record;
BEGIN
    PERFORM set_config('usher.level_curve', p_curve, true);
    SELECT u.total_xp INTO total_after FROM users u WHERE u.id = p_user FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    level_before := xp_level(total_after, p_curve);
    level_after := level_before;
    SELECT a.id, a.amount, a.generation,
        EXISTS (SELECT 1 FROM xp_transactions r WHERE r.reverses_id = a.id) AS reversed
    INTO latest FROM xp_transactions a
    WHERE a.user_id = p_user AND a.business_key = p_key ORDER BY a.generation DESC LIMIT 1;
    created := NOT FOUND OR latest.reversed;
    IF NOT created THEN
        entry := latest.id;
        awarded := latest.amount;
        RETURN;
    END IF;
    INSERT INTO xp_transactions (user_id, kind, amount, source_type, source_id, category, reason, description,
        business_key, generation, transport_key, caused_by_id, revocable, base, factor, breakdown, occurred_at)
    VALUES (p_user, 'award', ((p_base::bigint * p_factor + 5000) / 10000)::integer, p_source_type, p_source_id,
        p_category, p_reason, p_description, p_key, coalesce(latest.generation + 1, 0), p_transport, p_caused_by,
        p_revocable, p_base, p_factor, p_breakdown, coalesce(p_occurred, now()))
    RETURNING id, amount, balance_after INTO entry, awarded, total_after;
    level_after := xp_level(total_after, p_curve);
END $$
"""
# What of a course somebody has done, brought up to date in the enrolment, with XP added or taken.
PROGRESS = """
CREATE FUNCTION xp_enrollment_progress(
    p_user uuid, p_course uuid, p_xp integer, p_at timestamptz, OUT percentage integer
) LANGUAGE sql AS $$
    UPDATE enrollments e SET xp_earned = e.xp_earned + p_xp,
        started_at = coalesce(e.started_at, p_at),
        completion_percentage = CASE WHEN found.lessons = 0 THEN 0 ELSE found.done * 100 / found.lessons END,
        completed_at = CASE WHEN found.lessons > 0 AND found.done = found.lessons
            THEN coalesce(e.completed_at, p_at) END
    FROM (
        SELECT count(*) AS lessons, count(p.id) AS done FROM lessons l
        LEFT JOIN lesson_progress p ON p.lesson_id = l.id AND p.user_id = p_user
        WHERE l.course_id = p_course AND l.published
    ) AS found
    WHERE e.user_id = p_user AND e.course_id = p_course
    RETURNING e.completion_percentage
$$
"""
# Locks: the course against its deletion, then the user's row, the ledger, the enrolment.
COMPLETE_LESSON = """
CREATE FUNCTION xp_complete_lesson(
    p_user uuid, p_course uuid, p_lesson uuid, p_claimed integer, p_factor integer, p_breakdown jsonb,
    p_transport text, p_curve text,
    OUT outcome text, OUT entry uuid, OUT base integer, OUT awarded integer, OUT course_awarded integer,
    OUT percentage integer, OUT total_after bigint, OUT level_before integer, OUT level_after integer
) LANGUAGE plpgsql AS $$
DECLARE course_reward integer; given record; at timestamptz := now();
BEGIN
    PERFORM 1 FROM courses WHERE id = p_course AND deleted_at IS NULL FOR KEY SHARE;
    IF NOT FOUND THEN outcome := 'not_enrolled'; RETURN; END IF;
    PERFORM 1 FROM users WHERE id = p_user FOR NO KEY UPDATE;
    PERFORM 1 FROM enrollments WHERE user_id = p_user AND course_id = p_course;
    IF NOT FOUND THEN outcome := 'not_enrolled'; RETURN; END IF;
    SELECT l.xp_reward, c.xp_reward INTO base, course_reward FROM lessons l JOIN courses c ON c.id = l.course_id
    WHERE l.id = p_lesson AND l.course_id = p_course AND l.published;
    IF NOT FOUND THEN outcome := 'no_lesson'; RETURN; END IF;
    IF p_claimed <> base THEN outcome := 'wrong_amount'; RETURN; END IF;
    INSERT INTO lesson_progress (user_id, lesson_id, course_id, completed_at)
    VALUES (p_user, p_lesson, p_course, at) ON CONFLICT (user_id, lesson_id) DO NOTHING;
    IF NOT FOUND THEN outcome := 'completed_before'; RETURN; END IF;
    SELECT * INTO given FROM xp_award(p_user, 'lesson:' || p_lesson, base, p_factor, p_breakdown, 'LESSON',
        p_lesson::text, 'LESSON', 'lesson_completed', 'Lesson completed', NULL, true, p_transport, at, p_curve);
    outcome := 'awarded';
    entry := given.entry;
    awarded := CASE WHEN given.created THEN given.awarded ELSE 0 END;
    total_after := given.total_after;
    level_before := given.level_before;
    level_after := given.level_after;
    percentage := xp_enrollment_progress(p_user, p_course, awarded, at);
    course_awarded := 0;
    IF percentage < 100 THEN RETURN; END IF;
    SELECT * INTO given FROM xp_award(p_user, 'course:' || p_course, course_reward, p_factor, p_breakdown, 'COURSE',
        p_course::text, 'COURSE', 'course_completed', 'Course completed', entry, true, NULL, at, p_curve);
    IF given.created THEN
        course_awarded := given.awarded;
        UPDATE enrollments SET xp_earned = xp_earned + course_awarded
        WHERE user_id = p_user AND course_id = p_course;
    END IF;
    total_after := given.total_after;
    level_after := given.level_after;
END $$
"""
# The reversal of an award, of what it caused, and of the completion of a course that is not complete any more.
REVERSE = """
CREATE FUNCTION xp_reverse(
    p_award uuid, p_reason text, p_description text, p_transport text, p_curve text,
    OUT outcome text, OUT reversal uuid, OUT owner uuid, OUT entries integer, OUT total_after bigint
) LANGUAGE plpgsql AS $$
DECLARE award xp_transactions; course uuid; follow uuid; nested record;
BEGIN
    PERFORM set_config('usher.level_curve', p_curve, true);
    entries := 0;
    SELECT * INTO award FROM xp_transactions WHERE id = p_award;
    IF NOT FOUND THEN outcome := 'not_found'; RETURN; END IF;
    owner := award.user_id;
    IF award.kind <> 'award' THEN outcome := 'not_an_award'; RETURN; END IF;
    SELECT u.total_xp INTO total_after FROM users u WHERE u.id = owner FOR NO KEY UPDATE;
    SELECT r.id INTO reversal FROM xp_transactions r WHERE r.reverses_id = p_award;
    IF FOUND THEN outcome := 'reversed_before'; RETURN; END IF;
    INSERT INTO xp_transactions (user_id, kind, amount, source_type, source_id, category, reason, description,
        reverses_id, transport_key, base)
    VALUES (owner, 'reversal', -award.amount, award.source_type, award.source_id, award.category, p_reason,
        p_description, p_award, p_transport, -award.amount)
    RETURNING id, balance_after INTO reversal, total_after;
    outcome := 'reversed';
    entries := 1;
    IF award.source_type = 'LESSON' THEN
        DELETE FROM lesson_progress WHERE user_id = owner AND lesson_id = award.source_id::uuid
        RETURNING course_id INTO course;
        PERFORM xp_enrollment_progress(owner, course, -award.amount, now());
    ELSIF award.source_type = 'COURSE' THEN
        UPDATE enrollments SET xp_earned = xp_earned - award.amount
        WHERE user_id = owner AND course_id = award.source_id::uuid;
    END IF;
    FOR follow IN
        SELECT a.id FROM xp_transactions a WHERE a.caused_by_id = p_award AND a.revocable
        UNION
        SELECT a.id FROM xp_transactions a WHERE a.user_id = owner AND a.business_key = 'course:' || course
    LOOP
        SELECT * INTO nested FROM xp_reverse(follow, p_reason, p_description, NULL, p_curve);
        entries := entries + nested.entries;
        total_after := nested.total_after;
    END LOOP;
END $$
"""
FUNCTIONS = (
    LEVEL,
    CURVE,
    LEDGER_BEFORE,
    LEDGER_AFTER,
    LEDGER_REFUSE,
    TOTALS_GUARD,
    AWARD,
    PROGRESS,
    COMPLETE_LESSON,
    REVERSE,
)
NAMES = (
    "xp_reverse",
    "xp_complete_lesson",
    "xp_enrollment_progress",
    "xp_award",
    "xp_totals_guard",
    "xp_ledger_refuse",
    "xp_ledger_after",
    "xp_ledger_before",
    "xp_curve",
    "xp_level",
)
