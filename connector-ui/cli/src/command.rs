//! What can be typed.

mod examples;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use connector_platform::decision_log::PublicKey;

use self::examples::{
    BUNDLE_EXAMPLES, COMPLETION_EXAMPLES, DECISIONS_EXAMPLES, DELEGATE_EXAMPLES, DOCTOR_EXAMPLES,
    DOWN_EXAMPLES, ELEVATE_EXAMPLES, EXAMPLES, LOGIN_EXAMPLES, OVERRIDE_EXAMPLES, POSTURE_EXAMPLES,
    REPAIR_EXAMPLES, REPLAY_EXAMPLES, REQUEST_EXAMPLES, SHOW_EXAMPLES, STATUS_EXAMPLES,
    TEST_EXAMPLES, VERIFY_EXAMPLES, WHY_EXAMPLES,
};
use crate::target::Target;

/// Shows and steers the ZTNA connector on this device.
#[derive(Debug, Parser)]
#[command(
    name = "ztna",
    version,
    after_help = EXAMPLES
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every verb accepts.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where the service listens [env: ZTNA_SOCKET] [default: your own service, else the system's]
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        hide_short_help = true,
        help_heading = "Global options"
    )]
    pub(crate) socket: Option<PathBuf>,
    /// How long to wait for an answer [default: 30; login: 300]
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        value_parser = seconds,
        hide_short_help = true,
        help_heading = "Global options"
    )]
    pub(crate) timeout: Option<u64>,
    /// Prints nothing but errors; the exit code tells
    #[arg(
        short,
        long,
        global = true,
        hide_short_help = true,
        help_heading = "Global options"
    )]
    pub(crate) quiet: bool,
    /// When to use colour: always, never or auto, on a terminal without NO_COLOR
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        hide_short_help = true,
        help_heading = "Global options"
    )]
    pub(crate) color: ColorWhen,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Signs you in with your company's identity provider
    #[command(after_help = LOGIN_EXAMPLES)]
    Login(LoginArgs),
    /// Signs you out and forgets your tokens
    Logout,
    /// Takes and admits connections to protected applications again
    #[command(visible_alias = "connect")]
    Up,
    /// Ends connections to protected applications and leaves the machine as it was, until `ztna up`
    #[command(visible_alias = "disconnect")]
    #[command(after_help = DOWN_EXAMPLES)]
    Down(DownArgs),
    /// Shows what the help desk needs for a code that switches off what the administrator locked on
    #[command(after_help = OVERRIDE_EXAMPLES)]
    Override(OverrideArgs),
    /// Shows where the connector stands, and what to do if something is wrong
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// Shows who is signed in
    Whoami(Format),
    /// Lists the protected applications
    #[command(visible_alias = "networks")]
    Resources(Format),
    /// Tells whether you may reach an application and why: from the answer in force, or asks the policy
    #[command(visible_alias = "explain", after_help = WHY_EXAMPLES)]
    Why(WhyArgs),
    /// Asks that you be let in to an application for a time
    #[command(after_help = REQUEST_EXAMPLES)]
    Request(RequestArgs),
    /// Lists what you have asked for, and what became of it
    Requests(Format),
    /// Consents that a program acts for you, or takes that back
    #[command(after_help = DELEGATE_EXAMPLES)]
    Delegate(DelegateArgs),
    /// Lists the programs that act for you
    Delegations(Format),
    /// Acts in the context of another identity, or stops that
    #[command(after_help = ELEVATE_EXAMPLES)]
    Elevate(ElevateArgs),
    /// Lists in whose context you act
    Elevations(Format),
    /// Shows this device's checks, and how to mend what does not pass
    #[command(after_help = POSTURE_EXAMPLES)]
    Posture(PostureArgs),
    /// Lists what was permitted, denied and revoked
    #[command(after_help = DECISIONS_EXAMPLES)]
    Decisions(DecisionsArgs),
    /// Shows the policies on this device, and what they decide
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// Verifies the decision log itself, or prints it, without the service
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Shows the settings in force
    Config(ConfigArgs),
    /// Looks for whatever can be wrong, and says how to mend it
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(Format),
    /// Measures the way to the company: control plane, clock, each gateway
    Netcheck(Format),
    /// Collects what whoever helps you needs to see
    #[command(subcommand)]
    Debug(DebugVerb),
    /// Shows the versions of this command and of the service
    Version(Format),
    /// Undoes what a service that no longer runs left behind: routes, firewall rules, name servers
    #[command(after_help = REPAIR_EXAMPLES)]
    Repair(RepairArgs),
    /// Has the system start the service at boot, or starts and stops it
    #[command(subcommand)]
    Service(ServiceVerb),
    /// Prints a page of the manual as roff, or the names of all pages; for those who make packages
    #[command(hide = true)]
    Manual {
        /// The page's name
        page: Option<String>,
    },
    /// Prints a completion script for a shell
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completion {
        /// The shell
        shell: Shell,
    },
}

/// How a read verb answers.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Format {
    /// Prints one JSON object with a `schema` member instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Only prints the address; you open it [env: ZTNA_NO_BROWSER]
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// Signs in again, in the stronger or fresher way that the policy wants for this application
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) step_up: Option<Target>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) format: Format,
    /// Shows each change until interrupted; with --json, one object a line
    #[arg(long)]
    pub(crate) watch: bool,
    /// Prints nothing; exits with 0 if so, 1 if not
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["json", "watch"])]
    pub(crate) check: Option<Probe>,
}

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// HOST, HOST:PORT, `[IPV6]:PORT` or a pasted URL
    #[arg(value_name = "HOST[:PORT]")]
    pub(crate) target: Target,
    /// Asks for this program, by its path or name, in place of an unknown one
    #[arg(long = "as", value_name = "PROGRAM")]
    pub(crate) program: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    /// For how long, as in 15m or 2h; the service then switches itself on
    #[arg(long = "for", value_name = "TIME", value_parser = age)]
    pub(crate) seconds: Option<u64>,
    /// Why, for the record; your administrator may ask for it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct OverrideArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<OverrideVerb>,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// What to do with a code.
#[derive(Debug, Subcommand)]
pub(crate) enum OverrideVerb {
    /// Switches off by a code of the company, for the time that it allows
    Redeem(RedeemArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RedeemArgs {
    /// The code; `-` reads it from standard input
    #[arg(value_name = "CODE", default_value = "-")]
    pub(crate) code: String,
    /// Why you need it, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    /// HOST, HOST:PORT, `[IPV6]:PORT` or a pasted URL
    #[arg(value_name = "HOST[:PORT]")]
    pub(crate) target: Target,
    /// Why you need it, for whoever decides
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// For how long, counted from the approval, as in 30m or 2h
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = age)]
    pub(crate) seconds: u64,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct DelegateArgs {
    /// The program, by its path or name; scripts cannot be told from their interpreter
    #[arg(value_name = "PROGRAM", required_unless_present = "revoke")]
    pub(crate) program: Option<PathBuf>,
    /// The applications, by their ids or names, separated by commas
    #[arg(
        long = "to",
        value_name = "APPLICATION",
        value_delimiter = ',',
        required_unless_present = "revoke"
    )]
    pub(crate) scope: Vec<String>,
    /// For how long, as in 30m or 2h
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = age)]
    pub(crate) seconds: u64,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Takes back the consent of this id
    #[arg(
        long,
        value_name = "ID",
        conflicts_with_all = ["program", "scope", "seconds", "reason", "json"]
    )]
    pub(crate) revoke: Option<String>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct ElevateArgs {
    /// In whose context: what your company's identity provider calls them
    #[arg(value_name = "TARGET", required_unless_present = "revoke")]
    pub(crate) target: Option<String>,
    /// Why, for the record and for the policy
    #[arg(long, value_name = "TEXT", required_unless_present = "revoke")]
    pub(crate) reason: Option<String>,
    /// What proves it, as in ticket:4711; may be given more than once
    #[arg(long, value_name = "TEXT")]
    pub(crate) evidence: Vec<String>,
    /// For how long, as in 30m or 2h
    #[arg(long = "for", value_name = "TIME", default_value = "30m", value_parser = age)]
    pub(crate) seconds: u64,
    /// Ends the elevation of this id
    #[arg(
        long,
        value_name = "ID",
        conflicts_with_all = ["target", "reason", "evidence", "seconds", "json"]
    )]
    pub(crate) revoke: Option<String>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    #[command(flatten)]
    pub(crate) format: Format,
    /// Only tells what would be undone
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Where the service kept its state [default: as the service's own default]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PostureArgs {
    #[command(flatten)]
    pub(crate) format: Format,
    /// Measures again first
    #[arg(long)]
    pub(crate) refresh: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DecisionsArgs {
    #[command(flatten)]
    pub(crate) format: Format,
    /// Goes on with new decisions until interrupted; with --json, one object a line
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Leaves out what was permitted
    #[arg(long)]
    pub(crate) denied: bool,
    /// At most this many past decisions, 0 to 10000
    #[arg(
        long,
        short = 'n',
        value_name = "N",
        default_value_t = 20,
        value_parser = limit
    )]
    pub(crate) limit: u16,
}

/// What to collect.
#[derive(Debug, Subcommand)]
pub(crate) enum DebugVerb {
    /// Writes a file with everything that the service tells you, for you to look through and share
    #[command(after_help = BUNDLE_EXAMPLES)]
    Bundle(BundleArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// Replaces names, addresses and paths by numbered ones
    #[arg(long)]
    pub(crate) anonymize: bool,
    /// Writes to this file, which must not be there yet [default: ztna-debug-TIME.tar]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// What to do with the decision log.
#[derive(Debug, Subcommand)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one, read from the command line"
)]
pub(crate) enum AuditVerb {
    /// Prints every record that is kept, the oldest first, as it is in the log
    Export(ExportArgs),
    /// Tells whether records were changed, removed, reordered or made anew
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
}

/// What to do with the system's service.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum ServiceVerb {
    /// Has the system start the service, `ztnad` beside this command, at each boot
    Install,
    /// Starts it, and waits until it is ready
    Start,
    /// Tells whether it is installed and runs
    Status(Format),
    /// Stops it until the next boot
    Stop,
    /// Stops it and has the system forget it; keys, state and settings stay
    Uninstall,
}

/// What to do with the policies on this device.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyVerb {
    /// Lists the commits that this device knows, newest first
    Log(Format),
    /// Shows what a commit holds, or the text of one of its files
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    /// Puts a table of requests to a commit, and tells which answers are not the expected ones
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArgs),
    /// Puts this device's recorded decisions to another commit, and tells what it would change
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// A table: one request and its expected answer a line, as JSON
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// `active`, `candidate`, or the beginning of a commit's name
    #[arg(long, value_name = "COMMIT", default_value = "active")]
    pub(crate) commit: String,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// `active`, `candidate`, or the beginning of a commit's name [default: the candidate, else the active one]
    #[arg(long, value_name = "COMMIT")]
    pub(crate) commit: Option<String>,
    /// Leaves out what was decided longer ago, as in 30m, 12h or 7d [default: nothing]
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(crate) since: Option<u64>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// `active`, `candidate`, or the beginning of a commit's name
    #[arg(value_name = "COMMIT", default_value = "active")]
    pub(crate) commit: String,
    /// The name of a file, whose text is printed
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<String>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Where the service writes its log [default: as the service's own default]
    #[arg(long, value_name = "DIR")]
    pub(crate) log_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Files of one log, the oldest first [default: all that the service keeps]
    #[arg(value_name = "FILE", conflicts_with = "log_dir")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) format: Format,
    /// Where the service writes its log [default: as the service's own default]
    #[arg(long, value_name = "DIR")]
    pub(crate) log_dir: Option<PathBuf>,
    /// The host's public key, as the control plane knows it [default: the one that the log names]
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<PublicKey>,
    /// Checkpoints that were kept elsewhere, one line each as it was in the log
    #[arg(long, value_name = "FILE")]
    pub(crate) anchor: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    pub(crate) format: Format,
    /// Tells where each setting comes from; JSON always does
    #[arg(long)]
    pub(crate) show_origin: bool,
}

/// What `status --check` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Probe {
    /// The service answers
    Live,
    /// Somebody is signed in and a gateway answered when it was last used
    Ready,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Also into files and pipes
    Always,
    /// Not at all
    Never,
}

fn seconds(text: &str) -> Result<u64, String> {
    let number = text
        .parse()
        .ok()
        .filter(|given| (1..=86_400).contains(given));
    number.ok_or_else(|| format!("`{text}` is no number of seconds; it is one from 1 to 86400"))
}

/// Reads a length of time as seconds.
fn age(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no such time; write it as in 30m, 12h or 7d");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).unwrap_or_default();
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).ok_or_else(wrong)
}

fn limit(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|given| *given <= 10_000);
    number.ok_or_else(|| format!("`{text}` is no number of decisions; it is one from 0 to 10000"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_probe_has_no_other_output() {
        for extra in ["--json", "--watch"] {
            assert!(Cli::try_parse_from(["ztna", "status", "--check", "live", extra]).is_err());
        }
    }

    #[test]
    fn an_age_has_a_unit() {
        for (text, seconds) in [("0s", 0), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(age(text), Ok(seconds), "{text}");
        }
        for text in [
            "",
            "7",
            "d",
            "-1d",
            "7 d",
            "7w",
            "99999999999999999999d",
            "7ä",
        ] {
            assert!(age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn global_options_are_accepted_before_and_after_the_verb() {
        for arguments in [
            ["ztna", "-q", "--socket", "/s", "whoami"],
            ["ztna", "whoami", "-q", "--socket", "/s"],
        ] {
            let cli = Cli::try_parse_from(arguments).unwrap();
            assert!(cli.global.quiet);
            assert_eq!(cli.global.socket, Some("/s".into()));
        }
    }
}
