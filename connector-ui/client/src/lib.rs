//! What every front-end needs: the conversation with the service, the person's browser, and times.

pub mod browser;
mod companion;
mod service;
mod stamp;

pub use self::companion::companion;
pub use self::service::{ONE_ANSWER, ONE_SIGN_IN, Replies, Service, ServiceError, is_forbidden};
pub use self::stamp::unix_seconds;
