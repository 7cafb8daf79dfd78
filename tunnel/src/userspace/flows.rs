use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use connector_core::access::{AccessMap, Denial, Permit};
use connector_core::time::Moment;
use smoltcp::iface::SocketHandle;
use tokio::sync::Notify;

use super::{DialError, FlowEvent};
use crate::Clock;
use crate::netstack::{Netstack, TcpStream, abort};

/// Every live flow with the permit that it lives on.
pub(super) struct Flows {
    clock: Clock,
    on_flow: Arc<dyn Fn(FlowEvent) + Send + Sync>,
    table: Mutex<Table>,
    changed: Notify,
    most: usize,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// The latest map, once there is one: a permit that was issued by an
    /// earlier one may no longer be good.
    access: Option<Arc<AccessMap>>,
    live: BTreeMap<u64, Live>,
}

#[derive(Debug)]
struct Live {
    permit: Permit,
    lease: Arc<Lease>,
    /// The connection, once there is one.
    socket: Option<(Arc<Netstack>, SocketHandle)>,
}

/// What a stream looks at before every byte: whether it may still go on.
#[derive(Debug)]
pub(super) struct Lease {
    ends: AtomicU64,
    cut: OnceLock<Denial>,
    cut_now: Notify,
}

impl Lease {
    fn new(ends: Moment) -> Self {
        Self {
            ends: AtomicU64::new(nanos(ends)),
            cut: OnceLock::new(),
            cut_now: Notify::new(),
        }
    }

    /// Returns why the flow was cut, if it was.
    pub(super) fn cut(&self) -> Option<&Denial> {
        self.cut.get()
    }

    pub(super) fn has_ended(&self, now: Moment) -> bool {
        self.cut.get().is_some() || self.ends.load(Ordering::Acquire) <= nanos(now)
    }

    /// Completes when the flow is cut.
    pub(super) async fn cut_off(&self) -> Denial {
        loop {
            let notified = self.cut_now.notified();
            if let Some(denial) = self.cut.get() {
                return denial.clone();
            }
            notified.await;
        }
    }
}

impl Flows {
    pub(super) fn new(
        clock: Clock,
        on_flow: Arc<dyn Fn(FlowEvent) + Send + Sync>,
        most: usize,
    ) -> Self {
        Self {
            clock,
            on_flow,
            table: Mutex::default(),
            changed: Notify::new(),
            most,
        }
    }

    /// Spends a permit.
    pub(super) fn open(self: &Arc<Self>, permit: Permit) -> Result<OpenFlow, DialError> {
        let now = (self.clock)();
        if permit.lease_ends() <= now {
            return Err(DialError::Cut(permit.lapse()));
        }
        let mut table = self.lock();
        let permit = match &table.access {
            Some(access) => access.review(&permit, now).map_err(DialError::Cut)?,
            None => permit,
        };
        let flow = permit.flow().clone();
        let lease = Arc::new(Lease::new(permit.lease_ends()));
        let live = Live {
            permit,
            lease: Arc::clone(&lease),
            socket: None,
        };
        if table.live.len() >= self.most {
            return Err(DialError::TooMany);
        }
        let number = table.next;
        table.next += 1;
        table.live.insert(number, live);
        drop(table);
        self.changed.notify_one();
        (self.on_flow)(FlowEvent::Opened(flow));
        Ok(OpenFlow {
            flows: Arc::clone(self),
            number,
            lease,
        })
    }

    /// Puts every flow to `access`, and cuts what it does not permit.
    pub(super) fn review(&self, access: &Arc<AccessMap>, now: Moment) {
        self.lock().access = Some(Arc::clone(access));
        self.cut_where(|live| match access.review(&live.permit, now) {
            Ok(permit) => {
                live.lease
                    .ends
                    .store(nanos(permit.lease_ends()), Ordering::Release);
                live.permit = permit;
                None
            }
            Err(denial) => Some(denial),
        });
        self.changed.notify_one();
    }

    pub(super) fn end_leases(&self) {
        let now = (self.clock)();
        self.cut_where(|live| (live.permit.lease_ends() <= now).then(|| live.permit.lapse()));
    }

    pub(super) fn next_lease_end(&self) -> Option<Duration> {
        let now = (self.clock)();
        let table = self.lock();
        table
            .live
            .values()
            .map(|live| live.permit.lease_ends().since(now))
            .min()
    }

    pub(super) fn changed(&self) -> &Notify {
        &self.changed
    }

    pub(super) fn count(&self) -> usize {
        self.lock().live.len()
    }

    fn cut_where(&self, mut reason: impl FnMut(&mut Live) -> Option<Denial>) {
        let mut table = self.lock();
        let mut cut = Vec::new();
        table.live.retain(|_, live| {
            let Some(denial) = reason(live) else {
                return true;
            };
            live.cut(denial.clone());
            cut.push(FlowEvent::Closed {
                flow: live.permit.flow().clone(),
                denial: Some(denial),
            });
            false
        });
        drop(table);
        for event in cut {
            (self.on_flow)(event);
        }
    }

    fn close(&self, number: u64) {
        let closed = self.lock().live.remove(&number);
        if let Some(live) = closed {
            (self.on_flow)(FlowEvent::Closed {
                flow: live.permit.flow().clone(),
                denial: None,
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Flows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flows")
            .field("live", &self.count())
            .finish_non_exhaustive()
    }
}

impl Live {
    fn cut(&self, denial: Denial) {
        // The flag first: nothing that the application does from now on counts.
        let _ = self.lease.cut.set(denial);
        if let Some((netstack, handle)) = &self.socket {
            abort(netstack, *handle);
        }
        self.lease.cut_now.notify_waiters();
    }
}

/// A flow's place in the table; given up when dropped.
#[derive(Debug)]
pub(super) struct OpenFlow {
    flows: Arc<Flows>,
    number: u64,
    pub(super) lease: Arc<Lease>,
}

impl OpenFlow {
    /// Ties a connection to the flow, so that it is reset when the flow is cut.
    pub(super) fn attach(&self, stream: &TcpStream) {
        let mut table = self.flows.lock();
        match table.live.get_mut(&self.number) {
            Some(live) => live.socket = Some((Arc::clone(stream.netstack()), stream.handle())),
            None => stream.abort(),
        }
    }

    /// Unties the connection, which is about to be dropped.
    pub(super) fn detach(&self) {
        if let Some(live) = self.flows.lock().live.get_mut(&self.number) {
            live.socket = None;
        }
    }

    pub(super) fn now(&self) -> Moment {
        (self.flows.clock)()
    }
}

impl Drop for OpenFlow {
    fn drop(&mut self) {
        self.flows.close(self.number);
    }
}

fn nanos(moment: Moment) -> u64 {
    u64::try_from(moment.since_boot().as_nanos()).unwrap_or(u64::MAX)
}
