//! The programs, as processes, against the lab and against other people's peers.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod control;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod daily;
#[cfg(test)]
mod diagnosis;
#[cfg(test)]
mod gateways;
#[cfg(test)]
mod keyring;
#[cfg(test)]
mod kit;
#[cfg(test)]
mod managed;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod permguard;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod posture;
#[cfg(test)]
mod proximity;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod supervised;
#[cfg(test)]
mod transparent;
#[cfg(test)]
mod tray;
#[cfg(test)]
mod trust;
#[cfg(test)]
mod users;
