use std::io;
use std::os::windows::io::{AsRawHandle, AsRawSocket, FromRawHandle, OwnedHandle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tun_rs::{InterruptEvent, SyncDevice};
use windows_sys::Win32::Foundation::{HANDLE, WAIT_FAILED};
use windows_sys::Win32::Networking::WinSock::{
    FD_READ, FD_WRITE, SOCKET, WSAEnumNetworkEvents, WSAEventSelect, WSANETWORKEVENTS,
};
use windows_sys::Win32::System::Threading::{
    CreateEventW, INFINITE, ResetEvent, SetEvent, WaitForMultipleObjects, WaitForSingleObject,
};

use super::Ready;
use crate::device::imp;
use crate::sockets::{Ports, RawPort};

#[derive(Debug)]
pub(super) struct Reactor {
    called: Arc<Event>,
    /// One for each socket.
    sockets: [Event; 2],
    watch: Watch,
    /// Whether the device may have packets that nobody will tell of.
    has_more: Arc<AtomicBool>,
}

/// An event; a call sets it.
#[derive(Debug)]
pub(super) struct Bell(Arc<Event>);

impl Reactor {
    pub(super) fn new(device: &imp::Device) -> io::Result<(Self, Bell)> {
        let called = Arc::new(Event::new()?);
        let bell = Bell(Arc::clone(&called));
        let reactor = Self {
            called,
            sockets: [Event::new()?, Event::new()?],
            watch: Watch::start(Arc::clone(&device.tun))?,
            has_more: Arc::clone(&device.has_more),
        };
        Ok((reactor, bell))
    }

    pub(super) fn wait(
        &self,
        device: bool,
        sockets: &Ports<RawPort>,
        writable: bool,
        timeout: Option<Duration>,
    ) -> io::Result<Ready> {
        let wanted = FD_READ | if writable { FD_WRITE } else { 0 };
        for (port, event) in sockets.iter().zip(&self.sockets) {
            // Asked again each time, the event is set at once for what is there
            // already: what was left then is not forgotten.
            event.reset();
            select(port, event, wanted)?;
        }
        let has_more = device && self.has_more.load(Ordering::Relaxed);
        let timeout = if has_more {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        if device {
            self.watch.shared.is_wanted.set();
        }
        let packets = &self.watch.shared.has_packets;
        let mut handles = [self.called.handle(); 4];
        let others = device.then_some(packets).into_iter();
        let others = others.chain(self.sockets.iter().take(sockets.iter().count()));
        let mut count = 1;
        for (place, event) in handles[1..].iter_mut().zip(others) {
            *place = event.handle();
            count += 1;
        }
        wait_for(&handles[..count], timeout)?;

        let has_packets = device && packets.is_set();
        if has_packets {
            packets.reset();
            // Until all of them are read.
            self.has_more.store(true, Ordering::Relaxed);
        }
        let mut ready = Ready {
            device: has_more || has_packets,
            woken: self.called.is_set(),
            ..Ready::default()
        };
        for (port, event) in sockets.iter().zip(&self.sockets) {
            let seen = seen(port, event)?;
            ready.sockets |= seen & FD_READ != 0;
            ready.writable |= writable && seen & FD_WRITE != 0;
        }
        Ok(ready)
    }
}

impl Bell {
    pub(super) fn ring(&self) {
        self.0.set();
    }

    pub(super) fn silence(&self) {
        self.0.reset();
    }
}

/// A thread that waits for the device, whose own event is not to be had.
#[derive(Debug)]
struct Watch {
    shared: Arc<Watched>,
    thread: Option<JoinHandle<()>>,
}

struct Watched {
    tun: Arc<SyncDevice>,
    /// Set while the device's packets are wanted.
    is_wanted: Event,
    has_packets: Event,
    interrupt: InterruptEvent,
    is_over: AtomicBool,
}

impl Watch {
    fn start(tun: Arc<SyncDevice>) -> io::Result<Self> {
        let shared = Arc::new(Watched {
            tun,
            is_wanted: Event::new()?,
            has_packets: Event::new()?,
            interrupt: InterruptEvent::new()?,
            is_over: AtomicBool::new(false),
        });
        let watched = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("device watch".to_owned())
            .spawn(move || watched.run())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }
}

impl Watched {
    fn run(&self) {
        loop {
            let _ = wait_for(&[self.is_wanted.handle()], None);
            if self.is_over.load(Ordering::Acquire) {
                return;
            }
            self.is_wanted.reset();
            // An error is met again by whoever reads.
            let _ = self.tun.wait_readable_intr(&self.interrupt);
            self.has_packets.set();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.is_wanted.set();
        // The thread may be waiting for either.
        if self.shared.interrupt.trigger().is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

/// A flag that the system can wait for; it stays set until it is reset.
#[derive(Debug)]
struct Event(OwnedHandle);

impl Event {
    fn new() -> io::Result<Self> {
        #[expect(unsafe_code, reason = "a system call")]
        // SAFETY: no security attributes and no name are given.
        let handle = unsafe { CreateEventW(std::ptr::null(), 1, 0, std::ptr::null()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        #[expect(unsafe_code, reason = "a handle is given an owner")]
        // SAFETY: the handle was just made, and nobody else has it.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        Ok(Self(handle))
    }

    fn handle(&self) -> HANDLE {
        self.0.as_raw_handle()
    }

    fn set(&self) {
        #[expect(unsafe_code, reason = "a system call")]
        // SAFETY: the handle is that of an event, and is open.
        let _ = unsafe { SetEvent(self.handle()) };
    }

    fn reset(&self) {
        #[expect(unsafe_code, reason = "a system call")]
        // SAFETY: the handle is that of an event, and is open.
        let _ = unsafe { ResetEvent(self.handle()) };
    }

    fn is_set(&self) -> bool {
        #[expect(unsafe_code, reason = "a system call")]
        // SAFETY: the handle is that of an event, and is open.
        let outcome = unsafe { WaitForSingleObject(self.handle(), 0) };
        outcome == 0
    }
}

fn wait_for(handles: &[HANDLE], timeout: Option<Duration>) -> io::Result<()> {
    let count = u32::try_from(handles.len()).unwrap_or_default();
    // Rounded up, so that nothing is looked at before it is due.
    let pause = timeout.map_or(INFINITE, |timeout| {
        let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
        u32::try_from(milliseconds).unwrap_or(INFINITE - 1)
    });
    #[expect(unsafe_code, reason = "a system call")]
    // SAFETY: the handles live through the call, and are as many as it says.
    let outcome = unsafe { WaitForMultipleObjects(count, handles.as_ptr(), 0, pause) };
    if outcome == WAIT_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn select(port: &RawPort, event: &Event, wanted: u32) -> io::Result<()> {
    let wanted = i32::try_from(wanted).unwrap_or_default();
    #[expect(unsafe_code, reason = "a system call")]
    // SAFETY: the socket and the event are open.
    let outcome = unsafe { WSAEventSelect(socket_of(port)?, event.handle() as isize, wanted) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Returns what has happened to a socket.
fn seen(port: &RawPort, event: &Event) -> io::Result<u32> {
    let mut seen = WSANETWORKEVENTS {
        lNetworkEvents: 0,
        iErrorCode: [0; 10],
    };
    #[expect(unsafe_code, reason = "a system call")]
    // SAFETY: the socket and the event are open, and `seen` is written once.
    let outcome =
        unsafe { WSAEnumNetworkEvents(socket_of(port)?, event.handle() as isize, &raw mut seen) };
    if outcome == 0 {
        Ok(seen.lNetworkEvents.cast_unsigned())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn socket_of(port: &RawPort) -> io::Result<SOCKET> {
    SOCKET::try_from(port.socket().as_raw_socket()).map_err(io::Error::other)
}
