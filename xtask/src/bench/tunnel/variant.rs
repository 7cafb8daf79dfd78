//! What is put side by side.

use std::fmt;

use clap::ValueEnum;

use super::figures::Metric;

/// Which programs stand at the two ends of the tunnel.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub(super) enum Variant {
    /// Ours at both ends
    Ours,
    /// Ours at both ends, the client with everything permitted and nothing looked up
    OursNoEnforcer,
    /// Our client, wireguard-go as the gateway
    Mixed,
    /// wireguard-go at both ends
    WireguardGo,
}

/// A program at one end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    Ours { enforcer: bool },
    WireguardGo,
}

impl Variant {
    pub(super) const ALL: [Self; 4] = [
        Self::Ours,
        Self::OursNoEnforcer,
        Self::Mixed,
        Self::WireguardGo,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursNoEnforcer => "ours-no-enforcer",
            Self::Mixed => "mixed",
            Self::WireguardGo => "wireguard-go",
        }
    }

    pub(super) fn client(self) -> End {
        match self {
            Self::Ours | Self::Mixed => End::Ours { enforcer: true },
            Self::OursNoEnforcer => End::Ours { enforcer: false },
            Self::WireguardGo => End::WireguardGo,
        }
    }

    pub(super) fn gateway(self) -> End {
        match self {
            Self::Ours | Self::OursNoEnforcer => End::Ours { enforcer: true },
            Self::Mixed | Self::WireguardGo => End::WireguardGo,
        }
    }

    /// Whether the figure is asked of this variant: what no ratio needs is not measured.
    pub(super) fn gives(self, metric: Metric) -> bool {
        match self {
            Self::Ours | Self::WireguardGo => true,
            Self::Mixed | Self::OursNoEnforcer => {
                matches!(metric, Metric::CpuTx | Metric::Tcp1)
            }
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_is_called_the_same_on_the_command_line_and_in_reports() {
        for variant in Variant::ALL {
            let value = variant.to_possible_value().unwrap();

            assert_eq!(value.get_name(), variant.name());
        }
    }
}
