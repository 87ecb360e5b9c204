//! Where events go.

use std::{env, io, io::IsTerminal, os::fd::AsFd};

use tracing::{Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, filter_fn},
    fmt,
    layer::{Filter, SubscriberExt},
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use super::AUDIT;

/// What the log is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// The form of the log.
    pub format: Format,
    /// Which events are logged: a level, or filter directives like `info,virtcimd::http=debug`.
    pub level: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { format: Format::Auto, level: "info".into() }
    }
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// The journal if standard error is connected to it, else text.
    Auto,
    /// The journal.
    Journal,
    /// Lines of text on standard error.
    Text,
    /// JSON objects, one a line, on standard error.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is no filter.
    #[error("log.level {level:?} is no level and no list of filter directives")]
    Level {
        /// What was written.
        level: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// journald is not there.
    #[error("cannot reach the journal")]
    Journal(#[source] io::Error),
    /// There is a subscriber already.
    #[error("a log is set up already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

impl Options {
    /// Whether the level can be understood.
    ///
    /// # Errors
    /// [`TelemetryError::Level`].
    pub fn validate(&self) -> Result<(), TelemetryError> {
        self.filter().map(drop)
    }

    fn filter(&self) -> Result<EnvFilter, TelemetryError> {
        EnvFilter::builder()
            .with_default_directive(LevelFilter::INFO.into())
            .parse(&self.level)
            .map_err(|source| TelemetryError::Level { level: self.level.clone(), source })
    }
}

/// Sets the process's log up, once.
///
/// # Errors
/// [`TelemetryError`].
pub fn init(options: &Options) -> Result<(), TelemetryError> {
    // Audit records pass whatever the level is.
    let wanted = options.filter()?.or(filter_fn(is_audit));
    let journal = match options.format {
        Format::Journal => true,
        Format::Auto => stderr_is_the_journal(),
        Format::Text | Format::Json => false,
    };
    let layer = if journal {
        let journal = tracing_journald::layer().map_err(TelemetryError::Journal)?;
        journal.with_syslog_identifier("virtcimd".into()).boxed()
    } else {
        stderr_layer(options.format == Format::Json)
    };
    Registry::default().with(with_filter(layer, wanted)).try_init().map_err(TelemetryError::Twice)
}

fn is_audit(metadata: &Metadata<'_>) -> bool {
    metadata.target() == AUDIT
}

fn with_filter<S>(
    layer: Box<dyn Layer<S> + Send + Sync>,
    filter: impl Filter<S> + Send + Sync + 'static,
) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    layer.with_filter(filter)
}

fn stderr_layer<S>(json: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    if json { layer.json().boxed() } else { layer.boxed() }
}

/// Whether standard error is the journal's stream: systemd names its device and inode, because the
/// variable alone would also reach a child whose standard error was redirected.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    nix::sys::stat::fstat(io::stderr().as_fd())
        .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::subscriber::with_default;

    use super::*;
    use crate::telemetry::Clean;

    /// The text that events leave with `level` set.
    fn logged(level: &str, act: impl FnOnce()) -> String {
        #[derive(Clone)]
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let sink = Sink(Arc::default());
        let writer = sink.clone();
        let options = Options { format: Format::Text, level: level.into() };
        let wanted = options.filter().unwrap().or(filter_fn(is_audit));
        let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone()).boxed();
        with_default(Registry::default().with(with_filter(layer, wanted)), act);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn audit_records_pass_every_level() {
        let text = logged("off", || {
            tracing::error!("not this");
            tracing::info!(target: AUDIT, user = %Clean("eve\nforged"), outcome = "refused");
        });
        assert!(text.contains("audit") && text.contains("outcome=\"refused\""), "{text}");
        assert!(!text.contains("not this"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn levels_and_directives_are_understood_and_nonsense_is_not() {
        let text = logged("warn", || {
            tracing::info!("quiet");
            tracing::warn!("loud");
        });
        assert!(text.contains("loud") && !text.contains("quiet"), "{text}");
        for (level, good) in [("info", true), ("warn,virtcimd::http=trace", true), ("lo=ud", false)]
        {
            let options = Options { level: level.into(), ..Options::default() };
            assert_eq!(options.validate().is_ok(), good, "{level}");
        }
    }
}
