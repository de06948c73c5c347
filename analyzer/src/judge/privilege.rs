//! Who may be root, and who is without a reason.

use ravn_shared::event::{Creds, Event, Record};

use super::process::{CAP_SETUID, Process};

/// The record of an exec is at most this much behind those of other rings.
const EXEC_LATE_NS: u64 = 2_000_000_000;

/// Credentials after a successful call.
pub fn credentials(process: &mut Process, creds: &Creds) {
    process.uid = creds.uids[0];
    process.euid = if creds.uids.contains(&0) && creds.user_ns_level == 0 {
        0
    } else {
        creds.uids[1]
    };
    if !process.creds_known {
        process.creds_known = true;
        process.may_root = process.euid == 0;
    }
    // What a process once held another thread of it may hold still: forgotten at exec alone. A
    // capability counts for its own user namespace.
    process.may_root |=
        process.euid != 0 && creds.user_ns_level == 0 && creds.cap_effective & CAP_SETUID != 0;
}

/// The process holds uid 0 and no exec or right that is known gave it to it. The record of a
/// setuid program's exec may come later than what that program does, from another ring: only
/// the exec's own ring (fork, exit) is sure to be behind it, for others it is given time.
pub fn unexplained_root(process: &mut Process, record: &Record<'_>) -> bool {
    if process.may_root || !process.creds_known || (process.uid != 0 && process.euid != 0) {
        return false;
    }
    let behind = matches!(record.event, Event::Fork(_) | Event::Exit(_));
    if !behind && record.time_ns < process.since_ns.saturating_add(EXEC_LATE_NS) {
        return false;
    }
    process.may_root = true;
    true
}
