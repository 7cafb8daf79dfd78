//! What the system tells of changes to routes, interfaces and addresses.

use std::ffi::c_void;
use std::io;
use std::ptr;
use std::sync::Arc;

use tokio::sync::Notify;
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::NetworkManagement::IpHelper::{
    CancelMibChangeNotify2, MIB_IPFORWARD_ROW2, MIB_IPINTERFACE_ROW, MIB_NOTIFICATION_TYPE,
    MIB_UNICASTIPADDRESS_ROW, NotifyIpInterfaceChange, NotifyRouteChange2,
    NotifyUnicastIpAddressChange,
};
use windows_sys::Win32::Networking::WinSock::AF_UNSPEC;

use super::super::sequence;
use crate::registry::check;

/// Tells of moves to another network.
#[derive(Debug)]
pub(crate) struct NetworkChanges(Subscriptions);

impl NetworkChanges {
    pub(crate) fn listen() -> io::Result<Self> {
        Subscriptions::new(of_default_route).map(Self)
    }

    pub(crate) async fn next(&self) {
        self.0.heard.notified().await;
    }
}

/// Tells that a route may be other than it was made. For the registry and the
/// filters, which are quickly looked at, the period does.
#[derive(Debug)]
pub(in crate::steering) struct Signals(Subscriptions);

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Subscriptions::new(of_any_route).map(Self)
    }
}

impl sequence::Signals for Signals {
    async fn next(&mut self) {
        self.0.heard.notified().await;
    }
}

/// Calls that the system makes until this is dropped.
#[derive(Debug)]
struct Subscriptions {
    // Before what the calls use: fields are dropped in their order.
    _active: Vec<Subscription>,
    heard: Arc<Notify>,
}

impl Subscriptions {
    #[expect(unsafe_code, reason = "the system's interface")]
    fn new(route: RouteCallback) -> io::Result<Self> {
        let heard = Arc::new(Notify::new());
        let context: *const c_void = Arc::as_ptr(&heard).cast();
        // SAFETY: the context lives until the subscription has ended.
        let routes = Subscription::new(|handle| unsafe {
            NotifyRouteChange2(AF_UNSPEC, Some(route), context, false, handle)
        })?;
        // SAFETY: the context lives until the subscription has ended.
        let addresses = Subscription::new(|handle| unsafe {
            NotifyUnicastIpAddressChange(AF_UNSPEC, Some(of_address), context, false, handle)
        })?;
        // SAFETY: the context lives until the subscription has ended.
        let interfaces = Subscription::new(|handle| unsafe {
            NotifyIpInterfaceChange(AF_UNSPEC, Some(of_interface), context, false, handle)
        })?;
        Ok(Self {
            _active: vec![routes, addresses, interfaces],
            heard,
        })
    }
}

#[derive(Debug)]
struct Subscription(HANDLE);

impl Subscription {
    fn new(subscribe: impl FnOnce(*mut HANDLE) -> u32) -> io::Result<Self> {
        let mut handle = ptr::null_mut();
        check(subscribe(&raw mut handle)).map(|()| Self(handle))
    }
}

#[expect(unsafe_code, reason = "a pointer is not known to be so")]
// SAFETY: the handle names the subscription for the whole process.
unsafe impl Send for Subscription {}

#[expect(unsafe_code, reason = "a pointer is not known to be so")]
// SAFETY: nothing is done with the handle through a shared reference.
unsafe impl Sync for Subscription {}

impl Drop for Subscription {
    #[expect(unsafe_code, reason = "the system's interface")]
    fn drop(&mut self) {
        // SAFETY: the handle is of a subscription that was not cancelled. The
        // call returns when no callback runs any more, and is not made in one.
        unsafe { CancelMibChangeNotify2(self.0) };
    }
}

type RouteCallback =
    unsafe extern "system" fn(*const c_void, *const MIB_IPFORWARD_ROW2, MIB_NOTIFICATION_TYPE);

#[expect(unsafe_code, reason = "the system calls it")]
unsafe extern "system" fn of_any_route(
    context: *const c_void,
    _: *const MIB_IPFORWARD_ROW2,
    _: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: the system passes on what was subscribed with.
    unsafe { hear(context) };
}

#[expect(unsafe_code, reason = "the system calls it")]
unsafe extern "system" fn of_default_route(
    context: *const c_void,
    row: *const MIB_IPFORWARD_ROW2,
    _: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: the system passes a row that lives during the call, or nothing.
    let row = unsafe { row.as_ref() };
    if row.is_none_or(|row| row.DestinationPrefix.PrefixLength == 0) {
        // SAFETY: the system passes on what was subscribed with.
        unsafe { hear(context) };
    }
}

#[expect(unsafe_code, reason = "the system calls it")]
unsafe extern "system" fn of_address(
    context: *const c_void,
    _: *const MIB_UNICASTIPADDRESS_ROW,
    _: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: the system passes on what was subscribed with.
    unsafe { hear(context) };
}

#[expect(unsafe_code, reason = "the system calls it")]
unsafe extern "system" fn of_interface(
    context: *const c_void,
    _: *const MIB_IPINTERFACE_ROW,
    _: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: the system passes on what was subscribed with.
    unsafe { hear(context) };
}

/// Wakes who waits, now or the next time: several calls count as one.
///
/// # Safety
///
/// `context` must point to a live [`Notify`].
#[expect(unsafe_code, reason = "the system knows it as a pointer")]
unsafe fn hear(context: *const c_void) {
    // SAFETY: the caller promises it.
    let heard = unsafe { &*context.cast::<Notify>() };
    heard.notify_one();
}
