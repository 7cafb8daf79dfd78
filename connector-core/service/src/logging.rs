//! Where log lines go: standard error, as text or JSON.

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, Settings};

/// Starts writing log lines.
pub(crate) fn start(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log_level).with_context(|| {
        format!(
            "Failed to read the log filter {:?}; write a level such as info, or target=level",
            settings.log_level
        )
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.with_ansi(false).init(),
    }
    Ok(())
}

/// Tells why the service ended, whether or not log lines are being written yet.
#[expect(clippy::print_stderr, reason = "the log may not have been started")]
pub(crate) fn report(error: &anyhow::Error) {
    eprintln!("ztnad: {error:#}");
}
