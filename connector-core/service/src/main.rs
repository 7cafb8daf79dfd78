//! `ztnad`: the service.

use std::process::ExitCode;

fn main() -> ExitCode {
    connector_service::main()
}
