//! What the tray shows, as pure data: [`view::menu`] says what the menu is, [`notices::Notices`]
//! what is worth a message, [`icon`] what the icons look like, [`texts::Texts`] in which words.
//!
//! Nothing here has a clock or performs IO; `ztna-tray` tells the time and carries out what the
//! person chooses.

pub mod icon;
pub mod notices;
#[cfg(test)]
mod sample;
pub mod texts;
pub mod view;
