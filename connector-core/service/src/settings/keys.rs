//! Every setting, in one table: from it come the reading of files, `ztna config`, the documents
//! for administrators and the templates for managing many devices.

/// What can be set.
#[derive(Debug)]
pub(crate) struct Key {
    /// The key in files.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) place: Place,
    pub(crate) applies: Applies,
    /// As it would be written in a file; in brackets, what it depends on; empty where there is none.
    pub(crate) default: &'static str,
    /// What it does, in a sentence or two for administrators.
    pub(crate) description: &'static str,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Flag,
    List,
    Number,
    Text,
}

/// Where a value may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Every file, and this environment variable.
    Anywhere(&'static str),
    /// The managed settings alone: what binds the person is not the person's to say.
    Managed,
}

/// When another value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applies {
    /// Within seconds, for which the service starts anew.
    Anew,
    /// Within seconds.
    Live,
}

/// Every key, in the order in which `ztna config` shows them.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "control_plane.url",
        kind: Kind::Text,
        place: Place::Anywhere("ZTNA_CONTROL_PLANE_URL"),
        applies: Applies::Anew,
        default: "",
        description: "The control plane's base URL. http is accepted for loopback addresses only.",
    },
    Key {
        name: "control_plane.policy_key",
        kind: Kind::Text,
        place: Place::Anywhere("ZTNA_POLICY_KEY"),
        applies: Applies::Anew,
        default: "",
        description: "The company's Ed25519 public key, as 43 characters of base64url. It signs the configuration, the policies and the codes of `ztna override`.",
    },
    Key {
        name: "control_plane.dns_suffixes",
        kind: Kind::List,
        place: Place::Anywhere("ZTNA_DNS_SUFFIXES"),
        applies: Applies::Anew,
        default: "",
        description: "The domains that the company may protect. Names outside of them are ignored.",
    },
    Key {
        name: "control_plane.enrolment_token_file",
        kind: Kind::Text,
        place: Place::Anywhere("ZTNA_ENROLMENT_TOKEN_FILE"),
        applies: Applies::Anew,
        default: "",
        description: "A file with the one-time token that admits this device, where the control plane asks for one.",
    },
    Key {
        name: "device.name",
        kind: Kind::Text,
        place: Place::Anywhere("ZTNA_DEVICE_NAME"),
        applies: Applies::Anew,
        default: "(the computer's name)",
        description: "What people call this device.",
    },
    Key {
        name: "service.state_dir",
        kind: Kind::Text,
        place: Place::Anywhere("ZTNA_STATE_DIR"),
        applies: Applies::Anew,
        default: "(by system and user)",
        description: "Where keys and state are kept.",
    },
    Key {
        name: "service.log_dir",
        kind: Kind::Text,
        place: Place::Anywhere("ZTNA_LOG_DIR"),
        applies: Applies::Anew,
        default: "(by system and user)",
        description: "Where the decision log is written.",
    },
    Key {
        name: "service.socket",
        kind: Kind::Text,
        place: Place::Anywhere("ZTNA_SOCKET"),
        applies: Applies::Anew,
        default: "(by system and user)",
        description: "Where the service listens for `ztna` and the tray.",
    },
    Key {
        name: "service.key_store",
        kind: Kind::Text,
        place: Place::Anywhere("ZTNA_KEY_STORE"),
        applies: Applies::Anew,
        default: "\"system\"",
        description: "Where the key lies that seals what is kept of a person: `system` for the system's key store, `files` for files that are private and not sealed.",
    },
    Key {
        name: "policy.mode",
        kind: Kind::Text,
        place: Place::Anywhere("ZTNA_POLICY_MODE"),
        applies: Applies::Anew,
        default: "\"company\"",
        description: "Where decisions are made: `company` for what the company's configuration says, or `remote`, `proximity`, `proximity-then-remote`.",
    },
    Key {
        name: "proxy.enabled",
        kind: Kind::Flag,
        place: Place::Anywhere("ZTNA_PROXY_ENABLED"),
        applies: Applies::Anew,
        default: "true",
        description: "Whether there is a local proxy.",
    },
    Key {
        name: "proxy.listen",
        kind: Kind::Text,
        place: Place::Anywhere("ZTNA_PROXY_LISTEN"),
        applies: Applies::Anew,
        default: "\"127.0.0.1:7080\"",
        description: "Where the local proxy listens; loopback addresses only.",
    },
    Key {
        name: "telemetry.otlp_endpoint",
        kind: Kind::Text,
        place: Place::Anywhere("ZTNA_OTLP_ENDPOINT"),
        applies: Applies::Live,
        default: "",
        description: "A collector that gets decisions as OpenTelemetry logs, beside the control plane.",
    },
    Key {
        name: "log.level",
        kind: Kind::Text,
        place: Place::Anywhere("ZTNA_LOG"),
        applies: Applies::Live,
        default: "\"info\"",
        description: "Which lines the service logs: off, error, warn, info, debug, trace, or target=level.",
    },
    Key {
        name: "log.format",
        kind: Kind::Text,
        place: Place::Anywhere("ZTNA_LOG_FORMAT"),
        applies: Applies::Anew,
        default: "\"text\"",
        description: "How the service logs: `text` or `json`.",
    },
    Key {
        name: "always_on.enabled",
        kind: Kind::Flag,
        place: Place::Managed,
        applies: Applies::Live,
        default: "false",
        description: "Locks the connector on: people cannot switch it off with `ztna down` or in the tray, and a pause that is running ends. Only a code of the company (`ztna override`) opens it for a time.",
    },
    Key {
        name: "pause.allowed",
        kind: Kind::Flag,
        place: Place::Managed,
        applies: Applies::Live,
        default: "true",
        description: "Whether people may switch the connector off. Where not, only a code of the company (`ztna override`) does.",
    },
    Key {
        name: "pause.reason_required",
        kind: Kind::Flag,
        place: Place::Managed,
        applies: Applies::Live,
        default: "false",
        description: "Whether people who switch the connector off have to say why. The reason is written into the decision log.",
    },
    Key {
        name: "pause.limit",
        kind: Kind::Number,
        place: Place::Managed,
        applies: Applies::Live,
        default: "",
        description: "The longest time, in minutes, that people may switch the connector off; a longer or endless pause is shortened to it.",
    },
    Key {
        name: "tray.autostart",
        kind: Kind::Flag,
        place: Place::Managed,
        applies: Applies::Live,
        default: "true",
        description: "Whether the tray stays when it is started at login. Where not, it ends at once; people can still start it themselves.",
    },
    Key {
        name: "support.address",
        kind: Kind::Text,
        place: Place::Managed,
        applies: Applies::Live,
        default: "(what the company's configuration says)",
        description: "Where people get help, as an address, a page or a sentence.",
    },
    Key {
        name: "managed.by",
        kind: Kind::Text,
        place: Place::Managed,
        applies: Applies::Live,
        default: "(your administrator)",
        description: "Who manages this device, as people read it beside what they cannot change.",
    },
    Key {
        name: "update.channel",
        kind: Kind::Text,
        place: Place::Managed,
        applies: Applies::Live,
        default: "",
        description: "The channel that this device gets its packages from. Only shown: the connector has no updater, the system's package manager updates it.",
    },
];
