//! The ledger for people: a sum that can be checked by eye, for records and for syscalls.

use super::paint::{Paint, grouped};
use super::state::State;

/// The parts of `produced`, as the ledger names them and as people read them; what was lost
/// stands between the first and the others.
const PARTS: [(&str, &str); 5] = [
    ("judged", "judged"),
    ("queued", "queued"),
    ("in_flight", "in flight"),
    ("dead", "dead"),
    ("unexplained", "unexplained"),
];

/// One line a side, and one below it for what was lost, the most first; none while nobody keeps
/// the ledger.
pub fn lines(state: &State, paint: Paint) -> Vec<String> {
    let mut out = Vec::new();
    for side in ["records", "syscalls"] {
        if !state.has_ledger(side) {
            continue;
        }
        out.push(format!(
            "{} {}",
            paint.dim(&format!("{side:<11}")),
            sum(state, side, paint)
        ));
        let by = state.lost_by(side);
        if !by.is_empty() {
            let reasons: Vec<String> = by
                .iter()
                .map(|(reason, count)| format!("{reason} {}", grouped(*count)))
                .collect();
            out.push(format!(
                "{} {}",
                paint.dim(&format!("{:<11}", "  lost")),
                reasons.join(", ")
            ));
        }
    }
    out
}

/// `produced 1 234 = judged 1 200 + lost 30 + queued 4 + …`.
fn sum(state: &State, side: &str, paint: Paint) -> String {
    let (produced, lost) = (state.ledger(side, "produced"), state.lost(side));
    let mut accounted = lost;
    let mut parts = Vec::new();
    for (name, shown) in PARTS {
        let count = state.ledger(side, name);
        accounted += count;
        let words = format!("{shown} {}", grouped(count));
        let wrong = count > 0 && matches!(name, "dead" | "unexplained");
        parts.push(if wrong { paint.bad(&words) } else { words });
        if name == "judged" {
            let words = format!("lost {}", grouped(lost));
            parts.push(if lost > 0 { paint.bad(&words) } else { words });
        }
    }
    let mut line = format!("produced {} = {}", grouped(produced), parts.join(" + "));
    if accounted != produced {
        let words = format!("   DOES NOT BALANCE: the parts are {}", grouped(accounted));
        line.push_str(&paint.bad(&words));
    }
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Map, Value, json};

    use super::*;

    fn shown(ledger: Value) -> Vec<String> {
        let mut analyzer = Map::new();
        analyzer.insert("ledger".to_owned(), ledger);
        let state = State {
            analyzer,
            ..State::default()
        };
        lines(&state, Paint::new())
    }

    #[test]
    fn every_part_stands_in_the_sum() {
        let ledger = json!({
            "records": {
                "produced": 1234, "judged": 1190, "lost": {"kernel.budget": 10, "collector.list_full": 20},
                "queued": 4, "in_flight": 3, "dead": 2, "unexplained": 5,
            },
            "syscalls": {
                "produced": 7, "judged": 7, "lost": {}, "queued": 0, "in_flight": 0, "dead": 0,
                "unexplained": 0,
            },
        });
        assert_eq!(
            shown(ledger),
            [
                "records     produced 1 234 = judged 1 190 + lost 30 + queued 4 + in flight 3 + dead 2 + unexplained 5",
                "  lost      collector.list_full 20, kernel.budget 10",
                "syscalls    produced 7 = judged 7 + lost 0 + queued 0 + in flight 0 + dead 0 + unexplained 0",
            ]
        );
    }

    #[test]
    fn a_sum_that_is_wrong_says_so() {
        let lines = shown(json!({"records": {"produced": 9, "judged": 7, "lost": {}}}));
        assert!(
            lines[0].ends_with("DOES NOT BALANCE: the parts are 7"),
            "{lines:?}"
        );
        assert!(shown(json!(null)).is_empty());
    }
}
