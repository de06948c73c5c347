//! `ravn:state` and the line of `systemctl status`.

use ravn_shared::clock;
use serde::Serialize;

use super::judging::Judging;

/// Version of the hash's layout.
const VERSION: &str = "1";
/// Most processes that are listed.
const PROCESSES: usize = 20;

/// The fields of `ravn:state`.
pub fn fields(judging: &Judging) -> Vec<(&'static str, String)> {
    let standing = judging.judge.score();
    let now_ns = judging.now_ns();
    let rates = &judging.rates;
    vec![
        ("v", VERSION.to_owned()),
        ("level", standing.level.word().to_owned()),
        ("score", number(standing.score)),
        ("score_now", number(standing.score_now)),
        ("peak", number(standing.peak)),
        ("since", standing.since_ms.to_string()),
        ("mode", judging.said.mode.word().to_owned()),
        ("mode_reason", judging.said.reason.clone()),
        ("reason", standing.reason),
        ("incident", standing.incident.unwrap_or_default()),
        ("model", judging.said.model.clone()),
        ("rules", judging.rules.clone()),
        ("lag_ms", lag_ms(judging).to_string()),
        ("events_per_s", number(rates.records_per_s())),
        ("syscalls_per_s", number(rates.syscalls_per_s())),
        ("scored_share", format!("{:.3}", rates.scored_share())),
        ("updated", clock::realtime_ms().to_string()),
        ("dead_batches", judging.ledger.dead_batches().to_string()),
        ("unknown_kinds", judging.ledger.unknown_kinds().to_string()),
        ("ledger", json(&judging.ledger.account(now_ns))),
        ("processes", json(&judging.judge.processes(PROCESSES))),
        ("incidents", json(&judging.judge.incidents())),
    ]
}

/// One line of what is going on.
pub fn line(judging: &Judging) -> String {
    let account = judging.ledger.account(judging.now_ns());
    format!(
        "{}, {} mode, {:.0} records/s, {:.0} syscalls/s, {} ms behind, {} unexplained",
        judging.judge.level().word(),
        judging.said.mode.word(),
        judging.rates.records_per_s(),
        judging.rates.syscalls_per_s(),
        lag_ms(judging),
        account.records.unexplained + account.syscalls.unexplained,
    )
}

/// Age of the newest record when it was judged; 0 where the queue was empty since.
fn lag_ms(judging: &Judging) -> u64 {
    // Nothing was judged yet: there is no newest record.
    if judging.rates.idle || judging.rates.newest_ns == 0 {
        0
    } else {
        let now_ns = judging.reckoned_ns();
        now_ns.saturating_sub(judging.rates.newest_ns) / 1_000_000
    }
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| {
        tracing::error!("ravn:state: {error}");
        "null".to_owned()
    })
}
