//! `events:tap`: a copy of each batch while somebody subscribes. It never holds judging up:
//! what its queue cannot take is not copied.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ravn_shared::config::RedisConfig;
use redis::RedisResult;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;

use super::connect;

/// Batches that wait to be copied.
const QUEUE: usize = 64;
/// Batches that are copied in one go.
const IN_ONE_GO: usize = 16;
/// How often subscribers are counted.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A running tap; ends when it is dropped.
#[derive(Debug)]
pub struct Tap {
    wanted: Arc<AtomicBool>,
    queue: Sender<Arc<[u8]>>,
    task: JoinHandle<()>,
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tap {
    /// Starts it, on a connection of its own.
    pub fn start(config: RedisConfig, channel: String) -> Self {
        let wanted = Arc::new(AtomicBool::new(false));
        let (queue, mut copies) = mpsc::channel(QUEUE);
        let flag = Arc::clone(&wanted);
        let task = tokio::spawn(async move {
            loop {
                // Failures are the engine's to tell: it speaks to the same Redis.
                if let Err(error) = run(&config, &channel, &flag, &mut copies).await {
                    tracing::debug!("tap: {error}");
                }
                flag.store(false, Ordering::Relaxed);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self {
            wanted,
            queue,
            task,
        }
    }

    /// Offers a batch.
    pub fn offer(&self, batch: &Arc<[u8]>) {
        if self.wanted.load(Ordering::Relaxed) {
            // Full: a slow subscriber sees less, and its own numbers show what.
            let _ = self.queue.try_send(Arc::clone(batch));
        }
    }
}

async fn run(
    config: &RedisConfig,
    channel: &str,
    wanted: &AtomicBool,
    copies: &mut Receiver<Arc<[u8]>>,
) -> RedisResult<()> {
    let mut connection = connect::open(config).await?;
    let mut batches = Vec::with_capacity(IN_ONE_GO);
    let mut look = Instant::now();
    loop {
        if Instant::now() >= look {
            let (_, listeners): (String, u64) = redis::cmd("PUBSUB")
                .arg("NUMSUB")
                .arg(channel)
                .query_async(&mut connection)
                .await?;
            wanted.store(listeners > 0, Ordering::Relaxed);
            look = Instant::now() + LOOK_EVERY;
        }
        let wait = tokio::time::timeout_at(look.into(), copies.recv_many(&mut batches, IN_ONE_GO));
        match wait.await {
            Err(_) => {}
            Ok(0) => return Ok(()),
            Ok(_) => {
                let mut pipe = redis::pipe();
                for batch in batches.drain(..) {
                    pipe.cmd("PUBLISH").arg(channel).arg(&*batch);
                }
                pipe.exec_async(&mut connection).await?;
            }
        }
    }
}
