//! What befalls the frames of one way, and the lines that change it.

use std::num::NonZero;
use std::str::FromStr;
use std::time::Duration;

/// An end of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first.
    Near,
    /// The second.
    Far,
}

impl Side {
    /// Both ends.
    pub const BOTH: [Self; 2] = [Self::Near, Self::Far];

    /// Returns the opposite end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Near => Self::Far,
            Self::Far => Self::Near,
        }
    }

    pub(super) fn index(self) -> usize {
        match self {
            Self::Near => 0,
            Self::Far => 1,
        }
    }
}

/// What befalls the frames that come in at one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// How long a frame is on its way at least.
    pub delay: Duration,
    /// How much longer at most.
    pub jitter: Duration,
    /// Vanish.
    pub loss: Share,
    /// Arrive twice.
    pub duplicate: Share,
    /// Fall behind later ones.
    pub reorder: Share,
    /// Arrive with one wrong bit behind the Ethernet header.
    pub corrupt: Share,
    /// Bits a second.
    pub rate: Option<NonZero<u64>>,
    /// The longest packet, and what becomes of longer ones.
    pub mtu: Option<(usize, TooLong)>,
    /// Whether anything passes at all.
    pub is_up: bool,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: Share::default(),
            duplicate: Share::default(),
            reorder: Share::default(),
            corrupt: Share::default(),
            rate: None,
            mtu: None,
            is_up: true,
        }
    }
}

/// What a router makes of a packet that does not fit and must not be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooLong {
    /// Drops it and says nothing.
    Drop,
    /// Drops it and tells the sender (RFC 792, RFC 4443 §3.2).
    Icmp,
}

/// A part of all frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    pub(super) const WHOLE: u64 = 1_000_000;

    pub(super) fn millionths(self) -> u64 {
        self.0
    }
}

/// One line: `[near|far] WORD VALUE…`. With a side, only what comes in there is meant.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    pub(super) from: Option<Side>,
    setting: Setting,
}

#[derive(Debug, Clone, Copy)]
enum Setting {
    Corrupt(Share),
    Delay(Duration),
    Duplicate(Share),
    Jitter(Duration),
    Loss(Share),
    Mtu(Option<(usize, TooLong)>),
    Perfect,
    Rate(Option<NonZero<u64>>),
    Reorder(Share),
    Up(bool),
}

impl Change {
    pub(super) fn apply(&self, conditions: &mut Conditions) {
        match self.setting {
            Setting::Corrupt(share) => conditions.corrupt = share,
            Setting::Delay(delay) => conditions.delay = delay,
            Setting::Duplicate(share) => conditions.duplicate = share,
            Setting::Jitter(jitter) => conditions.jitter = jitter,
            Setting::Loss(share) => conditions.loss = share,
            Setting::Mtu(mtu) => conditions.mtu = mtu,
            Setting::Perfect => *conditions = Conditions::default(),
            Setting::Rate(rate) => conditions.rate = rate,
            Setting::Reorder(share) => conditions.reorder = share,
            Setting::Up(is_up) => conditions.is_up = is_up,
        }
    }
}

impl FromStr for Change {
    type Err = Unknown;

    fn from_str(line: &str) -> Result<Self, Unknown> {
        let unknown = || Unknown(line.to_owned());
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let from = match words.first() {
            Some(&"near") => Some(Side::Near),
            Some(&"far") => Some(Side::Far),
            Some(_) | None => None,
        };
        if from.is_some() {
            words.remove(0);
        }
        let setting = match words[..] {
            ["corrupt", value] => share(value).map(Setting::Corrupt),
            ["delay", value] => duration(value).map(Setting::Delay),
            ["down"] => Some(Setting::Up(false)),
            ["duplicate", value] => share(value).map(Setting::Duplicate),
            ["jitter", value] => duration(value).map(Setting::Jitter),
            ["loss", value] => share(value).map(Setting::Loss),
            ["mtu", "off"] => Some(Setting::Mtu(None)),
            ["mtu", value, "drop"] => mtu(value, TooLong::Drop),
            ["mtu", value, "icmp"] => mtu(value, TooLong::Icmp),
            ["perfect"] => Some(Setting::Perfect),
            ["rate", "off"] => Some(Setting::Rate(None)),
            ["rate", value] => rate(value).map(|rate| Setting::Rate(Some(rate))),
            ["reorder", value] => share(value).map(Setting::Reorder),
            ["up"] => Some(Setting::Up(true)),
            _ => None,
        };
        let setting = setting.ok_or_else(unknown)?;
        Ok(Self { from, setting })
    }
}

/// A line that changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown(String);

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} is no change of the link; write [near|far] and one of: delay 20ms, jitter 5ms, loss 30%, \
             duplicate 5%, reorder 10%, corrupt 1%, rate 10mbit, rate off, mtu 1280 drop, mtu 1280 icmp, mtu off, \
             down, up, perfect",
            self.0
        )
    }
}

impl std::error::Error for Unknown {}

fn share(text: &str) -> Option<Share> {
    let number = text.strip_suffix('%')?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    if part.len() > 4 {
        return None;
    }
    let digits: u64 = format!("{part:0<4}").parse().ok()?;
    let millionths = whole.parse::<u64>().ok()?.checked_mul(10_000)? + digits;
    (millionths <= Share::WHOLE).then_some(Share(millionths))
}

fn duration(text: &str) -> Option<Duration> {
    let milliseconds: u64 = text.strip_suffix("ms")?.parse().ok()?;
    (milliseconds <= 60_000).then(|| Duration::from_millis(milliseconds))
}

fn rate(text: &str) -> Option<NonZero<u64>> {
    let megabits: u64 = text.strip_suffix("mbit")?.parse().ok()?;
    NonZero::new(megabits.checked_mul(1_000_000)?)
}

fn mtu(text: &str, then: TooLong) -> Option<Setting> {
    let mtu: usize = text.parse().ok()?;
    (68..=65_535)
        .contains(&mtu)
        .then_some(Setting::Mtu(Some((mtu, then))))
}
