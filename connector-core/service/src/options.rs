//! The command line of `ztnad`.

use std::path::PathBuf;

use clap::Parser;
use connector_platform::paths::Paths;

use crate::settings::{Flags, Settings};

/// The ZTNA Connector service: decides about every connection to a protected
/// application and carries what is permitted through WireGuard.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Settings come, the strongest first, from the managed file, these flags, the environment (ZTNA_…),\n\
                  the user's file and the administrator's file. `ztna config --show-origin` tells which.\n\n\
                  Example:\n  ztnad --userspace --config ./ztna.toml"
)]
pub(crate) struct Options {
    /// Run without a network device: applications are reached through the local proxy alone. Needs no rights
    #[arg(long)]
    userspace: bool,
    /// Be the service of the whole machine, whatever user it runs as: the system's paths, and no user's file.
    /// The administrator's is that anyway
    #[arg(long)]
    system: bool,
    /// Change /etc/resolv.conf for a service that may not, as standard input asks; systemd starts it so
    #[arg(long, hide = true, exclusive = true)]
    resolver_file: bool,
    /// Read this file instead of the user's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep keys and state here
    #[arg(long, value_name = "DIR")]
    state_dir: Option<String>,
    /// Write the decision log here
    #[arg(long, value_name = "DIR")]
    log_dir: Option<String>,
    /// Listen here for `ztna`
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
    /// Where the local proxy listens
    #[arg(long, value_name = "ADDRESS:PORT")]
    proxy_listen: Option<String>,
    /// Which log lines to write, as in `info` or `ztnad=debug`
    #[arg(long, value_name = "FILTER")]
    log_level: Option<String>,
    /// How to write log lines: text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

/// How traffic comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Through a network device, and the local proxy.
    Transparent,
    /// Through the local proxy alone.
    Userspace,
}

impl Options {
    /// Returns whether this is not the service, but changes the resolver's file for it.
    pub(crate) const fn is_for_resolver_file(&self) -> bool {
        self.resolver_file
    }

    /// Returns how traffic comes in.
    pub(crate) fn mode(&self) -> Mode {
        if self.userspace {
            Mode::Userspace
        } else {
            Mode::Transparent
        }
    }

    /// Collects the settings from everywhere.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let paths = if self.system || connector_platform::paths::is_system_service() {
            Paths::system()
        } else {
            Paths::user()?
        };
        Ok(Settings::collect(
            &paths,
            self.config.as_deref(),
            self.flags(),
            |variable| std::env::var(variable).ok(),
        )?)
    }

    fn flags(&self) -> Flags {
        [
            ("service.state_dir", "state-dir", &self.state_dir),
            ("service.log_dir", "log-dir", &self.log_dir),
            ("service.socket", "socket", &self.socket),
            ("proxy.listen", "proxy-listen", &self.proxy_listen),
            ("log.level", "log-level", &self.log_level),
            ("log.format", "log-format", &self.log_format),
        ]
        .into_iter()
        .filter_map(|(key, flag, value)| Some((key, (flag, value.clone()?))))
        .collect()
    }
}
