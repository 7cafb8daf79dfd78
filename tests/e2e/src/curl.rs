//! Unmodified curl, through the proxy in each of the three forms.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{Running, as_user, read, run};
use crate::scene::Scene;

/// How curl is told to use the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `GET http://host/` to the proxy.
    Absolute,
    /// `CONNECT host:80`, then a plain request.
    Connect,
    /// SOCKS5 with the name.
    Socks,
}

/// All of them.
pub const FORMS: [Form; 3] = [Form::Absolute, Form::Connect, Form::Socks];

/// curl and how to call it.
#[derive(Debug)]
pub struct Curl<'a> {
    scene: &'a Scene,
    proxy: Option<String>,
    user: Option<u32>,
    program: PathBuf,
}

/// What came of a request.
#[derive(Debug)]
pub struct Fetched {
    /// curl's exit code.
    pub exit: i32,
    /// The last status.
    pub status: u16,
    /// Every header section, that of a proxy's answer to `CONNECT` too.
    pub headers: String,
    /// The content.
    pub body: Vec<u8>,
    /// What curl complained about.
    pub error: String,
    /// How long it took.
    pub took: Duration,
}

impl Fetched {
    /// Returns the content as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl<'a> Curl<'a> {
    /// Returns curl that uses no proxy.
    #[must_use]
    pub fn direct(scene: &'a Scene) -> Self {
        Self {
            scene,
            proxy: None,
            user: None,
            program: "curl".into(),
        }
    }

    /// Returns curl that uses the proxy at `address`.
    #[must_use]
    pub fn through(scene: &'a Scene, address: &str) -> Self {
        Self {
            scene,
            proxy: Some(address.to_owned()),
            user: None,
            program: "curl".into(),
        }
    }

    /// Runs curl as `user`.
    #[must_use]
    pub fn run_by(mut self, user: Option<u32>) -> Self {
        self.user = user;
        self
    }

    /// Runs this copy of curl, which the connector takes for another program.
    #[must_use]
    pub fn run_from(mut self, program: &Path) -> Self {
        self.program = program.to_owned();
        self
    }

    /// Asks for `url` in absolute form.
    #[must_use]
    pub fn get(&self, url: &str) -> Fetched {
        self.fetch(Form::Absolute, url, &[])
    }

    /// Asks for `url` with further options.
    #[must_use]
    pub fn fetch(&self, form: Form, url: &str, options: &[&str]) -> Fetched {
        let file = self.scene.fresh("headers");
        let begun = Instant::now();
        let output = run(self
            .command(form)
            .args(["--max-time", "30", "--dump-header"])
            .arg(&file)
            .args(options)
            .arg(url));
        let took = begun.elapsed();
        let headers = read(&file);
        Fetched {
            exit: output.status.code().unwrap_or(-1),
            status: last_status(&headers),
            headers,
            body: output.stdout,
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
            took,
        }
    }

    /// Begins to download `url` into a file.
    #[must_use]
    pub fn download(&self, form: Form, url: &str) -> Download {
        self.download_with(form, url, &[])
    }

    /// Begins to download `url` by HTTP/1.0, where the end of the connection is the end of the content: only a reset
    /// tells curl that something is missing.
    #[must_use]
    pub fn download_until_closed(&self, form: Form, url: &str) -> Download {
        self.download_with(form, url, &["--http1.0"])
    }

    fn download_with(&self, form: Form, url: &str, options: &[&str]) -> Download {
        let file = self.scene.fresh("download");
        let name = file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        fs::write(&file, "").unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut command = self.command(form);
        command
            .args(["--no-buffer", "--output"])
            .arg(&file)
            .args(options)
            .arg(url);
        Download {
            process: Running::start(self.scene, &name, &mut command),
            file,
        }
    }

    fn command(&self, form: Form) -> Command {
        let mut command = as_user(self.user, &self.program);
        // Not the developer's own ~/.curlrc.
        command.args(["--disable", "--silent", "--show-error"]);
        if let Some(proxy) = &self.proxy {
            match form {
                Form::Absolute => command.args(["--proxy", &format!("http://{proxy}")]),
                Form::Connect => {
                    command.args(["--proxytunnel", "--proxy", &format!("http://{proxy}")])
                }
                Form::Socks => command.args(["--proxy", &format!("socks5h://{proxy}")]),
            };
        }
        command
    }
}

/// A download under way; it is ended when dropped.
#[derive(Debug)]
pub struct Download {
    process: Running,
    file: PathBuf,
}

impl Download {
    /// Returns how many bytes have arrived.
    #[must_use]
    pub fn size(&self) -> u64 {
        fs::metadata(&self.file).map_or(0, |metadata| metadata.len())
    }

    /// Tells whether curl has ended.
    pub fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// Waits until at least `bytes` have arrived.
    pub fn wait_for(&mut self, bytes: u64, limit: Duration) {
        crate::wait::until(&format!("{bytes} bytes of a download"), limit, || {
            let ended = self.has_ended();
            (self.size() >= bytes).then_some(()).or_else(|| {
                assert!(!ended, "the download has ended: {}", self.process.log());
                None
            })
        });
    }

    /// Waits for curl's end and returns its exit code.
    pub fn wait(&mut self, limit: Duration) -> i32 {
        self.process.wait(limit).0.code().unwrap_or(-1)
    }

    /// Returns what curl complained about.
    #[must_use]
    pub fn error(&self) -> String {
        self.process.log()
    }

    /// Checks that what arrived is the beginning of the content whose byte at each place `byte` tells, and returns
    /// how long it is.
    ///
    /// # Panics
    ///
    /// At the first wrong byte.
    #[must_use]
    pub fn checked(&self, byte: impl Fn(usize) -> u8) -> usize {
        let content = fs::read(&self.file).unwrap_or_default();
        let wrong = content
            .iter()
            .enumerate()
            .find(|(place, found)| **found != byte(*place));
        assert_eq!(wrong, None, "a wrong byte (place, value)");
        content.len()
    }
}

/// Returns the byte at `place` of the lab's downloads.
#[must_use]
pub fn lab_byte(place: usize) -> u8 {
    u8::try_from(place % 251).unwrap_or_default()
}

/// Returns the byte at `place` of the downloads of `peers/net/behind.mjs`.
#[must_use]
pub fn behind_byte(place: usize) -> u8 {
    let place = place % 65_536;
    u8::try_from((place * 31 + (place >> 8)) & 0xff).unwrap_or_default()
}

/// Sends a request without any proxy and returns the answer's body.
///
/// # Panics
///
/// If the answer is no success.
pub fn ask(method: &str, url: &str, json: Option<&str>) -> String {
    let mut command = Command::new("curl");
    command.args(["--disable", "--silent", "--show-error", "--fail-with-body"]);
    command.args(["--max-time", "10", "--request", method, url]);
    if let Some(json) = json {
        command.args(["--header", "Content-Type: application/json", "--data", json]);
    }
    crate::process::succeed(&mut command)
}

fn last_status(headers: &str) -> u16 {
    headers
        .lines()
        .filter_map(|line| {
            line.strip_prefix("HTTP/1.1 ")
                .or_else(|| line.strip_prefix("HTTP/1.0 "))
        })
        .filter_map(|rest| rest.get(..3)?.parse().ok())
        .next_back()
        .unwrap_or(0)
}
