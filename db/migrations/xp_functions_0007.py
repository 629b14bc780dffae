"""What revision 0007 changes in the database's side of the XP ledger: prices by rule. Frozen: a change is a new revision."""

from __future__ import annotations

# A price that is told is taken as it is. Else: what held when it happened, 1 + sum(m - 1), at most 3.
PRICE = """
CREATE FUNCTION xp_price(
    p_factor integer, p_breakdown jsonb, p_source_type text, p_category text, p_course uuid, p_at timestamptz,
    OUT factor integer, OUT breakdown jsonb
) LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p_factor IS NOT NULL THEN
        factor := p_factor;
        breakdown := p_breakdown;
        RETURN;
    END IF;
    factor := 10000;
    breakdown := '[]'::jsonb;
    IF p_source_type IN ('MANUAL_ADJUSTMENT', 'SPECIAL_ACHIEVEMENT', 'CHALLENGE', 'REFERRAL', 'LEGACY', 'RECALCULATION')
        OR p_category IN ('ACHIEVEMENT', 'MANUAL', 'CHALLENGE', 'REFERRAL', 'LEGACY') THEN
        RETURN;
    END IF;
    SELECT least(10000 + coalesce(sum(m.factor - 10000), 0), 30000),
        coalesce(
            jsonb_agg(jsonb_build_object('id', m.id, 'name', m.name, 'factor', m.factor) ORDER BY m.starts_at, m.id),
            '[]'::jsonb
        )
    INTO factor, breakdown FROM xp_multipliers m
    WHERE m.active AND m.starts_at <= p_at AND m.ends_at > p_at
        AND (m.course_id IS NULL OR m.course_id = p_course)
        AND (m.category IS NULL OR m.category = p_category)
        AND (m.source_type IS NULL OR m.source_type = p_source_type);
END $$
"""
# As in 0003, with a price for the lesson and one for the course, and with the time at which it was completed.
COMPLETE_LESSON = """
CREATE FUNCTION xp_complete_lesson(
    p_user uuid, p_course uuid, p_lesson uuid, p_claimed integer, p_factor integer, p_breakdown jsonb,
    p_transport text, p_curve text, p_at timestamptz DEFAULT NULL,
    OUT outcome text, OUT entry uuid, OUT base integer, OUT awarded integer, OUT course_awarded integer,
    OUT percentage integer, OUT total_after bigint, OUT level_before integer, OUT level_after integer
) LANGUAGE plpgsql AS $$
DECLARE course_reward integer; price record; given record; at timestamptz := least(p_at, now());
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
    SELECT * INTO price FROM xp_price(p_factor, p_breakdown, 'LESSON', 'LESSON', p_course, at);
    SELECT * INTO given FROM xp_award(p_user, 'lesson:' || p_lesson, base, price.factor, price.breakdown, 'LESSON',
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
    SELECT * INTO price FROM xp_price(p_factor, p_breakdown, 'COURSE', 'COURSE', p_course, at);
    SELECT * INTO given FROM xp_award(p_user, 'course:' || p_course, course_reward, price.factor, price.breakdown,
        'COURSE', p_course::text, 'COURSE', 'course_completed', 'Course completed', entry, true, NULL, at, p_curve);
    IF given.created THEN
        course_awarded := given.awarded;
        UPDATE enrollments SET xp_earned = xp_earned + course_awarded
        WHERE user_id = p_user AND course_id = p_course;
    END IF;
    total_after := given.total_after;
    level_after := given.level_after;
END $$
"""
