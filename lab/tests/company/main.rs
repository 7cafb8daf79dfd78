//! The company's servers, each talked to over its own protocol on loopback sockets.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod control_plane;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod idp;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod pdp;
#[cfg(test)]
mod records;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod support;
