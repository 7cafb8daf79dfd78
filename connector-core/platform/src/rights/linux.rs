//! Capabilities (`capabilities(7)`).

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, set_capabilities,
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

pub(super) fn act_as_owner_of(directory: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(directory) {
        Ok(found) => found,
        // Nothing is there to be careful with.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !geteuid().is_root() || !found.is_dir() || found.uid() == 0 {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(found.uid()), Gid::from_raw(found.gid()));
    set_keep_capabilities(true)?;
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    // Inheritable and ambient, since `nft` needs it as well.
    set_capabilities(
        None,
        CapabilitySets {
            effective: KEPT,
            permitted: KEPT,
            inheritable: KEPT,
        },
    )?;
    configure_capability_in_ambient_set(KEPT, true)?;
    Ok(())
}

/// What it takes to undo what was done to routes and packet filter.
const KEPT: CapabilitySet = CapabilitySet::NET_ADMIN;
