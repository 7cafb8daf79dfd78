//! The command line of `ztnad`.

use std::io;
use std::path::PathBuf;

use clap::{CommandFactory, Parser};
use connector_platform::endpoint::Audience;
use connector_platform::paths::Paths;
use connector_platform::{programs, steering};

use crate::adapters::measuring;
use crate::settings::{Flags, Sources};

/// The ZTNA Connector service: decides about every connection to a protected
/// application and carries what is permitted through WireGuard.
#[derive(Debug, Parser)]
#[command(
    name = "ztnad",
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
    /// Be run by the Service Control Manager of Windows
    #[arg(long, hide = true)]
    service: bool,
    /// Print the manual's page as roff, for those who make packages
    #[arg(long, hide = true, exclusive = true)]
    manual: bool,
    /// Change /etc/resolv.conf for a service that may not, as standard input asks; systemd starts it so
    #[arg(long, hide = true, exclusive = true)]
    resolver_file: bool,
    /// Look into processes for a service that may not, as those who connect to the socket on standard input ask;
    /// systemd starts it so
    #[arg(long, hide = true, exclusive = true)]
    programs: bool,
    /// Read this file instead of the user's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read the managed settings from this file, in place of the system's
    #[arg(long, value_name = "FILE")]
    managed: Option<PathBuf>,
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
    /// Which log lines to write, as in `info` or `warn,connector_service=debug`
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

/// Something that is done without being the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Prints the manual's page.
    Manual,
    /// Looks into processes for a service that may not.
    Programs,
    /// Changes the resolver's file for a service that may not.
    ResolverFile,
}

impl Errand {
    /// Does it.
    pub(crate) fn run(self) -> io::Result<()> {
        match self {
            Self::Manual => clap_mangen::Man::new(Options::command())
                .section("8")
                .render(&mut io::stdout().lock()),
            Self::Programs => programs::serve(measuring::read_screen_locks),
            Self::ResolverFile => {
                steering::change_resolver_file(io::stdin().lock(), io::stdout().lock())
            }
        }
    }
}

impl Options {
    /// Returns whether the system's manager of services is to run this.
    pub(crate) const fn is_hosted(&self) -> bool {
        self.service
    }

    /// Returns what to do in place of being the service.
    pub(crate) const fn errand(&self) -> Option<Errand> {
        if self.manual {
            Some(Errand::Manual)
        } else if self.programs {
            Some(Errand::Programs)
        } else if self.resolver_file {
            Some(Errand::ResolverFile)
        } else {
            None
        }
    }

    /// Returns how traffic comes in.
    pub(crate) fn mode(&self) -> Mode {
        if self.userspace {
            Mode::Userspace
        } else {
            Mode::Transparent
        }
    }

    /// Returns for whom the service is: the machine's is for all of its users, one at a time.
    pub(crate) fn audience(&self) -> Audience {
        if self.system || connector_platform::paths::is_system_service() {
            Audience::Machine
        } else {
            Audience::Own
        }
    }

    /// Collects where settings come from.
    pub(crate) fn sources(&self) -> anyhow::Result<Sources> {
        let paths = match self.audience() {
            Audience::Machine => Paths::system(),
            Audience::Own => Paths::user()?,
        };
        Ok(Sources::collect(
            &paths,
            self.managed.as_deref(),
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
