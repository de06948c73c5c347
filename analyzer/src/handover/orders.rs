//! Signals, as orders to the engine.

use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::mpsc::{self, UnboundedReceiver};

/// What the service manager, or who holds the terminal, wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Drain, commit and end.
    Stop,
    /// Read the rules anew.
    Reload,
}

/// Turns SIGTERM, SIGINT and SIGHUP into orders from now on.
///
/// # Errors
/// When the system refuses a handler or a thread.
pub fn from_signals() -> std::io::Result<UnboundedReceiver<Order>> {
    let (give, orders) = mpsc::unbounded_channel();
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                let order = match signal {
                    SIGHUP => Order::Reload,
                    _ => Order::Stop,
                };
                if give.send(order).is_err() {
                    return;
                }
            }
        })?;
    Ok(orders)
}
