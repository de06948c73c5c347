//! The ledger and the alerts as a reader of Redis sees them, and what must hold of both.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Sandbox, wait_until};

/// Waits until nothing is queued or in flight any more, and gives the ledger.
///
/// # Errors
/// When something stays under way.
pub fn settled(sandbox: &Sandbox, limit: Duration) -> Result<Value> {
    let mut last = Value::Null;
    wait_until(limit, "a ledger with nothing under way", || {
        last = sandbox.status()?["ledger"].take();
        let waiting = ["records", "syscalls"].iter().any(|of| {
            ["queued", "in_flight"]
                .iter()
                .any(|sum| last[of][sum].as_u64() != Some(0))
        });
        Ok((!waiting && last["records"]["judged"].as_u64() > Some(0)).then(|| last.clone()))
    })
    .map_err(|error| error.context(last.to_string()))
}

/// Everything that was lost of `side`, a part of the ledger.
pub fn lost(side: &Value) -> u64 {
    let reasons = side["lost"].as_object();
    let counts = reasons.into_iter().flat_map(serde_json::Map::values);
    counts.filter_map(Value::as_u64).sum()
}

/// The balance holds, and every gap has its reason.
///
/// # Errors
/// With the ledger, when not.
pub fn check_balance(ledger: &Value) -> Result<()> {
    check_balance_but_gaps(ledger)?;
    for of in ["records", "syscalls"] {
        let unexplained = ledger[of]["unexplained"].as_u64();
        ensure!(unexplained == Some(0), "{of} unexplained: {ledger}");
    }
    Ok(())
}

/// The balance holds; gaps may have no reason.
///
/// # Errors
/// With the ledger, when not.
pub fn check_balance_but_gaps(ledger: &Value) -> Result<()> {
    for of in ["records", "syscalls"] {
        let part = &ledger[of];
        let sum = |name: &str| {
            let sum = part[name].as_u64();
            sum.with_context(|| format!("no {of}.{name} in {ledger}"))
        };
        let accounted = sum("judged")?
            + lost(part)
            + sum("queued")?
            + sum("in_flight")?
            + sum("dead")?
            + sum("unexplained")?;
        ensure!(sum("produced")? == accounted, "{of}: {ledger}");
    }
    Ok(())
}

/// Every alert: its finding uid, and the finding.
///
/// # Errors
/// When Redis does not answer.
pub fn alerts(sandbox: &Sandbox) -> Result<Vec<(String, Value)>> {
    let output = sandbox.ravn(&["alerts", "--last", "10000", "--json"])?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| {
            let body: Value = serde_json::from_str(line)?;
            let uid = body["finding_info"]["uid"].as_str().unwrap_or_default();
            Ok((uid.to_owned(), body))
        })
        .collect()
}

/// No alert was said twice.
///
/// # Errors
/// With those that were.
pub fn check_once(alerts: &[(String, Value)]) -> Result<()> {
    let mut seen: HashMap<(&str, u64, u64), usize> = HashMap::new();
    for (uid, body) in alerts {
        let number = |name: &str| body[name].as_u64().unwrap_or_default();
        let key = (uid.as_str(), number("activity_id"), number("count"));
        *seen.entry(key).or_default() += 1;
    }
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    ensure!(twice.is_empty(), "said twice: {twice:?}");
    Ok(())
}
