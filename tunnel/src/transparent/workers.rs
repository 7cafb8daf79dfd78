//! Threads for what takes long: finding programs and resolving gateways' names.

use std::net::ToSocketAddrs;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};

use connector_core::access::Workload;
use connector_core::catalogue::{GatewayId, SiteId};
use connector_core::name::DomainName;
use tunnel_proto::packet::Ends;

use super::{Command, Mailbox, lock};

/// Finds the program behind a socket.
pub(super) type Attribute = Arc<dyn Fn(Ends) -> (Workload, Option<u32>) + Send + Sync>;

/// Work that may block.
#[derive(Debug)]
pub(super) enum Job {
    Attribute(Ends),
    LookUp {
        site: SiteId,
        gateway: GatewayId,
        host: DomainName,
        port: u16,
    },
}

/// The threads; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Workers {
    jobs: SyncSender<Job>,
    mailbox: Arc<Mailbox>,
}

impl Workers {
    pub(super) fn start(attribute: &Attribute, mailbox: &Arc<Mailbox>) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(MAX_JOBS);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..THREADS {
            let (queue, attribute) = (Arc::clone(&queue), Arc::clone(attribute));
            let mailbox = Arc::clone(mailbox);
            std::thread::Builder::new()
                .name(format!("tunnel-work-{number}"))
                .spawn(move || work(&queue, &attribute, &mailbox))?;
        }
        Ok(Self {
            jobs,
            mailbox: Arc::clone(mailbox),
        })
    }

    /// Starts a job; a program that there is no time to find stays unknown.
    pub(super) fn start_job(&self, job: Job) {
        if let Err(TrySendError::Full(Job::Attribute(ends))) = self.jobs.try_send(job) {
            self.mailbox.send(Command::Attributed {
                ends,
                workload: Workload::Unknown,
                process: None,
            });
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>, attribute: &Attribute, mailbox: &Mailbox) {
    loop {
        let job = lock(queue).recv();
        match job {
            Ok(Job::Attribute(ends)) => {
                let (workload, process) = attribute(ends);
                mailbox.send(Command::Attributed {
                    ends,
                    workload,
                    process,
                });
            }
            Ok(Job::LookUp {
                site,
                gateway,
                host,
                port,
            }) => {
                let found = (host.as_str(), port).to_socket_addrs();
                let addresses = found.map(Iterator::collect).unwrap_or_else(|error| {
                    tracing::warn!(%host, %error, "A gateway's name was not found");
                    Vec::new()
                });
                mailbox.send(Command::LookedUp {
                    site,
                    gateway,
                    addresses,
                });
            }
            Err(_) => return,
        }
    }
}

const THREADS: usize = 2;

/// Flows that wait to be attributed; the router lets no more wait.
const MAX_JOBS: usize = 512;
