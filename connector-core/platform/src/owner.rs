//! Finds the process at the other end of a loopback connection.

use std::io;
use std::net::SocketAddr;

use connector_core::access::Workload;

#[cfg_attr(target_os = "linux", path = "owner/linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "owner/other.rs")]
mod imp;

/// The owner of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Whether the connection belongs to the user that this process runs as.
    pub is_same_user: bool,
    /// The program, unless there is any doubt.
    pub workload: Workload,
}

/// Returns who holds the socket that is bound to `client` and connected to
/// `server`, both on this machine. Blocks for as long as the system's tables
/// take to read.
///
/// # Errors
///
/// If the system does not tell; nobody must be let in then.
pub fn of_tcp(client: SocketAddr, server: SocketAddr) -> io::Result<Owner> {
    imp::of_tcp(client, server)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_of_this_test_belongs_to_this_test() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();

            let owner = of_tcp(client.local_addr().unwrap(), client.peer_addr().unwrap()).unwrap();

            assert!(owner.is_same_user);
            let Workload::Known(program) = owner.workload else {
                panic!("{address}: this process holds the socket");
            };
            let own = std::env::current_exe().unwrap();
            assert_eq!(program.path, own.to_str().unwrap());
        }
    }

    #[test]
    fn a_socket_that_two_programs_hold_has_no_program() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let inherited = std::os::fd::OwnedFd::from(client.try_clone().unwrap());
        let mut other = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::from(inherited))
            .spawn()
            .unwrap();

        let owner = of_tcp(client.local_addr().unwrap(), client.peer_addr().unwrap()).unwrap();

        drop(other.stdin.take());
        other.wait().unwrap();
        assert_eq!(owner.workload, Workload::Unknown);
    }

    #[test]
    fn a_closed_connection_has_no_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));

        assert!(of_tcp(nobody, server).is_err());
    }
}
