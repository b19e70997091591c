//! What a test logs on its thread.

use std::{
    io::{self, Write},
    sync::Arc,
};

use parking_lot::Mutex;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::{fmt, layer::SubscriberExt};

/// Keeps what this thread logs, as text, until it is dropped.
pub(crate) struct LoggedText {
    text: SharedText,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct SharedText(Arc<Mutex<Vec<u8>>>);

impl Write for SharedText {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LoggedText {
    pub(crate) fn start() -> Self {
        let text = SharedText::default();
        let writer = text.clone();
        let layer = fmt::layer().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer.with_ansi(false));
        Self {
            text,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.text.0.lock().clone()).unwrap()
    }
}
