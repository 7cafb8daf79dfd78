//! One test's folder, with everything that its programs wrote.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that is removed when the test passes, and kept and named when it fails.
#[derive(Debug)]
pub struct Scene {
    root: PathBuf,
    test: &'static str,
    numbers: AtomicU32,
}

impl Scene {
    /// Makes the folder of `test`. Declare it first, so that everything in it has ended when it goes.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    #[must_use]
    pub fn new(test: &'static str) -> Self {
        // Short, since the path of a Unix socket has at most 107 bytes. Process ids begin anew in each namespace.
        let folder = std::env::temp_dir();
        let root = (0_u32..)
            .map(|number| folder.join(format!("e2e-{test}-{}-{number}", std::process::id())))
            .find(|root| is_new_folder(root))
            .unwrap_or(folder);
        // Programs that run as somebody else write into it too.
        crate::process::succeed(Command::new("chmod").arg("1777").arg(&root));
        Self {
            root,
            test,
            numbers: AtomicU32::new(0),
        }
    }

    /// Returns a path in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Returns a path in the folder that nobody has used.
    #[must_use]
    pub fn fresh(&self, kind: &str) -> PathBuf {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.root.join(format!("{number:03}-{kind}"))
    }

    /// Writes a file into the folder and returns its path.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Prints a figure that the test measured.
    pub fn figure(&self, name: &str, value: impl std::fmt::Debug) {
        note(&format!("figure {}: {name}: {value:.1?}", self.test));
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            note(&format!(
                "what the programs of `{}` wrote is in {}",
                self.test,
                self.root.display()
            ));
        } else {
            // What is left lies in the system's folder for such things.
            let _left = fs::remove_dir_all(&self.root);
        }
    }
}

fn is_new_folder(path: &Path) -> bool {
    match fs::create_dir(path) {
        Ok(()) => true,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// Prints a line for whoever reads the test's output.
pub fn note(text: &str) {
    // Nobody is left to tell if standard error is closed.
    let _closed = writeln!(std::io::stderr(), "e2e: {text}");
}

/// Returns the built program `name`.
///
/// # Panics
///
/// If it was not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let folder = match std::env::var_os("ZTNA_E2E_BIN") {
        Some(folder) => PathBuf::from(folder),
        None => target().join("debug"),
    };
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is missing; run the tests with `cargo xtask test peers e2e`",
        path.display()
    );
    path
}

/// Returns this package's own program for links, captures and made-up packets.
///
/// # Panics
///
/// If it was not built.
#[must_use]
pub fn kit() -> PathBuf {
    // Cargo builds it with the tests, two folders above them.
    let own = std::env::current_exe().unwrap_or_default();
    let folder = own.ancestors().nth(2).unwrap_or_else(|| Path::new(""));
    let path = folder.join("e2e-wire");
    assert!(path.is_file(), "{} is missing", path.display());
    path
}

/// Returns the folder of the installed peers.
#[must_use]
pub fn installed_peers() -> PathBuf {
    std::env::var_os("ZTNA_E2E_PEERS").map_or_else(|| target().join("peers"), PathBuf::from)
}

/// Returns this package's own scripts for the peers.
#[must_use]
pub fn peer_scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

fn target() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    // target/debug/deps/programs-…
    own.ancestors()
        .nth(3)
        .map(Path::to_owned)
        .unwrap_or_default()
}
