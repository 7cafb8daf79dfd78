//! What the tray and the window show, as pure data: [`view::menu`] says what the menu is,
//! [`pages::Model`] what the window's pages are, [`notices::Notices`] what is worth a message,
//! [`icon`] what the icons look like, [`texts::Texts`] in which words.
//!
//! None of these has a clock or performs IO. What both programs need beside them does:
//! [`link`] follows the service, [`choices`] carries out what the person chooses, and
//! [`preferences`] keeps what they like.

pub mod choices;
pub mod icon;
pub mod link;
pub mod notices;
pub mod pages;
pub mod preferences;
#[cfg(test)]
mod sample;
pub mod texts;
pub mod view;
