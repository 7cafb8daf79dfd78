//! What the end-to-end tests stand on: the programs as processes, a person in front of a login page, unmodified curl,
//! and the outside world in network namespaces.
//!
//! Nothing of the product is linked in: the tests see what a user, a neighbour or an attacker on the machine sees.
//! Whatever goes wrong ends in a panic that says what was expected and where the logs are.

pub mod capture;
pub mod curl;
pub mod desktop;
pub mod emulator;
pub mod flows;
pub mod frames;
pub mod lab;
pub mod machine;
pub mod packets;
pub mod peers;
pub mod person;
pub mod process;
pub mod query;
pub mod scene;
pub mod service;
pub mod sniff;
pub mod stub;
pub mod wait;
pub mod wire;
pub mod world;
