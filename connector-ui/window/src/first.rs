//! One window for each person: a second start sends the first one where the second was to go.

use std::path::{Path, PathBuf};
use std::time::Duration;

use connector_platform::endpoint::{self, Audience, Listener};
use connector_platform::paths::Paths;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::app::Errand;

/// Which window it is.
pub(crate) enum First {
    /// Another one is open, and goes there.
    Another,
    /// This one; others knock at the door, where there can be one.
    This(Option<PathBuf>),
}

/// Looks for a window of this person that shows the same service.
pub(crate) fn window(socket: Option<&Path>, errand: &Errand) -> First {
    let is_usual = socket.is_none() && std::env::var_os("ZTNA_SOCKET").is_none();
    let Some(door) = Paths::user().ok().filter(|_| is_usual) else {
        return First::This(None);
    };
    let door = door.socket.with_file_name("window.sock");
    match is_heard(&door, errand) {
        true => First::Another,
        false => First::This(Some(door)),
    }
}

/// Returns whether a window behind the door takes the errand.
fn is_heard(door: &Path, errand: &Errand) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.is_ok_and(|runtime| {
        let sent = async { timeout(PATIENCE, knock(door, errand)).await };
        matches!(runtime.block_on(sent), Ok(Ok(())))
    })
}

async fn knock(door: &Path, errand: &Errand) -> anyhow::Result<()> {
    let mut stream = endpoint::connect(door).await?;
    stream.write_all(errand.line().as_bytes()).await?;
    stream.shutdown().await?;
    // A window that hangs is no window.
    let mut answer = [0];
    stream.read_exact(&mut answer).await?;
    Ok(())
}

/// Hears other windows, for ever; `tell` is told where they were to go.
pub(crate) async fn answer(door: &Path, tell: impl Fn(Errand)) {
    let Ok(mut listener) = Listener::bind(door, Audience::Own) else {
        return;
    };
    loop {
        let Ok(mut stream) = listener.accept().await else {
            tokio::time::sleep(PATIENCE).await;
            continue;
        };
        let mut line = String::new();
        let mut limited = (&mut stream).take(LONGEST_LINE);
        if let Ok(Ok(_)) = timeout(PATIENCE, limited.read_to_string(&mut line)).await
            && let Some(errand) = Errand::read(&line)
        {
            tell(errand);
            let _ = timeout(PATIENCE, stream.write_all(b"\n")).await;
        }
    }
}

/// Windows answer at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// An errand is a word and a name.
const LONGEST_LINE: u64 = 1024;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_second_window_sends_the_first_where_it_was_to_go_itself() {
        let folder = tempfile::tempdir().unwrap();
        let door = folder.path().join("run/window.sock");
        let errand = Errand::Request("payroll".into());
        assert!(!is_heard(&door, &errand), "there is no window yet");
        let (tell, told) = channel();
        let behind = door.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(answer(&behind, |errand| tell.send(errand).unwrap()));
        });

        let deadline = Instant::now() + 10 * PATIENCE;
        while !is_heard(&door, &errand) {
            assert!(Instant::now() < deadline, "nobody opened");
        }

        assert_eq!(told.recv_timeout(PATIENCE), Ok(errand));
    }
}
