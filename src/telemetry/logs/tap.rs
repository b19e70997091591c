//! Readers of the log besides standard error. Each has a bounded queue; a slow one misses lines.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{Layer, fmt::format::Writer, layer::Context};

use super::line;

/// Lines that wait for one reader.
const LINES_MAX: usize = 1024;

/// The readers.
#[derive(Clone, Debug, Default)]
pub(super) struct LogTap(Arc<Readers>);

#[derive(Debug, Default)]
struct Readers {
    /// Their number, so that nothing is formatted for none.
    number: AtomicUsize,
    list: Mutex<Vec<(Level, mpsc::Sender<Box<str>>)>>,
}

impl LogTap {
    /// Lines of this level or a graver one, from now on; dropping the receiver ends it.
    pub(super) fn follow(&self, level: Level) -> mpsc::Receiver<Box<str>> {
        let (sender, receiver) = mpsc::channel(LINES_MAX);
        let mut list = self.0.list.lock();
        list.push((level, sender));
        self.0.number.store(list.len(), Ordering::Relaxed);
        receiver
    }
}

impl<S: Subscriber> Layer<S> for LogTap {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if self.0.number.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut text = String::new();
        // Writing to a string can't fail.
        let _ = line::write(&mut Writer::new(&mut text), event, false);
        let level = *event.metadata().level();
        let mut list = self.0.list.lock();
        list.retain(|(wanted, sender)| {
            if level <= *wanted {
                // A full queue misses this line.
                let _ = sender.try_send(text.as_str().into());
            }
            !sender.is_closed()
        });
        self.0.number.store(list.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;
    use tracing_subscriber::layer::SubscriberExt;

    use super::LogTap;

    #[test]
    fn a_reader_gets_lines_of_its_level_in_order_until_it_leaves() {
        let tap = LogTap::default();
        let subscriber = tracing_subscriber::registry().with(tap.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("before");
            let mut reader = tap.follow(Level::INFO);
            tracing::debug!("too fine");
            tracing::info!(port = 80, "first");
            tracing::error!("second\nline");
            let first = reader.try_recv().unwrap();
            assert!(
                first.ends_with("first port=80\n") && first.contains(" INFO "),
                "{first}"
            );
            let second = reader.try_recv().unwrap();
            assert!(second.ends_with("second\\nline\n"), "{second}");
            assert!(reader.try_recv().is_err());
            drop(reader);
            tracing::info!("nobody reads");
            assert_eq!(tap.0.list.lock().len(), 0);
        });
    }
}
