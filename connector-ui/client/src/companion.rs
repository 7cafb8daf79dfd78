//! The programs that are installed together.

use std::env;
use std::path::PathBuf;

/// Returns the program of this name that lies beside this one; none from anywhere else.
#[must_use]
pub fn companion(name: &str) -> Option<PathBuf> {
    let this = env::current_exe().ok()?;
    let mut program = this.with_file_name(name);
    if let Some(extension) = this.extension() {
        program.set_extension(extension);
    }
    program.is_file().then_some(program)
}
