//! Waiting for a thing to be so, with a deadline; never for a time to pass.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(5);

/// Looks again and again until `look` gives a value, at most for `limit`.
///
/// # Errors
/// `what` and the limit when time is up; an error of `look` at once.
pub fn wait_until<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = look()? {
            return Ok(value);
        }
        if Instant::now() >= end {
            bail!("waited {limit:?} for {what}");
        }
        std::thread::sleep(EVERY);
    }
}
