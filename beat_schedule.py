"""When each periodic task is asked for. Data only.

A task claims its turn in the database (`scheduled_runs`), so two beats do no harm, and what it does follows from due
times in the database, so a turn that was missed is made up for by the next.
"""

from __future__ import annotations

from typing import Any

BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    # Looks which partners are due; each partner's own interval is SYNC_INTERVAL (an hour).
    "sync-progress": {"task": "tasks.progress.schedule", "schedule": 15.0},
    # Payments that named somebody or something we did not know yet.
    "reconsider-waiting": {"task": "tasks.housekeeping.reconsider_waiting", "schedule": 300.0},
    # Partners that were paused because they refused our credentials.
    "probe-partners": {"task": "tasks.partner_watch.probe", "schedule": 300.0},
    # Looks whether the comparison with Stripe (each hour, where STRIPE_SECRET_KEY is set) or with a partner (each day) is due.
    "reconcile": {"task": "tasks.reconcile.schedule", "schedule": 300.0},
    # Attempts at quizzes whose time is over.
    "expire-quizzes": {"task": "tasks.quizzes.expire", "schedule": 15.0},
    # Every total against its ledger.
    "verify-xp": {"task": "tasks.xp.verify", "schedule": 86_400.0},
    # Uploads that were never handed in.
    "sweep-files": {"task": "tasks.files.sweep", "schedule": 3600.0},
    # Looks for which zones a date has ended: runs that nothing covers break then.
    "streaks": {"task": "tasks.gamification.nightly", "schedule": 900.0},
    # Vouchers that came back while somebody waits; pools that run low because codes expire.
    "sweep-vouchers": {"task": "tasks.manual.sweep", "schedule": 60.0},
    # Reminders of streaks in the evening of each zone; seats that stay failed.
    "mails": {"task": "tasks.mail.turn", "schedule": 900.0},
    # What staff have to hear about at once; each relay looks too.
    "watch": {"task": "tasks.watch.look", "schedule": 30.0},
    "trim": {"task": "tasks.housekeeping.trim", "schedule": 3600.0},
}
