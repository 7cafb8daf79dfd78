use std::io;

use tokio::signal::windows::{CtrlC, CtrlShutdown, ctrl_c, ctrl_shutdown};

#[derive(Debug)]
pub(super) struct Stop {
    ctrl_c: CtrlC,
    shutdown: CtrlShutdown,
}

impl Stop {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            ctrl_c: ctrl_c()?,
            shutdown: ctrl_shutdown()?,
        })
    }

    pub(super) async fn wait(&mut self) {
        tokio::select! {
            () = crate::supervisor::stop_wished() => {}
            _ = self.ctrl_c.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}
