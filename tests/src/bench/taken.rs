//! A reader of `events:raw` beside an analyzer's: takes every batch and says what was in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ravn_shared::clock::boottime_ns;
use ravn_shared::wire::Lost;

use crate::harness::Sandbox;

/// Longest wait of one BRPOP, seconds, before the reader looks whether it shall end.
const WAIT_S: f64 = 0.1;
/// Batches of one RPOP.
const MANY: usize = 64;
/// Between two looks at how much has come.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A thread that takes batches until it is told to stop; `T` is what it gathers.
#[derive(Debug)]
pub struct Taker<T> {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<T>>,
}

impl<T: Default + Send + 'static> Taker<T> {
    /// Shows each batch to `look`, with CLOCK_BOOTTIME as it was when the batch came, nanoseconds.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub fn start(
        sandbox: &Sandbox,
        mut look: impl FnMut(&mut T, u64, &[u8]) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let mut connection = sandbox.redis.admin()?;
        let key = sandbox.keys().raw();
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut gathered = T::default();
            loop {
                // Looked at first: what was pushed before the stop is still taken.
                let last = until.load(Ordering::Relaxed);
                let more = take(&mut connection, &key, |now_ns, bytes| {
                    look(&mut gathered, now_ns, bytes)
                })?;
                if last && !more {
                    return Ok(gathered);
                }
            }
        });
        Ok(Self { stop, thread })
    }

    /// Takes what is there, and gives what was gathered. Whatever filled the list has ended.
    ///
    /// # Errors
    /// When Redis failed, or a batch was none.
    pub fn end(self) -> Result<T> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the reader panicked")?
    }
}

/// Waits for one batch and takes what stands behind it. False: nothing more is there.
fn take(
    connection: &mut redis::Connection,
    key: &str,
    mut look: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<bool> {
    let first: Option<(String, Vec<u8>)> = redis::cmd("BRPOP")
        .arg(key)
        .arg(WAIT_S)
        .query(connection)
        .context("take a batch")?;
    let now_ns = boottime_ns();
    let Some((_, bytes)) = first else {
        return Ok(false);
    };
    look(now_ns, &bytes)?;
    let more: Option<Vec<Vec<u8>>> = redis::cmd("RPOP").arg(key).arg(MANY).query(connection)?;
    let now_ns = boottime_ns();
    let more = more.unwrap_or_default();
    for bytes in &more {
        look(now_ns, bytes)?;
    }
    Ok(more.len() == MANY)
}

/// What stands around a batch's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// [`ravn_shared::kind::Class`] of its records.
    pub class: u8,
    /// How many records it has.
    pub records: u64,
    /// What its sender lost so far, by stream and reason.
    pub lost: Lost,
}

/// Reads a batch's frame without looking into its records: decoding a flood would take a share of
/// the CPUs from what is measured.
///
/// # Errors
/// When the bytes are no batch.
pub fn frame(bytes: &[u8]) -> Result<Frame> {
    let mut input = bytes;
    let fields = rmp::decode::read_array_len(&mut input).context("a batch")?;
    anyhow::ensure!(fields == 10, "a batch of {fields} fields");
    for _ in 0..CLASS {
        skip(&mut input)?;
    }
    // A small number is its own byte.
    let class = *input.first().context("a batch without a class")?;
    skip(&mut input)?;
    skip(&mut input)?;
    let before = input;
    skip(&mut input)?;
    let lost = rmp_serde::from_slice(&before[..before.len() - input.len()])?;
    let records = rmp::decode::read_array_len(&mut input).context("the records of a batch")?;
    Ok(Frame {
        class,
        records: u64::from(records),
        lost,
    })
}

/// Index of the class among a batch's fields.
const CLASS: usize = 6;

/// Skips one value, of the kinds that a batch's header has.
fn skip(input: &mut &[u8]) -> Result<()> {
    use rmp::Marker;
    let mut at = *input;
    let flat = match rmp::decode::read_marker(&mut at)
        .ok()
        .context("a cut batch")?
    {
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
            for _ in 0..rmp::decode::read_array_len(input)? {
                skip(input)?;
            }
            return Ok(());
        }
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
            rmp::decode::read_str_len(input)? as usize
        }
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => rmp::decode::read_bin_len(input)? as usize,
        _ => {
            rmp::decode::read_int::<i128, _>(input)
                .ok()
                .context("a number of a batch")?;
            0
        }
    };
    *input = input.get(flat..).context("a cut batch")?;
    Ok(())
}

/// Waits until `count` has not grown for `quiet`, at most for `limit`; growth of less than
/// `few` a second is the host's own. Gives when it last grew.
///
/// # Errors
/// When it never ends.
pub fn wait_quiet(
    limit: Duration,
    quiet: Duration,
    few: f64,
    count: impl Fn() -> u64,
) -> Result<Instant> {
    let end = Instant::now() + limit;
    let (mut last, mut grew) = ((Instant::now(), count()), Instant::now());
    while grew.elapsed() < quiet {
        anyhow::ensure!(
            Instant::now() < end,
            "records still arrive {limit:?} after the storm's end"
        );
        std::thread::sleep(LOOK_EVERY);
        let now = (Instant::now(), count());
        let seconds = (now.0 - last.0).as_secs_f64();
        if (now.1 - last.1) as f64 > few * seconds {
            grew = now.0;
        }
        last = now;
    }
    Ok(grew)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ravn_shared::event::{Event, Exit, Place, Record, Task};
    use ravn_shared::kind::{Class, Reason, Stream};
    use ravn_shared::wire::{self, Header, Lost};

    use super::{Frame, frame};

    #[test]
    fn a_frame_tells_class_count_and_losses() {
        let header = Header {
            schema: wire::SCHEMA,
            host: "a-host",
            boot_id: &[7; 16],
            run_id: u64::MAX,
            batch_no: 3,
            clock_offset_ns: -5,
            class: Class::Sequences,
            source: ("x86_64", 250),
            lost: Lost {
                load_id: 9,
                taken: vec![(Stream::File, 1, 70_000)],
                reasons: vec![(Stream::File, Reason::RingFull, 3)],
            },
        };
        let record = Record {
            cpu: 0,
            n: 1,
            time_ns: 2,
            task: Task::default(),
            place: Place::default(),
            event: Event::Exit(Exit {
                status: 0,
                thread_start_ns: 1,
                process: true,
            }),
        };
        let mut one = Vec::new();
        wire::encode_record(&record, &mut one).unwrap();
        let mut batch = Vec::new();
        let records = vec![one.as_slice(); 300];
        wire::encode_batch(&header, records.into_iter(), &mut batch).unwrap();
        let told = Frame {
            class: 2,
            records: 300,
            lost: header.lost,
        };
        assert_eq!(frame(&batch).unwrap(), told);
        assert!(frame(&batch[..20]).is_err());
    }
}
