//! `ravn record`: the tap, into a file.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::access::{Access, said, tap};
use super::paint::grouped;
use crate::model::recording::Writer;

/// What `ravn record` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The new file; command lines and paths will stand in it, so it is its owner's alone
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Stop after this long; without it, at Ctrl-C
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
}

/// Between two looks at the clock and for a signal, and between two flushes.
const EVERY: Duration = Duration::from_millis(200);

/// Records every batch that is judged, until Ctrl-C or for the time that was asked for.
///
/// # Errors
/// What Redis said, or why the file cannot be written.
pub fn run(access: &Access, args: &Args) -> Result<ExitCode> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [libc::SIGINT, libc::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mut connection = access.operator()?;
    let mut tap = tap(&mut connection, &access.keys())?;
    tap.set_read_timeout(Some(EVERY))
        .map_err(|error| said(&error))?;
    // Made after subscribing: who waits for the file knows that nothing is missed from now on.
    let mut recording = Writer::create(&args.file)?;
    let end = args
        .seconds
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let (mut batches, mut bytes) = (0u64, 0u64);
    let mut flushed = Instant::now();
    while !stop.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
        match tap.get_message() {
            Ok(message) => {
                let batch = message.get_payload_bytes();
                if recording.push(batch)? {
                    batches += 1;
                    bytes += batch.len() as u64;
                }
            }
            // The signal that ends the recording interrupts the read too.
            Err(error) if error.is_timeout() || stop.load(Ordering::Relaxed) => {}
            Err(error) => {
                recording.finish()?;
                return Err(said(&error));
            }
        }
        if flushed.elapsed() >= EVERY {
            recording.flush()?;
            flushed = Instant::now();
        }
    }
    recording.finish()?;
    eprintln!(
        "{}: {} batches, {} bytes of them",
        args.file.display(),
        grouped(batches),
        grouped(bytes)
    );
    Ok(ExitCode::SUCCESS)
}
